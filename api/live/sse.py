"""Server-sent events: one event a record, its cursor as id, comments to keep the connection alive."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.live.teller import Pulse, Teller
from api.live.watcher import Ended, Watcher
from models.events import Event

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
PING = b": ping\n\n"


class EventStream(Response):
    """The answer that never ends by itself: it stops with the client, with the process, or with what it watches."""

    media_type = MEDIA_TYPE

    def __init__(self, watch: Callable[[], AbstractContextManager[Watcher]], pulse: Pulse) -> None:
        super().__init__(None, 200, HEADERS)
        del self.headers["content-length"]
        self._watch = watch
        self._pulse = pulse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(events: list[Event]) -> None:
            await send({"type": "http.response.body", "body": encode(events), "more_body": True})

        async def ping() -> None:
            await send({"type": "http.response.body", "body": PING, "more_body": True})

        with self._watch() as watcher:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await ping()  # headers reach the client now, also where nothing is to be told yet
            teller = Teller(watcher, tell, ping)
            self._pulse.join(teller)
            try:
                await teller.until(_hung_up(receive))
            except Ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                self._pulse.leave(teller)


def documented(event: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's answer for a stream whose records' `data` is an event of this schema."""
    schema = {"$ref": f"#/components/schemas/{event}"}
    return {200: {"description": "Events, as they happen.", "content": {MEDIA_TYPE: {"schema": schema}}}}


def encode(events: Iterable[Event]) -> bytes:
    """The events as records of an event stream; JSON holds no raw line break, so each is one `data` line."""
    pieces = []
    for each in events:
        if each.cursor:
            pieces.append(b"id: %s\n" % each.cursor.encode())
        pieces.append(b"event: %s\ndata: %s\n\n" % (each.type.encode(), each.data))
    return b"".join(pieces)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
