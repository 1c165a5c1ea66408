"""Wakes the connections of workspace agents that end in this process, when there is something in their mailboxes."""

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from models.store.database import Database
from models.store.notices import AGENTS

log = logging.getLogger(__name__)


class Mailroom:
    """Without agents it costs nothing: no connection, no task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connected: dict[UUID, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    def join(self, agent_id: UUID) -> asyncio.Event:
        """An event that is set whenever the agent should be looked after."""
        awake = asyncio.Event()
        self._connected.setdefault(agent_id, set()).add(awake)
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="mailroom")
        return awake

    def leave(self, agent_id: UUID, awake: asyncio.Event) -> None:
        """The connection has ended."""
        connected = self._connected.get(agent_id, set())
        connected.discard(awake)
        if not connected:
            self._connected.pop(agent_id, None)

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        while True:
            try:
                async for notice in self._database.listen([AGENTS]):
                    found = self._connected.values() if notice is None else [self._meant(notice.payload)]
                    for connected in found:
                        for awake in connected:
                            awake.set()
            except Exception:
                log.exception("the mailroom failed; it listens again")
                await asyncio.sleep(1)

    def _meant(self, payload: str) -> set[asyncio.Event]:
        return self._connected.get(UUID(payload), set())
