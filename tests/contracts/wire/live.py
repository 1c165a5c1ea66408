"""Listening to `/stream` and `/watch` as the reference client does: every event is read with its types."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
from websockets.asyncio.client import ClientConnection

from tests.api.live_drive import Drive
from tests.api.live_stage import PREFIX, Stage, heard
from tests.contracts.wire import reference as ref
from tests.contracts.wire.reading import read


class Listener:
    """What one socket was told; `/stream` tells arrays, `/watch` objects."""

    def __init__(self, socket: ClientConnection, *, sidebar: bool = False) -> None:
        self.told: list[dict[str, Any]] = []
        self._socket = socket
        self._sidebar = sidebar

    async def until(self, done: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """All events since the last call up to the first that will do; those of one array come together."""
        fresh: list[dict[str, Any]] = []
        while not any(done(event) for event in fresh):
            fresh += await self._next()
        self.told += fresh
        return fresh

    async def of(self, *types: str) -> list[dict[str, Any]]:
        """All events since the last call, until these types have come, in any order."""
        missing, fresh = list(types), list[dict[str, Any]]()
        key = "kind" if self._sidebar else "type"
        while missing:
            for event in await self._next():
                fresh.append(event)
                if event[key] in missing:
                    missing.remove(event[key])
        self.told += fresh
        return fresh

    async def _next(self) -> list[dict[str, Any]]:
        if not self._sidebar:
            events = await heard(self._socket)
            for event in events:
                read(ref.StreamEvent, event)
            return events
        async with asyncio.timeout(60):
            message = await self._socket.recv()
        event: dict[str, Any] = orjson.loads(message)
        read(ref.WatchEvent, event)
        return [event]


def status(wanted: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["type"] == "status" and event["status"]["status"] == wanted


def kind(wanted: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["type"] == wanted


async def a_drive(stage: Stage, said: str = "hello") -> Drive:
    """Another chat of the owner's, to be moved as a worker would."""
    first = stage.drive
    return await Drive(
        first.database, first.publisher, first.owner_id, first.organization_id, first.model_config_id
    ).create(said)


@asynccontextmanager
async def listening(stage: Stage, drive: Drive, query: str = "", **given: Any) -> AsyncIterator[Listener]:
    """Listen to a chat at the first process."""
    async with stage.socket(stage.one, f"/{drive.chat_id}/stream{query}", **given) as socket:
        yield Listener(socket)


@asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[Listener]:
    """Listen to the owner's sidebar at the first process."""
    async with stage.socket(stage.one, "/watch") as socket:
        yield Listener(socket, sidebar=True)


@asynccontextmanager
async def asking(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """The owner's client of the second process."""
    headers = {"Coder-Session-Token": stage.token}
    async with httpx.AsyncClient(base_url=f"http://{stage.two.address}{PREFIX}", headers=headers, timeout=60) as client:
        yield client
