"""One chat, for all who watch it in this process: read once, encoded once, told to each."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from api.live.delta import NOTHING, Seen, Told, part_event
from api.live.watcher import Watcher
from models.events import Event, event
from models.rules.cursors import NOWHERE, START, Cursor
from models.store.live import Floor, Reading
from models.store.stream import PartsNotice

INBOX = 2000  # notices that wait for a reading; more are read from the log instead
LOAD_FAILED = {"error": {"message": "failed to load initial snapshot", "retryable": False}}

log = logging.getLogger(__name__)

Read = Callable[[UUID, Floor], Awaitable[Reading | None]]


@dataclass(eq=False, slots=True)
class Joiner:
    """A watcher that waits for its snapshot: all, what is newer than its cursor, or all after a `resync`."""

    watcher: Watcher
    since: Seen = NOTHING
    after_id: int = 0
    resync: bool = False
    warned: bool = False


class Feed:
    """The stream of a chat. Notices are hints: only what the database says, or a part in its place, is told."""

    __slots__ = (
        "_deaf",
        "_hole",
        "_inbox",
        "_joiners",
        "_members",
        "_over",
        "_read",
        "_seen",
        "_stale",
        "_task",
        "_watchers",
        "chat_id",
    )

    def __init__(self, chat_id: UUID, read: Read) -> None:
        self.chat_id = chat_id
        self._read = read
        self._seen: Seen | None = None
        self._members: set[Watcher] = set()
        self._watchers: set[Watcher] = set()  # members that are told what happens: neither joining nor too far behind
        self._deaf: set[Watcher] = set()  # they miss the beginning of the episode, so they do not get its end
        self._joiners: list[Joiner] = []
        self._inbox: list[PartsNotice] = []
        self._hole: Cursor | None = None  # where the log had nothing to fill a gap with
        self._stale = False
        self._over = False
        self._task: asyncio.Task[None] | None = None  # while there is something to read: a quiet feed has none

    @property
    def deserted(self) -> bool:
        return not self._members

    @property
    def watchers(self) -> int:
        return len(self._members)

    def join(self, joiner: Joiner) -> None:
        """Give the watcher a snapshot and then everything after it, without a gap or a repeat."""
        self._members.add(joiner.watcher)
        self._joiners.append(joiner)
        self._wake()

    def rejoin(self, late: Watcher) -> None:
        """The watcher fell too far behind: tell it everything anew."""
        self.join(Joiner(late, resync=True))

    def leave(self, watcher: Watcher) -> None:
        self._members.discard(watcher)
        self._watchers.discard(watcher)
        self._deaf.discard(watcher)
        self._joiners = [joiner for joiner in self._joiners if joiner.watcher is not watcher]

    def hint(self, snapshot: int, seq: int = 0) -> None:
        """The chat may have come this far: read it if that is news."""
        if self._seen is None or (snapshot, seq) > (self._seen.cursor.snapshot, self._seen.cursor.seq):
            self.refresh()

    def refresh(self) -> None:
        """Read the chat, whatever is known of it."""
        self._stale = True
        self._wake()

    def parts(self, notice: PartsNotice) -> None:
        """Parts were written: tell them at once if they are next, else after a reading."""
        if self._seen is None or self._task is not None:
            if len(self._inbox) == INBOX:
                del self._inbox[0]
                self.refresh()
            self._inbox.append(notice)
        elif not self._tell_parts(notice, self._seen):
            self._inbox.append(notice)
            self.refresh()

    def end(self) -> None:
        """Tell nobody anything more."""
        self._over = True
        for watcher in self._members:
            watcher.end()

    async def ended(self) -> None:
        """Return once nothing is being read any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def over(self) -> bool:
        return self._over and self._task is None

    def _wake(self) -> None:
        if self._task is None and not self._over:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._read_all()
        finally:
            self._task = None

    async def _read_all(self) -> None:
        """Read until everything that happened has been told."""
        pause = 0.05
        while (self._stale or self._joiners) and not self._over:
            joiners, self._joiners = self._joiners, []
            self._stale = False
            covered = len(self._inbox)  # what had been written before the reading
            try:
                found = await self._sync(joiners)
                pause = 0.05
            except Exception as failure:  # a watcher outlives whatever keeps us from the database
                log.warning("chat %s cannot be read for its watchers: %s", self.chat_id, failure)
                self._reassure(joiners)
                self._stale = True
                self._joiners = [joiner for joiner in joiners if joiner.watcher in self._members] + self._joiners
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
                continue
            if not found:
                self.end()
                return
            self._settle(covered)

    def _settle(self, covered: int) -> None:
        """Tell the parts that came while the chat was read; a gap that the reading did not fill will stay one."""
        told = 0
        for place, notice in enumerate(self._inbox):
            if self._seen is None:
                break
            if not self._tell_parts(notice, self._seen):
                if place >= covered:
                    self._stale = True
                    break
                self._hole = self._seen.cursor
            told += 1
        del self._inbox[:told]

    async def _sync(self, joiners: list[Joiner]) -> bool:
        """One reading brings the feed up to date and gives each joiner its snapshot; False if the chat is gone."""
        seen = self._seen or NOTHING
        reading = await self._read(self.chat_id, _floor(self._seen, joiners))
        if reading is None:
            return False
        told = Told(reading)
        events, after = told.changes(seen)
        if after.cursor.episode != seen.cursor.episode:
            self._deaf.clear()
        self._tell(events)
        self._seen = after
        for joiner in joiners:
            if joiner.watcher in self._members:
                self._admit(joiner, told, after)
        return True

    def _admit(self, joiner: Joiner, told: Told, now: Seen) -> None:
        if _beyond(joiner.since.cursor, now.cursor):
            self.join(Joiner(joiner.watcher, resync=True))
            return
        events, seen = told.changes(joiner.since, joiner.after_id)
        if joiner.resync:
            events = [event("resync", self.chat_id, cursor=START.encode()), *events]
        if seen.cursor.seq != now.cursor.seq:
            self._deaf.add(joiner.watcher)
        self._watchers.add(joiner.watcher)
        joiner.watcher.begin(events)

    def _tell_parts(self, notice: PartsNotice, seen: Seen) -> bool:
        """Tell those parts of the notice that are next; False if a reading must come first."""
        cursor = seen.cursor
        if notice.episode != cursor.episode:
            return notice.episode < cursor.episode
        if notice.parts is None:
            return notice.seq <= cursor.seq
        if notice.seq > cursor.seq + 1:
            return self._hole == cursor
        events = []
        for seq, (role, part) in enumerate(notice.parts, start=notice.seq):
            if seq > seen.cursor.seq:
                seen = seen.after(seq)
                events.append(part_event(self.chat_id, seen.cursor, role, part))
        self._seen = seen
        self._tell(events, parts=True)
        return True

    def _tell(self, events: list[Event], *, parts: bool = False) -> None:
        if not events:
            return
        for watcher in list(self._watchers):
            if watcher in self._deaf:
                heard = [] if parts else [each for each in events if each.type != "message_part"]
            else:
                heard = events
            if heard and not watcher.put(heard):
                self._watchers.discard(watcher)
                self._deaf.discard(watcher)

    def _reassure(self, joiners: list[Joiner]) -> None:
        """Say once, in the place of the snapshot, that it will take longer."""
        for joiner in joiners:
            if not joiner.warned:
                joiner.warned = True
                joiner.watcher.begin([event("error", self.chat_id, LOAD_FAILED)])


def _floor(seen: Seen | None, joiners: Sequence[Joiner]) -> Floor:
    """From where one reading serves the feed and all that join it."""
    cursors = [joiner.since.cursor for joiner in joiners]
    if seen is not None:
        cursors.append(seen.cursor)
    snapshots = [cursor.snapshot for cursor in cursors]
    lowest = NOWHERE._replace(snapshot=min(snapshots, default=NOWHERE.snapshot))
    if seen is None:
        # Nobody is told anything yet, so messages can be left out; but the episode is read from its start.
        return Floor(lowest, _told(snapshots), min((joiner.after_id for joiner in joiners), default=0))
    if all(cursor.episode == seen.cursor.episode for cursor in cursors):
        lowest = seen.cursor._replace(snapshot=lowest.snapshot, seq=min(cursor.seq for cursor in cursors))
    return Floor(lowest, _told(snapshots))


def _told(snapshots: Iterable[int]) -> int | None:
    return min((snapshot for snapshot in snapshots if snapshot != NOWHERE.snapshot), default=None)


def _beyond(cursor: Cursor, now: Cursor) -> bool:
    """The cursor claims more than there is: it is another chat's, or from a future that was lost."""
    if cursor.snapshot > now.snapshot or cursor.episode > now.episode:
        return True
    return cursor.episode == now.episode and cursor.seq > now.seq
