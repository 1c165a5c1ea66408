"""A chat's live stream as one sequence of events, resumed at its cursor as often as the connection breaks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from turnstone.cli.api import CHATS, FIRST_PAUSE, LONGEST_PAUSE, Api, Refused

SILENCE = 50.0  # the server says something every 15 s; three times nothing is a dead connection
SHORT_LIFE = 5.0

Event = dict[str, Any]
Lost = Callable[[], None]


async def follow(
    api: Api, chat_id: str, *, after_id: int | None = None, lost: Lost | None = None
) -> AsyncIterator[Event]:
    """Every event of a chat from now on; `lost` is told of a broken connection. Raises Refused, Unreachable."""
    cursor: str | None = None
    pause, silent_since = FIRST_PAUSE, time.monotonic()
    while True:
        connected_at = time.monotonic()
        try:
            async for event, identity in _connection(api, chat_id, after_id, cursor):
                silent_since = time.monotonic()
                cursor = identity or cursor
                yield event
            # A clean end: the server is being stopped, or replaced.
        except httpx.TransportError as broken:
            if time.monotonic() - silent_since > api.patience + SILENCE:
                raise api.unreachable(broken) from broken
        except Refused as refused:
            if refused.status < 500 and refused.status != 429:
                raise
            if time.monotonic() - silent_since > api.patience + SILENCE:
                raise
        if time.monotonic() - connected_at > SHORT_LIFE:
            pause = FIRST_PAUSE
        if lost is not None:
            lost()
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _connection(
    api: Api, chat_id: str, after_id: int | None, cursor: str | None
) -> AsyncIterator[tuple[Event, str | None]]:
    headers = {"Accept": "text/event-stream"}
    query: dict[str, str] = {}
    if cursor is not None:
        headers["Last-Event-ID"] = cursor
    if after_id is not None:
        query["after_id"] = str(after_id)
    timeout = httpx.Timeout(10, read=SILENCE)
    async with api.http.stream(
        "GET", f"{CHATS}/{chat_id}/stream", headers=headers, params=query, timeout=timeout
    ) as answer:
        if answer.status_code != 200:
            await answer.aread()
            api.read(answer)
        reader = EventReader()
        async for piece in answer.aiter_bytes():
            for identity, data in reader.feed(piece):
                yield json.loads(data), identity


class EventReader:
    """Server-sent events out of bytes, cut anywhere."""

    def __init__(self) -> None:
        self._waiting = b""
        self._data: list[bytes] = []
        self._id: str | None = None

    def feed(self, piece: bytes) -> list[tuple[str | None, bytes]]:
        """The events, as (id, data), that `piece` completes."""
        # By hand: a line of ours ends at a newline only, while str.splitlines knows ten more ends.
        *lines, self._waiting = (self._waiting + piece).split(b"\n")
        events = []
        for line in lines:
            name, _, value = line.rstrip(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
            elif name == b"id":
                self._id = value.decode()
            elif not name and not value and self._data:
                events.append((self._id, b"\n".join(self._data)))
                self._data, self._id = [], None
        return events
