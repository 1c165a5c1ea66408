"""The sweep effect: nudge runnable chats that no workflow drives, and purge what has expired. Each part is bounded."""

import asyncio
import logging
from datetime import timedelta

from temporalio.service import RPCError

from activities.performs import performs
from activities.resources import Resources
from models.errors import Unavailable
from models.steps import SweepReply
from models.store import idempotency, standing, stream
from workflows import effects

log = logging.getLogger(__name__)

MOST = 1000  # chats looked at
TOGETHER = 20  # nudges on their way at once
LOG_LIFE = timedelta(minutes=10)


class Sweeping:
    """Performs the effect `sweep`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.sweep)
    async def sweep(self, reason: str) -> SweepReply:
        # Who drives is asked first: a chat that becomes runnable in between has a nudge of its own.
        try:
            driven = await self._resources.temporal.running_chats()
        except (RPCError, TimeoutError) as away:
            raise Unavailable(detail=str(away)) from away
        async with self._resources.database.read() as session:
            runnable = await standing.runnable(session, limit=MOST)
        lost = [chat for chat in runnable if chat.id not in driven]
        nudged = await self._nudge(lost)
        if lost:
            log.info("sweep (%s): %d of %d runnable chats were driven by nobody", reason, len(lost), len(runnable))
        return SweepReply(looked_at=len(runnable), nudged=nudged, purged=await self._purge())

    async def _nudge(self, lost: list[standing.Standing]) -> int:
        limit = asyncio.Semaphore(TOGETHER)

        async def nudge(chat: standing.Standing) -> bool:
            async with limit:
                return await self._resources.temporal.nudged(chat.id, chat.owner_id, chat.snapshot_version)

        return sum(await asyncio.gather(*map(nudge, lost)))

    async def _purge(self) -> int:
        settings = self._resources.settings
        async with self._resources.database.begin() as session:
            purged = await stream.purge(session, LOG_LIFE)
        async with self._resources.database.begin() as session:
            return purged + await idempotency.purge(session, settings.idempotency_ttl)
