"""The sweep effect: nudge chats whose nudge was lost, and purge what has expired. Each part is bounded."""

import asyncio
import logging
from datetime import timedelta

from temporalio.service import RPCError

from activities.attempt import heartbeats
from activities.performs import performs
from activities.resources import Resources
from models.errors import Unavailable
from models.rules.states import Status
from models.steps import SweepReply
from models.store import idempotency, standing, stream
from workflows import effects

log = logging.getLogger(__name__)

MOST = 1000  # chats nudged because nobody drives them
MOST_STALLED = 100  # chats nudged again although they are driven
STALLED_AFTER = timedelta(seconds=20)
TOGETHER = 20  # nudges on their way at once
LOG_LIFE = timedelta(minutes=10)


class Sweeping:
    """Performs the effect `sweep`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.sweep)
    async def sweep(self, reason: str) -> SweepReply:
        async with heartbeats():
            return await self._sweep(reason)

    async def _sweep(self, reason: str) -> SweepReply:
        # Who drives is asked first: a chat that becomes runnable in between has a nudge of its own.
        try:
            driven = await self._resources.temporal.running_chats()
        except (RPCError, TimeoutError) as away:
            raise Unavailable(detail=str(away)) from away
        async with self._resources.database.read() as session:
            runnable = await standing.count_runnable(session)
            lost = await standing.undriven(session, driven, limit=MOST)
            # A run that backs off hears of a stop or an edit by its nudge alone.
            stalled = await standing.stalled(session, driven, age=STALLED_AFTER, limit=MOST_STALLED)
        nudged = await self._nudge([*lost, *stalled])
        if lost:
            log.info("sweep (%s): %d of %d runnable chats were driven by nobody", reason, len(lost), runnable)
        return SweepReply(looked_at=runnable, nudged=nudged, purged=await self._purge())

    async def _nudge(self, lost: list[standing.Standing]) -> int:
        limit = asyncio.Semaphore(TOGETHER)

        async def nudge(chat: standing.Standing) -> bool:
            async with limit:
                signal = "interrupt_requested" if chat.status == Status.INTERRUPTING else "woken"
                return await self._resources.temporal.nudged(
                    chat.id, chat.owner_id, chat.snapshot_version, signal=signal
                )

        return sum(await asyncio.gather(*map(nudge, lost)))

    async def _purge(self) -> int:
        settings = self._resources.settings
        async with self._resources.database.begin() as session:
            purged = await stream.purge(session, LOG_LIFE)
        async with self._resources.database.begin() as session:
            return purged + await idempotency.purge(session, settings.idempotency_ttl)
