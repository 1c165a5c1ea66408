"""What a worker counts, for Prometheus: turns, steps, retries, first tokens, take-overs, stream lag, unknown effects.

No label names a chat, a person or a model: a label's values are few and known.
"""

import logging
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import start_http_server

log = logging.getLogger(__name__)

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Meters:
    """One process's meters; each worker has its own registry, so that two in one test do not meet."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.turns = Counter(
            "turnstone_turns", "Turns that came to their end, by how they ended.", ["outcome"], registry=registry
        )
        self.steps = Counter(
            "turnstone_steps",
            "Steps performed, by kind and by what came of them.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.step_seconds = Histogram(
            "turnstone_step_seconds",
            "Time from a step's opened attempt to its commit.",
            ["kind"],
            buckets=_LATENCY,
            registry=registry,
        )
        self.retries = Counter(
            "turnstone_retries",
            "Attempts that failed and are tried again, by kind of failure.",
            ["kind"],
            registry=registry,
        )
        self.errors = Counter(
            "turnstone_turn_errors", "Turns that ended in an error, by kind of failure.", ["kind"], registry=registry
        )
        self.first_token_seconds = Histogram(
            "turnstone_first_token_seconds",
            "Time from a model request to its first piece of answer.",
            ["provider"],
            buckets=_LATENCY,
            registry=registry,
        )
        self.tokens = Counter(
            "turnstone_tokens",
            "Tokens that providers reported, by what the call was for.",
            ["provider", "type", "purpose"],
            registry=registry,
        )
        self.cost = Counter(
            "turnstone_cost_micros",
            "What calls cost by the prices of their models, in micro-dollars, by what they were for.",
            ["purpose"],
            registry=registry,
        )
        self.fast_path_gave_up = Counter(
            "turnstone_provider_fast_path_gave_up",
            "Answers that our own reading had no place for, and that litellm's reading is given at the next attempt.",
            ["provider"],
            registry=registry,
        )
        self.takeovers = Counter(
            "turnstone_takeovers", "Steps taken over from a worker that was gone.", registry=registry
        )
        self.head_starts = Counter(
            "turnstone_head_starts",
            "Attempts begun before their run asked, by where its activity was at their end.",
            ["outcome"],
            registry=registry,
        )
        self.stream_lag_seconds = Histogram(
            "turnstone_stream_lag_seconds",
            "Time from a piece of answer to its place in the stream log.",
            buckets=_LAG,
            registry=registry,
        )
        self.tool_calls = Counter(
            "turnstone_tool_calls",
            "Tool calls run, by tool and by what came of them.",
            ["tool", "outcome"],
            registry=registry,
        )
        self.unknown_effects = Counter(
            "turnstone_unknown_effects",
            "Tool calls of which nobody knows whether they happened.",
            ["tool"],
            registry=registry,
        )
        self.swept = Counter(
            "turnstone_swept",
            "Chats that the sweep nudged, by what had happened to them.",
            ["reason"],
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def serve(self, host: str, port: int) -> tuple[WSGIServer, int]:
        """Answer GET /metrics from a thread of its own; the server to shut down, and its port (0 is a free one)."""
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        bound = int(server.server_address[1])
        log.info("metrics at http://%s:%d/metrics", host, bound)
        return server, bound
