"""All watchers of this process: one LISTEN connection, fanned out in memory, with a poll behind it."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import aclosing, contextmanager
from uuid import UUID

import psycopg

from api.begun import Begun
from api.live.delta import NOTHING, Seen
from api.live.feed import Feed, Joiner
from api.live.guests import Guests
from api.live.sidebar import Sidebars
from api.live.teller import Pulse
from api.live.together import Together
from api.live.watcher import Watcher
from models.errors import NotFound, Unavailable
from models.principal import Principal
from models.rules.cursors import Cursor
from models.settings import Settings
from models.store import chats, live, stream
from models.store.database import Database, Row
from models.store.live import Floor, Position, Reading
from models.store.notices import ACCESS, BUDGETS, CHATS, PARTS, WORKERS, BudgetNotice, ChatNotice

# Database connections that those who arrive and those who watch may hold together, and how much one statement asks.
# A reading may be large, and is decoded at one go.
READINGS, READINGS_TOGETHER = 3, 8
DOORS, DOORS_TOGETHER = 1, 64
MARKS, MARKS_TOGETHER = 1, 256
LISTEN_PATIENCE = 5.0  # seconds
POLLED_TOGETHER = 500  # chats: the answer about thousands would stop every stream while it is decoded
GRACE = 1.0  # seconds, at most, that a notice may take

log = logging.getLogger(__name__)


class Hub:
    """Who watches what. `start` it once, then `watch` chats and `sidebar`s."""

    def __init__(self, database: Database, settings: Settings, guests: Guests | None = None) -> None:
        self._database = database
        self._guests = guests
        self._poll_interval = settings.stream_poll_interval.total_seconds()
        self._buffer = settings.watcher_buffer_bytes
        self._feeds: dict[UUID, Feed] = {}
        self._ending: list[Feed] = []  # nobody watches them any more, but a reading may not be back yet
        self._sidebars = Sidebars(database)
        self._readings = Together(self._read_all, at_once=READINGS, most=READINGS_TOGETHER)
        self._doors = Together(self._find_doors, at_once=DOORS, most=DOORS_TOGETHER)
        self._marks = Together(self._mark_all, at_once=MARKS, most=MARKS_TOGETHER)
        self._listening = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False
        self.begun = Begun()
        self.pulse = Pulse(settings.stream_ping_interval.total_seconds())

    async def start(self) -> None:
        """Begin to listen. The database need not be there yet."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="hub-listen"),
            asyncio.create_task(self._poll(), name="hub-poll"),
            asyncio.create_task(self._sidebars.run(), name="hub-sidebars"),
        ]

    def stop(self) -> None:
        """End every stream, and those that come from now on."""
        self._stopped = True
        self._sidebars.end()
        for feed in self._feeds.values():
            feed.end()

    async def close(self) -> None:
        """End every stream, and stop listening."""
        for task in self._tasks:
            task.cancel()
        self.stop()
        ending = [*self._ending, *self._feeds.values()]
        self._feeds.clear()
        await asyncio.gather(*self._tasks, *(feed.ended() for feed in ending), return_exceptions=True)

    @property
    def feeds(self) -> int:
        """How many chats are watched here."""
        return len(self._feeds)

    @property
    def watchers(self) -> int:
        """How many live streams of chats are open here."""
        return sum(feed.watchers for feed in self._feeds.values())

    @contextmanager
    def watch(
        self, chat_id: UUID, cursor: Cursor | None = None, after_id: int = 0, *, inside: bool = False
    ) -> Iterator[Watcher]:
        """A watcher of the chat: a snapshot (what is new since `cursor`, messages after `after_id`), then the rest.

        Who is `inside` is also told of its budgets.
        """
        feed = self._feeds.get(chat_id)
        if feed is None:
            feed = self._feeds[chat_id] = Feed(chat_id, self._read)
        watcher = Watcher(self._buffer, feed.rejoin, inside=inside)
        feed.join(Joiner(watcher, Seen(cursor) if cursor else NOTHING, after_id))
        if self._stopped:
            watcher.end()
        try:
            yield watcher
        finally:
            feed.leave(watcher)
            if feed.deserted and self._feeds.get(chat_id) is feed:
                del self._feeds[chat_id]
                feed.end()
                self._ending = [*(each for each in self._ending if not each.over), feed]

    @contextmanager
    def sidebar(self, owner: Principal) -> Iterator[Watcher]:
        """A watcher of what happens to this person's chats, from now on."""
        with self._sidebars.watch(owner, self._buffer) as watcher:
            if self._stopped:
                watcher.end()
            yield watcher

    async def listening(self) -> None:
        """Return once notices arrive; raises Unavailable when they do not."""
        try:
            async with asyncio.timeout(LISTEN_PATIENCE):
                await self._listening.wait()
        except TimeoutError:
            raise Unavailable("Failed to subscribe to chat events.") from None

    async def door(self, caller: Principal, chat_id: UUID) -> Row:
        """Whose chat it is, for somebody who may see it; raises NotFound for anybody else."""
        row = await self._doors.ask(chat_id)
        if row is None or not chats.may_see(caller, row):
            raise NotFound
        return row

    async def mark_read(self, chat_id: UUID) -> None:
        """The chat's owner has seen all that there is."""
        await self._marks.ask(chat_id)

    async def _read(self, chat_id: UUID, floor: Floor) -> Reading | None:
        return await self._readings.ask((chat_id, floor))

    async def _read_all(self, asked: list[tuple[UUID, Floor]]) -> list[Reading | None]:
        async with self._database.read() as session:
            found = await live.read(session, dict(asked))  # a feed reads once at a time: no chat is asked for twice
        return [found.get(chat_id) for chat_id, _ in asked]

    async def _find_doors(self, asked: list[UUID]) -> list[Row | None]:
        async with self._database.read() as session:
            found = await live.doors(session, asked)
        return [found.get(chat_id) for chat_id in asked]

    async def _mark_all(self, asked: list[UUID]) -> list[None]:
        async with self._database.read() as session:
            unread = await live.unread(session, asked)
        for chat_id in unread:
            async with self._database.begin() as session:
                await live.mark_read(session, chat_id)
        return [None] * len(asked)

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._database.listen([ACCESS, BUDGETS, CHATS, PARTS, WORKERS])) as notices:
                    async for notice in notices:
                        self._heard(notice)
            except Exception:  # without it nobody would be told anything any more
                log.exception("listening was interrupted")
            self._listening.clear()
            await asyncio.sleep(0.1)

    def _heard(self, notice: psycopg.Notify | None) -> None:
        if notice is None:
            # (Re)connected: whatever was said meanwhile, nobody here has heard it.
            for feed in self._feeds.values():
                feed.refresh()
            if self._listening.is_set():
                self._sidebars.lost()
            self._doubt(None)
            self._listening.set()
        elif notice.channel == PARTS:
            for parts in stream.decode_notices(notice.payload):
                if parts.chat_id in self._feeds:
                    self._feeds[parts.chat_id].parts(parts)
        elif notice.channel == ACCESS:
            self._doubt(UUID(notice.payload))
        elif notice.channel == BUDGETS:
            self._sidebars.note(BudgetNotice.decode(notice.payload))
        elif notice.channel == WORKERS:
            self.begun.hear_worker(notice.payload)
        else:
            told = ChatNotice.decode(notice.payload)
            self.begun.hear_chat(told)
            if told.chat_id in self._feeds:
                self._feeds[told.chat_id].hint(told.snapshot_version)
            if told.watch:
                self._sidebars.note(told)

    def _doubt(self, root: UUID | None) -> None:
        if self._guests is not None:
            self._guests.doubt_readers(root)

    async def _poll(self) -> None:
        """Notices may be lost: look how far the watched chats have come, each once an interval, a few at a time."""
        loop, grace = asyncio.get_running_loop(), min(GRACE, self._poll_interval / 10)
        slot = 0
        while True:
            slots = len(self._feeds) // POLLED_TOGETHER + 1
            await asyncio.sleep((self._poll_interval - grace) / slots)
            slot = (slot + 1) % slots
            some = [chat_id for chat_id in self._feeds if chat_id.int % slots == slot]
            if not some:
                continue
            try:
                async with self._database.read() as session:
                    found = await live.positions(session, some)
            except Exception as failure:  # the next poll may fare better
                log.warning("the watched chats could not be polled: %s", failure)
            else:
                loop.call_later(grace, self._hint, found)  # what has just been written is on its way

    def _hint(self, found: Iterable[Position]) -> None:
        for chat_id, snapshot, seq in found:
            if chat_id in self._feeds:
                self._feeds[chat_id].hint(snapshot, seq)
