"""The housekeeping effect: archive what nobody uses, delete what is over. In batches, each a transaction of its own.

What must happen within seconds or minutes (lost nudges, deadlines, the stream log, idempotency keys) is the sweep's.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from activities.attempt import heartbeats
from activities.performs import performs
from activities.resources import Resources
from models.errors import Invalid, NotFound
from models.rules import digests
from models.rules.digests import Archived
from models.steps import HousekeepingReply, HousekeepingRequest, Job
from models.store import inbox, retention
from models.store.inbox import Notice
from models.store.session import Session
from workflows import effects

log = logging.getLogger(__name__)

MOST = 1000  # of each kind in one round; the rest is the next round's
CHATS_AT_ONCE = 10  # with all their messages, in one transaction
FILES_AT_ONCE = 50
RUNS_AT_ONCE = 200
NOTICES_AT_ONCE = 500
OWNERS_AT_ONCE = 200
MOST_RUNS = 20_000
READ_NOTICES_LIVE = timedelta(days=90)

AUTO_ARCHIVED = "chats-auto-archived"

Batch = Callable[[Session, int], Awaitable[int]]


class Housekeeping:
    """Performs the effect `housekeep`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.housekeep)
    async def housekeep(self, request: HousekeepingRequest) -> HousekeepingReply:
        jobs: dict[Job, Callable[[datetime], Awaitable[int]]] = {
            Job.CHATS: self._delete_chats,
            Job.FILES: self._delete_files,
            Job.ARCHIVE: self._archive,
            Job.DIGESTS: self._tell_owners,
            Job.DEBUG: self._forget_debug,
            Job.NOTICES: self._forget_notices,
        }
        async with heartbeats():
            done = await jobs[request.job](request.at)
        if done:
            log.info("housekeeping: %s: %d", request.job.value, done)
        return HousekeepingReply(done)

    async def _delete_chats(self, at: datetime) -> int:
        age = await self._days(retention.RETENTION)
        cutoff = at - timedelta(days=age)
        return await self._batches(lambda s, n: retention.delete_archived(s, cutoff, n), CHATS_AT_ONCE) if age else 0

    async def _delete_files(self, at: datetime) -> int:
        age = await self._days(retention.RETENTION)
        cutoff = at - timedelta(days=age)
        return (
            await self._batches(lambda s, n: retention.delete_orphan_files(s, cutoff, n), FILES_AT_ONCE) if age else 0
        )

    async def _archive(self, at: datetime) -> int:
        """Chats archived, with the children of each root; a root that somebody holds is the next round's."""
        age = await self._days(retention.AUTO_ARCHIVE)
        if not age:
            return 0
        cutoff, done = retention.midnight_before(at, age), 0
        async with self._resources.database.read() as session:
            roots = await retention.idle_roots(session, cutoff, MOST)
        for root in roots:
            try:
                async with self._resources.database.begin() as session:
                    done += await retention.archive_idle(session, root, cutoff, tick(at))
            except (NotFound, Invalid):  # deleted or archived by somebody else meanwhile
                continue
        return done

    async def _tell_owners(self, at: datetime) -> int:
        """A digest for each owner of what this round archived; made again from the audit log, it is the same one."""
        async with self._resources.database.read() as session:
            owners = retention.by_owner(await retention.archived_in(session, tick(at), digests.MOST_TITLES))
            if not owners:
                return 0
            archive_days = await retention.days(session, retention.AUTO_ARCHIVE)
            retention_days = await retention.days(session, retention.RETENTION)
        notices = []
        for owner, rows in sorted(owners.items()):
            told = digests.details(
                [Archived(row["title"], row["last_activity"]) for row in rows],
                rows[0]["total"],
                at,
                auto_archive_days=archive_days,
                retention_days=retention_days,
            )
            notices.append(Notice(owner, AUTO_ARCHIVED, tick(at), digests.TITLE, digests.content(told), told))
        done = 0
        for start in range(0, len(notices), OWNERS_AT_ONCE):
            async with self._resources.database.begin() as session:
                done += await inbox.post(session, notices[start : start + OWNERS_AT_ONCE], pushed=True)
        return done

    async def _forget_debug(self, at: datetime) -> int:
        done = await self._batches(retention.forget_debug_of_the_gone, RUNS_AT_ONCE, MOST_RUNS)
        await self._batches(retention.close_stale_debug, RUNS_AT_ONCE, MOST_RUNS)
        age = await self._days(retention.DEBUG_RETENTION)
        cutoff = at - timedelta(days=age)
        if age:
            done += await self._batches(
                lambda s, n: retention.forget_debug_before(s, cutoff, n), RUNS_AT_ONCE, MOST_RUNS
            )
        return done

    async def _forget_notices(self, at: datetime) -> int:
        cutoff = at - READ_NOTICES_LIVE
        return await self._batches(lambda s, n: retention.forget_read_notices(s, cutoff, n), NOTICES_AT_ONCE)

    async def _days(self, key: str) -> int:
        async with self._resources.database.read() as session:
            return await retention.days(session, key)

    async def _batches(self, batch: Batch, size: int, most: int = MOST) -> int:
        """Batch after batch until one comes back short, or it is enough for this round."""
        done = 0
        while done < most:
            wanted = min(size, most - done)
            async with self._resources.database.begin() as session:
                found = await batch(session, wanted)
            done += found
            if found < wanted:
                break
        return done


def tick(at: datetime) -> str:
    """The name of a round: whoever does it, and however often."""
    return at.isoformat()
