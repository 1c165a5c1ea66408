"""Who follows the repositories of a chat's workspace here, and what each is told of them (wire-api.md 8.6)."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

import orjson

from api.live.mailroom import Mailroom
from api.live.watcher import Watcher, Watchers
from models.events import Event
from models.rules import repositories
from models.rules.repositories import Repository
from models.store import bindings, scans
from models.store.database import Database
from models.store.notices import GIT, GIT_ASKED, tell

LOOK = 15.0  # seconds between two looks, should a notice be lost
SELDOM = 1.0  # seconds between two requests to scan, of one watcher; more are one

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Followed:
    """What one watcher follows, and how to have its agent look again."""

    watcher: Watcher
    agent_id: UUID
    database: Database
    asked: float = float("-inf")

    async def refresh(self) -> None:
        """Ask the agent for a scan, wherever its connection ends."""
        if monotonic() - self.asked < SELDOM:
            return
        self.asked = monotonic()
        async with self.database.read() as session:
            await tell(session, GIT_ASKED, str(self.agent_id))

    def fail(self, message: str) -> None:
        """Tell the watcher what is wrong."""
        self.watcher.put([_event("error", message=message)])


class Scans:
    """Shows repositories to the watchers in this process."""

    def __init__(self, database: Database, mailroom: Mailroom, buffer: int, watchers: Watchers) -> None:
        self._database = database
        self._mailroom = mailroom
        self._buffer = buffer
        self._watchers = watchers

    @contextmanager
    def watch(self, chat_id: UUID, agent_id: UUID) -> Iterator[Followed]:
        """What the agent saw last, and then what changes; ended when the chat works elsewhere or the agent is away."""
        watcher = Watcher(self._buffer, Watcher.end)
        with self._watchers.having(watcher):
            following = asyncio.create_task(self._follow(watcher, chat_id, agent_id))
            try:
                yield Followed(watcher, agent_id, self._database)
            finally:
                following.cancel()

    async def _follow(self, watcher: Watcher, chat_id: UUID, agent_id: UUID) -> None:
        awake = self._mailroom.join(agent_id, GIT)
        told: list[Repository] = []
        error = ""
        try:
            while await self._is_there(chat_id, agent_id):
                awake.clear()
                async with self._database.read() as session:
                    scan = await scans.of_agent(session, agent_id) or {}
                found = scan.get("repositories") or []
                if changed := repositories.changes(told, found):
                    watcher.put([_event("changes", scanned_at=scan["scanned_at"], repositories=changed)])
                if (failure := scan.get("error", "")) and failure != error:
                    watcher.put([_event("error", message=failure)])
                told, error = found, failure
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await awake.wait()
        except Exception:
            log.exception("chat %s: its repositories cannot be followed", chat_id)
        finally:
            self._mailroom.leave(agent_id, awake, GIT)
            watcher.end()

    async def _is_there(self, chat_id: UUID, agent_id: UUID) -> bool:
        """Does the chat still work where this agent is, and is the agent connected?"""
        async with self._database.read() as session:
            place = await bindings.of(session, chat_id)
        if place is None or place.deleted:
            return False
        return any(agent["id"] == agent_id and agent["status"] == "connected" for agent in place.agents)


def _event(kind: str, **said: Any) -> Event:
    return Event(kind, orjson.dumps({"type": kind, **said}))
