"""Hubs for live-stream tests, as API processes would have them, and what their watchers see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from api.live.delta import NOTHING, Told
from api.live.hub import Hub
from api.live.watcher import Watcher
from models.settings import Settings
from models.store import live
from models.store.database import Database
from models.store.notices import ChatNotice
from tests.api.live_drive import STORY, Drive, Screen, fails_and_waits


@asynccontextmanager
async def hub_of(settings: Settings, **changes: Any) -> AsyncIterator[Hub]:
    """Another API process, as far as live streams go."""
    database = Database(settings.database_url, pool_size=3)
    hub = Hub(database, settings.model_copy(update=changes))
    await hub.start()
    await hub.listening()
    try:
        yield hub
    finally:
        await hub.close()
        await database.close()


async def take(watcher: Watcher) -> list[dict[str, Any]]:
    ready = asyncio.Event()
    watcher.on_ready = ready.set
    async with asyncio.timeout(60):
        while not (events := watcher.take()):
            ready.clear()
            await ready.wait()
    return [orjson.loads(event.data) for event in events]


async def take_until(watcher: Watcher, screen: Screen, *types: str) -> list[dict[str, Any]]:
    """Show the screen all events up to the one that completes these types, in any order."""
    told: list[dict[str, Any]] = []
    missing = list(types)
    while missing:
        for event in await take(watcher):
            told.append(event)
            screen.show([event])
            if event["type"] in missing:
                missing.remove(event["type"])
    return told


async def truth(drive: Drive) -> tuple[Any, ...]:
    """What a screen shows now, by the database."""
    async with drive.database.read() as session:
        found = await live.read(session, {drive.chat_id: live.Floor()})
    events, _ = Told(found[drive.chat_id]).changes(NOTHING)
    return Screen().show(orjson.loads(event.data) for event in events).state


async def catch_up(watcher: Watcher, screen: Screen, drive: Drive) -> list[dict[str, Any]]:
    """Show the screen events until it shows what the database says."""
    told = []
    while screen.state != await truth(drive):
        events = await take(watcher)
        screen.show(events)
        told += events
    return told


async def fresh(hub: Hub, drive: Drive) -> Screen:
    with hub.watch(drive.chat_id) as watcher:
        screen = Screen()
        await catch_up(watcher, screen, drive)
        return screen


def notice(drive: Drive, snapshot: int, history: int = 1, attempt: int = 0, status: str = "running") -> str:
    return ChatNotice(drive.chat_id, drive.owner_id, snapshot, history, attempt, status).encode()


async def record(hub: Hub, drive: Drive) -> list[dict[str, Any]]:
    """The events of an uncut watcher of the whole story."""
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        told = await catch_up(watcher, screen, drive)
        for step in STORY:
            await step(drive)
            told += await catch_up(watcher, screen, drive)
            # The banner of a back-off is no part of what the screen shows, and is gone with the next attempt.
            while step is fails_and_waits and "retry" not in screen.types:
                events = await take(watcher)
                screen.show(events)
                told += events
    return told
