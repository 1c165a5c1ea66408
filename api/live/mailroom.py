"""Wakes whoever waits in this process for news of a workspace agent: its mailbox, what it saw."""

import asyncio
import logging
from contextlib import aclosing, suppress
from uuid import UUID

from models.store.database import Database
from models.store.notices import AGENTS, GIT, GIT_ASKED

log = logging.getLogger(__name__)


class Mailroom:
    """Without agents it costs nothing: no connection, no task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[tuple[str, UUID], set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    def join(self, agent_id: UUID, channel: str = AGENTS) -> asyncio.Event:
        """An event that is set whenever there may be news of the agent."""
        awake = asyncio.Event()
        self._waiting.setdefault((channel, agent_id), set()).add(awake)
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="mailroom")
        return awake

    def leave(self, agent_id: UUID, awake: asyncio.Event, channel: str = AGENTS) -> None:
        """Nobody waits for this event any more."""
        waiting = self._waiting.get((channel, agent_id), set())
        waiting.discard(awake)
        if not waiting:
            self._waiting.pop((channel, agent_id), None)

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._database.listen([AGENTS, GIT, GIT_ASKED])) as coming:
                    async for notice in coming:
                        found = (
                            self._waiting.values() if notice is None else [self._meant(notice.channel, notice.payload)]
                        )
                        for waiting in found:
                            for awake in waiting:
                                awake.set()
            except Exception:
                log.exception("the mailroom failed; it listens again")
                await asyncio.sleep(1)

    def _meant(self, channel: str, payload: str) -> set[asyncio.Event]:
        return self._waiting.get((channel, UUID(payload)), set())
