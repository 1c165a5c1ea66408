"""WebSocket: one way, bare JSON in text messages, ended with the codes that clients expect (wire-api.md 1.5)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.live.teller import Teller
from api.live.watcher import Ended, Watcher
from models.errors import Forbidden
from models.events import Event

MAX_EVENTS = 256  # in one message
MAX_BYTES = 4 * 1024 * 1024 - 4096  # of one message; the reference client reads no larger ones
GOODBYE = 1.0  # seconds that a close frame may take to a client that does not read

GOING_AWAY = 1001
POLICY_VIOLATION = 1008

Framing = Callable[[Iterable[Event]], Iterator[bytes]]
Listen = Callable[[WebSocket], Awaitable[int | None]]
"""Hears the client until it leaves (None), or is to be sent away with this code."""


def arrays(events: Iterable[Event]) -> Iterator[bytes]:
    """Messages that are arrays of events, as large as they may be."""
    batch: list[bytes] = []
    size = 0
    for each in events:
        if batch and (len(batch) == MAX_EVENTS or size + len(each.data) + 1 > MAX_BYTES):
            yield b"[%s]\n" % b",".join(batch)
            batch, size = [], 0
        batch.append(each.data)
        size += len(each.data) + 1
    if batch:
        yield b"[%s]\n" % b",".join(batch)


def objects(events: Iterable[Event]) -> Iterator[bytes]:
    """Messages that are one event each."""
    for each in events:
        yield each.data + b"\n"


def refuse_other_origins(socket: WebSocket, public_url: str) -> None:
    """A browser sends cookies along from any page: raise Forbidden unless the page is of this host."""
    origin = socket.headers.get("origin")
    if origin is None:
        return
    host = urlsplit(origin).netloc.lower()
    if not host or host not in (socket.headers.get("host", "").lower(), urlsplit(public_url).netloc.lower()):
        raise Forbidden("Cross-origin WebSocket refused.", "The Origin of a WebSocket must be this host.")


async def serve(socket: WebSocket, watcher: Watcher, framing: Framing, listen: Listen | None = None) -> None:
    """Tell the client everything the watcher gets, until one side ends it; one that speaks is heard by `listen`."""

    async def send(events: list[Event]) -> None:
        for frame in framing(events):
            await socket.send({"type": "websocket.send", "text": frame.decode()})

    await socket.accept()
    try:
        code = await Teller(watcher, send).until((listen or _listen)(socket))
    except Ended:
        code = GOING_AWAY
    except WebSocketDisconnect:
        return
    if code is not None:
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(GOODBYE):
                await socket.close(code)


async def _listen(socket: WebSocket) -> int | None:
    """The code to close with when the client spoke, which it may not; None when it left."""
    message = await socket.receive()
    return POLICY_VIOLATION if message["type"] == "websocket.receive" else None
