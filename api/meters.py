"""What a web process counts, for Prometheus: requests, live streams, and the work that waits in the database.

No label names a chat or a person: a request is counted under its operation, as the OpenAPI document calls it.
"""

from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import Scope

from models.store.standing import Backlog

_LATENCY = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FRESH = 5.0  # seconds that a look at the backlog serves


class Meters:
    """One process's meters."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._requests = Counter(
            "turnstone_http_requests",
            "Requests answered, by operation, method and status.",
            ["operation", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "turnstone_http_request_seconds",
            "Time from a request to the beginning of its answer.",
            ["operation", "method"],
            buckets=_LATENCY,
            registry=registry,
        )
        self.streams = Gauge("turnstone_live_streams", "Live streams that are open here.", registry=registry)
        self.watched = Gauge("turnstone_watched_chats", "Chats that are watched here.", registry=registry)
        self.nudges = Counter(
            "turnstone_nudges",
            "Nudges of a chat's workflow, by whether Temporal took them, or a worker had begun.",
            ["taken"],
            registry=registry,
        )
        self._queued = Gauge("turnstone_queue_depth", "Messages that wait in queues of chats.", registry=registry)
        self._chats = Gauge(
            "turnstone_active_chats", "Chats that are not at rest, by status.", ["status"], registry=registry
        )
        self._oldest = Gauge(
            "turnstone_oldest_pending_seconds", "How long the oldest pending chat has waited.", registry=registry
        )
        self._looked = 0.0
        ProcessCollector(registry=registry)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answered request."""
        operation = getattr(scope.get("route"), "name", "unmatched")
        method = scope["method"] if scope.get("method") in _METHODS else "other"
        self._requests.labels(operation, method, str(status)).inc()
        self._seconds.labels(operation, method).observe(seconds)

    @property
    def stale(self) -> bool:
        """Is it time to look at the backlog again?"""
        return monotonic() - self._looked > FRESH or not self._looked

    def saw(self, backlog: Backlog) -> None:
        """Take in what waits in the database."""
        self._looked = monotonic()
        self._queued.set(backlog.queued)
        self._oldest.set(backlog.oldest_pending_seconds)
        for status, chats in backlog.chats.items():
            self._chats.labels(status).set(chats)

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)
