"""How a live stream is followed: resumed at its cursor as often as the connection breaks, without a gap or a repeat.

Events come in groups; the last of a group carries the cursor behind all of it. A group is shown when it is whole: one
that was cut is dropped, and comes again whole when the stream is resumed at the cursor before it.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from turnstone.client.asking import Pauses, Service, refused
from turnstone.client.errors import RateLimited, TurnstoneError, Unavailable, UnexpectedAnswer
from turnstone.client.steps import Answer, Emit, Lost, Open, Program, Read, Request, Shut, Sleep

START = "0.0.0.0"  # noqa: S104 - the cursor inside a snapshot: whoever is cut there begins again
SHORT_LIFE = 5.0

Told = Callable[[], None]
Query = Sequence[tuple[str, str]]


class Records:
    """Server-sent events out of bytes, cut anywhere."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._data: list[bytes] = []
        self._id = ""

    def feed(self, piece: bytes) -> list[tuple[str, bytes]]:
        """The records, as (id, data), that `piece` completes."""
        # A line of ours ends at a newline only, while str.splitlines knows ten more ends.
        searched = len(self._waiting)
        self._waiting += piece
        end = self._waiting.rfind(b"\n", searched)
        if end < 0:
            return []
        lines = bytes(self._waiting[:end]).split(b"\n")
        del self._waiting[: end + 1]
        records = []
        for line in lines:
            name, _, value = line.rstrip(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
            elif name == b"id":
                self._id = value.decode()
            elif not name and not value and self._data:
                records.append((self._id, b"\n".join(self._data)))
                self._data, self._id = [], ""
        return records


class Group:
    """Events that are held until the one with their cursor has come."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        self._held: list[Any] = []

    def take(self, identity: str, event: Any) -> list[Any]:
        """What may be shown now that this event has come."""
        self._held.append(event)
        if not identity or identity == START:
            return []
        whole, self._held = self._held, []
        self.cursor = identity
        return whole

    def cut(self) -> None:
        """The connection broke: what is incomplete will come again."""
        self._held.clear()


def follow(
    service: Service,
    path: str,
    read: Callable[[Any], Any],
    *,
    query: Query = (),
    cursor: str | None = None,
    lost: Told | None = None,
) -> Program[None]:
    """Emit every event of a chat's stream, from `cursor` or with a snapshot first, until it is refused or given up.

    Raises ApiError when the service refuses, ConnectionFailed when nobody answered for as long as we are patient.
    """
    group = Group(cursor or "")

    def shown(identity: str, data: bytes) -> list[Any]:
        return group.take(identity, _json(data))

    def request() -> Request:
        headers = {"Accept": "text/event-stream"}
        if group.cursor:
            headers["Last-Event-ID"] = group.cursor
        return Request("GET", path, query, headers=headers)

    def broken() -> None:
        group.cut()
        if lost is not None:
            lost()

    yield from _connections(service, request, shown, read, broken)


def listen(service: Service, path: str, read: Callable[[Any], Any], missed: Callable[[], Any]) -> Program[None]:
    """Emit events of a stream that has no cursors; after each interruption what `missed` makes comes first."""
    is_back: list[bool] = []

    def shown(_: str, data: bytes) -> list[Any]:
        return [_json(data)]

    def opened() -> list[Any]:
        return [missed()] if is_back else []

    request = Request("GET", path, headers={"Accept": "text/event-stream"})
    yield from _connections(service, lambda: request, shown, read, lambda: is_back.append(True), opened)


def _connections(
    service: Service,
    request: Callable[[], Request],
    shown: Callable[[str, bytes], list[Any]],
    read: Callable[[Any], Any],
    broken: Told,
    opened: Callable[[], list[Any]] = list,
) -> Program[None]:
    pauses = Pauses()
    away_since: float | None = None
    while True:
        began, has_told = time.monotonic(), False
        failure: TurnstoneError | None = None
        asked: float | None = None
        try:
            answer: Answer = yield Open(request(), service.timeout, service.silence)
            if answer.status != 200:
                refusal = refused(answer)
                if not isinstance(refusal, RateLimited | Unavailable):
                    raise refusal
                failure, asked = refusal, refusal.retry_after
            else:
                service.has_answered, away_since = True, None
                for event in opened():
                    yield Emit(event)
                records = Records()
                while piece := (yield Read()):
                    for identity, data in records.feed(piece):
                        for event in shown(identity, data):
                            has_told = True
                            yield Emit(read(event))
                # A clean end: the service is being stopped, or replaced.
        except Lost as reason:
            failure = service.unreachable(reason)
            failure.__cause__ = reason
        yield Shut()
        now = time.monotonic()
        if has_told or now - began > SHORT_LIFE:
            pauses.restart()
        pause = pauses.next(asked)
        away_since = away_since or now
        patience = service.patience if service.has_answered else min(service.patience, service.first_patience)
        if failure is not None and now - away_since + pause > patience:
            raise failure
        broken()
        yield Sleep(pause)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise UnexpectedAnswer(f"an event is no JSON: {data[:80].decode(errors='replace')!r}") from None
