"""The sweep effect: nudge chats whose nudge was lost, answer for late clients, purge, read for the search; bounded."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from temporalio.service import RPCError

from activities.attempt import heartbeats
from activities.performs import performs
from activities.resources import Resources
from activities.tending import Tending
from models.errors import NotFound, Unavailable
from models.rules.states import Status
from models.steps import SweepReply
from models.store import (
    capacity,
    idempotency,
    ledger,
    mailbox,
    moves,
    reserving,
    retention,
    seals,
    standing,
    stream,
    webhooks,
    words,
)
from models.store.moves import Moved
from models.store.session import Session
from workflows import effects

log = logging.getLogger(__name__)

MOST = 1000  # chats nudged because nobody drives them
MOST_STALLED = 100  # chats nudged again although they are driven
STALLED_AFTER = timedelta(seconds=20)
MOST_BATCHES = 20  # of each kind in one sweep
MOST_CUT = 5000  # entries of the audit log in one transaction
MOST_READINGS = 10  # batches of messages in one sweep
LITTLE = 1000  # rows: less than any kind's batch
TOGETHER = 20  # nudges on their way at once
TOGETHER_EXPIRED = 4  # of the database's connections
LOG_LIFE = timedelta(minutes=10)
LEDGER_LIFE = timedelta(days=1)
DELIVERIES_LIVE = timedelta(days=30)
RESERVATION_LIFE = timedelta(minutes=2)  # of one whose attempt is over; longer than a call aside may take


class Sweeping:
    """Performs the effect `sweep`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._tending = Tending(resources)

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
            overdue = await standing.overdue(session, limit=MOST)
            barred = await standing.barred(session, limit=MOST)
            called = [row["id"] for row in (await capacity.due(session, self._resources.capacity.limits))[:MOST]]
            next_ones = [*(await standing.of(session, called)).values()]
        self._resources.meters.swept.labels("lost").inc(len(lost))
        self._resources.meters.swept.labels("stalled").inc(len(stalled))
        nudged = await self._nudge([*lost, *stalled, *next_ones])
        expired = await self._each(overdue, moves.cancel_action, "tool_results_submitted")
        await self._each(barred, moves.stop_barred, "interrupt_requested")
        await self._resources.courier.begin_due()
        await self._tending.tend()
        if lost:
            log.info("sweep (%s): %d of %d runnable chats were driven by nobody", reason, len(lost), runnable)
        purged = await self._purge()
        purged += await self._keep_audit_log()
        await self._read_messages()
        return SweepReply(looked_at=runnable, nudged=nudged, purged=purged, expired=expired)

    async def _nudge(self, lost: list[standing.Standing]) -> int:
        limit = asyncio.Semaphore(TOGETHER)

        async def nudge(chat: standing.Standing) -> bool:
            async with limit:
                signal = "interrupt_requested" if chat.status == Status.INTERRUPTING else "woken"
                return await self._resources.temporal.nudged(
                    chat.id, chat.owner_id, chat.snapshot_version, signal=signal
                )

        return sum(await asyncio.gather(*map(nudge, lost)))

    async def _each(self, chats: list[UUID], move: Callable[[Session, UUID], Awaitable[Moved]], signal: str) -> int:
        """Make the move with each of these chats, which is judged again under its lock; how many runs must know."""
        limit = asyncio.Semaphore(TOGETHER_EXPIRED)

        async def make(chat_id: UUID) -> bool:
            async with limit:
                try:
                    async with self._resources.database.begin() as session:
                        moved = await move(session, chat_id)
                except NotFound:
                    return False
                if moved.nudge:
                    chat = moved.chat
                    await self._resources.temporal.nudge(
                        chat_id, chat["owner_id"], chat["snapshot_version"], signal=signal
                    )
                return moved.nudge

        return sum(await asyncio.gather(*map(make, chats)))

    async def _read_messages(self) -> None:
        """For the full text search; a deployment that is new to it is read in many sweeps."""
        for _ in range(MOST_READINGS):
            async with self._resources.database.begin() as session:
                if await words.read(session) < words.BATCH:
                    break

    async def _keep_audit_log(self) -> int:
        """Seal what was written since, and delete what is older than it shall be kept."""
        for _ in range(MOST_BATCHES):
            async with self._resources.database.begin() as session:
                if await seals.seal(session) < seals.BATCH:
                    break
        async with self._resources.database.read() as session:
            days = await retention.days(session, retention.AUDIT_RETENTION)
        purged = 0
        if days:
            cutoff = retention.midnight_before(datetime.now(UTC), days)
            for _ in range(MOST_BATCHES):
                async with self._resources.database.begin() as session:
                    done = await seals.cut(session, cutoff, MOST_CUT)
                purged += done
                if done < MOST_CUT:
                    break
        return purged

    async def _purge(self) -> int:
        """In short transactions, until little was left: one batch a sweep is less than a busy deployment writes."""
        purged = 0
        kinds = (
            (stream.purge, LOG_LIFE),
            (idempotency.purge, self._resources.settings.idempotency_ttl),
            (ledger.purge, LEDGER_LIFE),
            (mailbox.purge, LEDGER_LIFE),
            (webhooks.purge, DELIVERIES_LIVE),
            (reserving.release, RESERVATION_LIFE),
        )
        for purge, age in kinds:
            for _ in range(MOST_BATCHES):
                async with self._resources.database.begin() as session:
                    done = await purge(session, age)
                purged += done
                if done < LITTLE:
                    break
        return purged
