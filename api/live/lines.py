"""Lines of a log as they are said, over server-sent events or WebSocket, until there are no more to come."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.answers import encode
from api.live import sse

PAUSE = 0.5  # seconds between two looks
PING_AFTER = 30  # looks without a line

Lines = AsyncIterator[list[dict[str, Any]]]


class LineStream(Response):
    """Server-sent events whose data are lines, each under its id; the stream ends with what it follows."""

    media_type = sse.MEDIA_TYPE

    def __init__(self, lines: Lines) -> None:
        super().__init__(None, 200, sse.HEADERS)
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(body: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await tell(sse.PING)
        if await _until(gone(), self._tell(tell)):
            await tell(b"", more=False)

    async def _tell(self, tell: Any) -> None:
        silent = 0
        async for found in self._lines:
            if found:
                records = (b"id: %d\ndata: %s\n\n" % (each["id"], encode(each)) for each in found)
                await tell(b"".join(records))
                silent = 0
                continue
            silent += 1
            if silent % PING_AFTER == 0:
                await tell(sse.PING)
            await asyncio.sleep(PAUSE)


async def serve(socket: WebSocket, lines: Lines) -> None:
    """Send each line as a message of its own, then close."""
    await socket.accept()

    async def gone() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    async def tell() -> None:
        async for found in lines:
            for each in found:
                await socket.send({"type": "websocket.send", "text": encode(each).decode()})
            if not found:
                await asyncio.sleep(PAUSE)

    with suppress(WebSocketDisconnect, RuntimeError):
        if await _until(gone(), tell()):
            await socket.close()


def documented(name: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's answers of a log that can be read or followed."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {200: {"description": "Lines, oldest first.", "content": {sse.MEDIA_TYPE: {"schema": schema}}}}


async def _until(leaving: Coroutine[Any, Any, None], telling: Coroutine[Any, Any, None]) -> bool:
    """Tell until it is over or the client has left; was everything told?"""
    left, told = asyncio.create_task(leaving), asyncio.create_task(telling)
    try:
        await asyncio.wait({left, told}, return_when=asyncio.FIRST_COMPLETED)
        if told.done():
            told.result()
        return told.done()
    finally:
        left.cancel()
        told.cancel()
        await asyncio.gather(left, told, return_exceptions=True)
