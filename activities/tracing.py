"""One OpenTelemetry trace a turn, by the GenAI conventions: the turn, its model calls, its tool calls.

The ids of the trace and of its root span follow from the chat and the message that began the turn, so every process
that works for the turn writes into one trace, whoever ends it, and a workflow that is replayed writes nothing.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from models.rules import history
from models.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

Attributes = Mapping[str, str | int | float | bool | Sequence[str]]

AGENT = "turnstone"
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as a trace knows it: the chat, the message that began it, and when that was written."""

    chat_id: UUID
    message_id: int
    began: datetime

    @property
    def trace_id(self) -> int:
        return int.from_bytes(self._digest(b"trace", 16)) or 1

    @property
    def span_id(self) -> int:
        return int.from_bytes(self._digest(b"turn", 8)) or 1

    def _digest(self, purpose: bytes, size: int) -> bytes:
        named = self.chat_id.bytes + self.message_id.to_bytes(8)
        return hashlib.blake2b(named, digest_size=size, person=purpose).digest()


def turn_of(chat_id: UUID, rows: Sequence[history.Row]) -> Turn | None:
    """The turn that these rows of a chat have come to; None before anybody said anything."""
    asked = history.last_asked(rows)
    return Turn(chat_id, *asked) if asked else None


class Mark:
    """A span that is being written; without an exporter it takes what it is told and forgets it."""

    def __init__(self, span: "Span | None" = None) -> None:
        self._span = span
        self._failed = False

    def tell(self, attributes: Attributes) -> None:
        """Add what has become known since the span began."""
        if self._span is not None:
            self._span.set_attributes(dict(attributes))

    def fail(self, kind: str) -> None:
        """It failed, for this kind of reason; never in the words of a provider, which may hold what was said.

        The first reason stands: what follows from it says less.
        """
        if self._span is not None and not self._failed:
            self._failed = True
            from opentelemetry.trace import Status, StatusCode

            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR))


class Tracing:
    """Writes spans where an exporter is configured; costs next to nothing where none is."""

    def __init__(self, settings: Settings, exporter: "SpanExporter | None" = None) -> None:
        self.content = settings.trace_content
        self._tracer = None
        if exporter is None and not settings.otlp_endpoint:
            return
        # 30 MB that only those need who want traces.
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint)
        self._ids = _ids()
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "turnstone-worker"}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("turnstone")

    @contextmanager
    def span(self, turn: Turn | None, name: str, attributes: Attributes) -> Iterator[Mark]:
        """A piece of the turn's work. An exception marks it as failed, by its kind."""
        if self._tracer is None or turn is None:
            yield Mark()
            return
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        root = SpanContext(turn.trace_id, turn.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        span = self._tracer.start_span(
            name,
            context=set_span_in_context(NonRecordingSpan(root)),
            attributes={"gen_ai.conversation.id": str(turn.chat_id), **attributes},
        )
        mark = Mark(span)
        try:
            yield mark
        except BaseException as failed:
            mark.fail(type(failed).__name__)
            raise
        finally:
            span.end()

    def ended(self, turn: Turn | None, outcome: str) -> None:
        """The turn is over: write its root span, from the message that began it to now."""
        if self._tracer is None or turn is None:
            return
        from opentelemetry.context import Context

        self._ids.next = (turn.trace_id, turn.span_id)
        span = self._tracer.start_span(
            f"invoke_agent {AGENT}",
            context=Context(),
            start_time=int(turn.began.timestamp() * NANOSECONDS),
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": AGENT,
                "gen_ai.conversation.id": str(turn.chat_id),
                "turnstone.turn.message_id": turn.message_id,
                "turnstone.turn.outcome": outcome,
            },
        )
        if outcome == "error":
            Mark(span).fail("turn_error")
        span.end()

    def said(self, name: str, messages: Any) -> dict[str, str]:
        """The attribute that holds what was said, where that is wanted."""
        if self._tracer is None or not self.content:
            return {}
        return {name: orjson.dumps(messages, default=str).decode()}

    def close(self) -> None:
        """Send what waits; blocks for a few seconds at most."""
        if self._tracer is not None:
            self._provider.force_flush(3000)
            self._provider.shutdown()


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ids, but for the next root span."""

        next: tuple[int, int] | None = None

        def generate_trace_id(self) -> int:
            return self.next[0] if self.next else super().generate_trace_id()

        def generate_span_id(self) -> int:
            if self.next is None:
                return super().generate_span_id()
            _, span_id = self.next
            self.next = None
            return span_id

    return Ids()
