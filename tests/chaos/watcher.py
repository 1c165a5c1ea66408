"""A client that watches a chat through every break: it comes back with its cursor, to whichever API process is next."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import websockets
from websockets.exceptions import WebSocketException

from tests.chaos.api import CHATS
from tests.chaos.stack import Stack, eventually, text_of
from turnstone.client.following import Records

Transport = Literal["sse", "websocket"]


class Watcher:
    """All events that one client saw, over all of its connections; `async with` watches in the background."""

    def __init__(self, stack: Stack, chat_id: str, transport: Transport, urls: Sequence[str] = ()) -> None:
        self.events: list[dict[str, Any]] = []
        self.connections = 0
        self._stack = stack
        self._chat_id = chat_id
        self._transport = transport
        self._urls = urls
        self._cursor: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())

        async def began() -> bool:
            return bool(self.events)

        await eventually(began, "the watcher has its snapshot")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        while True:
            urls = self._urls or self._stack.facts["api_urls"]
            url = urls[self.connections % len(urls)]
            self.connections += 1
            with suppress(OSError, httpx.TransportError, WebSocketException, httpx.HTTPStatusError):
                connection = self._sse(url) if self._transport == "sse" else self._websocket(url)
                async for event, cursor in connection:
                    self._cursor = cursor or self._cursor
                    self.events.append(event)
            await asyncio.sleep(0.1)

    async def _sse(self, url: str) -> AsyncIterator[tuple[dict[str, Any], str | None]]:
        headers = {"Coder-Session-Token": self._stack.facts["admin_token"], "Accept": "text/event-stream"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        reader = Records()
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(5, read=60)) as client,
            client.stream("GET", f"{url}{CHATS}/{self._chat_id}/stream", headers=headers) as answer,
        ):
            answer.raise_for_status()
            async for piece in answer.aiter_bytes():
                for cursor, data in reader.feed(piece):
                    yield json.loads(data), cursor

    async def _websocket(self, url: str) -> AsyncIterator[tuple[dict[str, Any], str | None]]:
        address = f"{url.replace('http', 'ws', 1)}{CHATS}/{self._chat_id}/stream"
        if self._cursor:
            address += f"?cursor={self._cursor}"
        headers = {"Coder-Session-Token": self._stack.facts["admin_token"]}
        async with websockets.connect(
            address, additional_headers=headers, max_size=4 * 1024 * 1024, open_timeout=60
        ) as connection:
            async for frame in connection:
                for event in json.loads(frame):
                    yield event, event.get("cursor")

    async def rests(self, status: str = "waiting") -> Self:
        """Wait until the last status it was told is this."""

        async def told() -> bool:
            return self.statuses[-1:] == [status]

        await eventually(told, f"the watcher is told {status}")
        return self

    async def shows(self, tokens: int) -> Self:
        """Wait until it has seen so many tokens of the running step."""

        async def streamed() -> bool:
            return f"w{tokens - 1} " in "".join(self.episodes().get(max(self.episodes(), default=(0, 0)), ()))

        await eventually(streamed, f"the watcher sees {tokens} tokens")
        return self

    @property
    def statuses(self) -> list[str]:
        return [event["status"]["status"] for event in self.events if event["type"] == "status"]

    def count(self, kind: str) -> int:
        """How often it was told an event of this type."""
        return sum(event["type"] == kind for event in self.events)

    def messages(self) -> list[dict[str, Any]]:
        """The messages as a client ends up with them: by id, the last told counts, a reset drops what was before."""
        found: dict[int, dict[str, Any]] = {}
        for event in self.events:
            if event["type"] in ("history_reset", "resync"):
                found.clear()
            elif event["type"] == "message":
                found[event["message"]["id"]] = event["message"]
        return [found[number] for number in sorted(found)]

    def episodes(self) -> dict[tuple[int, int], list[str]]:
        """The text of each attempt, piece by piece; a gap or a repeat in its numbering is an error."""
        found: dict[tuple[int, int], list[str]] = {}
        for event in self.events:
            if event["type"] != "message_part":
                continue
            part = event["message_part"]
            pieces = found.setdefault((part["history_version"], part["generation_attempt"]), [])
            assert part["seq"] == len(pieces) + 1, f"part {part['seq']} after {len(pieces)} parts"
            pieces.append(part["part"].get("text", ""))
        return found

    def answers(self) -> list[str]:
        """The assistant's texts."""
        return [text_of(message) for message in self.messages() if message["role"] == "assistant"]
