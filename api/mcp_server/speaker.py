"""`/mcp` as the process knows it: whoever never asks for it never pays for the SDK behind it."""

import asyncio
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from api.mcp_server.protocol import Protocol


class Speaker:
    """Speaks MCP once somebody asks; `close` it with the process."""

    def __init__(self) -> None:
        self._loading = asyncio.Lock()
        self._protocol: Protocol | None = None

    async def speak(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        """Answer a request with this body."""
        async with self._loading:
            if self._protocol is None:
                made = await asyncio.to_thread(_load)  # the better part of a second, in which others are served
                await made.start()
                self._protocol = made
        await self._protocol.answer(scope, receive, send, body)

    async def close(self) -> None:
        """End what is being answered."""
        if self._protocol is not None:
            await self._protocol.stop()


def _load() -> "Protocol":
    from api.mcp_server.protocol import Protocol

    return Protocol()
