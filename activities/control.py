"""The control channel: tells a running step at once that its attempt is no longer the current one."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from uuid import UUID

from activities.ahead import HeadStarts
from activities.capacity import Capacity
from models.store import standing
from models.store.database import Database
from models.store.moves import Fence
from models.store.notices import CATALOG, CHATS, SWITCHES, WORKERS, ChatNotice

log = logging.getLogger(__name__)

RUNNING = ("pending", "running")
UUID_IN_NOTICE = slice(2, 38)  # a chat notice begins with `["<chat id>"`


class Watch:
    """One step's eye on its chat. `stopped` is set when the chat has moved on without it."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self.news = asyncio.Event()
        self.heard: ChatNotice | None = None
        self._fence: Fence | None = None
        self._opened_at = 0

    def guard(self, fence: Fence, snapshot_version: int) -> None:
        """From now on the chat must stay in this attempt, opened at this snapshot."""
        self._fence, self._opened_at = fence, snapshot_version
        if self.heard is not None:
            self.hear(self.heard)

    def hear(self, notice: ChatNotice) -> None:
        """Judge where the chat is now; older news than the last is ignored."""
        if self.heard is None or notice.snapshot_version >= self.heard.snapshot_version:
            self.heard = notice
        self.news.set()
        if self._fence is not None and self.heard.snapshot_version > self._opened_at and not self._holds(self.heard):
            self.stopped.set()

    def _holds(self, notice: ChatNotice) -> bool:
        assert self._fence is not None
        attempt = (self._fence.history_version, self._fence.generation_attempt)
        return notice.status in RUNNING and attempt == (notice.history_version, notice.generation_attempt)


class Control:
    """One LISTEN connection of the worker, and the watches of its running steps."""

    def __init__(
        self,
        database: Database,
        catalog_changed: Callable[[], None],
        switches_changed: Callable[[], None],
        ahead: HeadStarts,
        capacity: Capacity,
    ) -> None:
        self._database = database
        self._catalog_changed = catalog_changed
        self._switches_changed = switches_changed
        self._ahead = ahead
        self._capacity = capacity
        self._watches: dict[str, set[Watch]] = {}
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen. The database need not be there yet."""
        self._task = asyncio.create_task(self._listen(), name="control")

    async def listening(self) -> None:
        """Return once notices arrive."""
        await self._listening.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @contextmanager
    def watching(self, chat_id: UUID) -> Iterator[Watch]:
        """Keep an eye on a chat until the block ends; begin before the attempt is opened, so that nothing is missed."""
        watch = Watch()
        watches = self._watches.setdefault(str(chat_id), set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                self._watches.pop(str(chat_id), None)

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._database.listen([CHATS, CATALOG, SWITCHES, WORKERS])) as coming:
                    async for notice in coming:
                        if notice is None:
                            self._catalog_changed()
                            self._switches_changed()
                            self._listening.set()
                            await self._ahead.greet()
                            await self._recheck()
                        elif notice.channel == CATALOG:
                            self._catalog_changed()
                        elif notice.channel == SWITCHES:
                            self._switches_changed()
                        elif notice.channel == WORKERS:
                            self._ahead.hear_worker(notice.payload)
                        else:
                            if watches := self._watches.get(notice.payload[UUID_IN_NOTICE]):
                                heard = ChatNotice.decode(notice.payload)
                                for watch in tuple(watches):
                                    watch.hear(heard)
                            self._ahead.hear_chat(notice.payload)
                            self._capacity.hear_chat(notice.payload)
            except Exception:
                log.exception("the control channel failed; it is opened again")
                await asyncio.sleep(1)

    async def _recheck(self) -> None:
        """Notices may have been lost: ask where the watched chats stand."""
        watched = [UUID(chat_id) for chat_id in self._watches]
        if not watched:
            return
        async with self._database.read() as session:
            found = await standing.of(session, watched)
        for chat_id in watched:
            stands = found.get(chat_id)
            for watch in tuple(self._watches.get(str(chat_id), ())):
                if stands is None:
                    watch.stopped.set()
                else:
                    watch.hear(notice_of(stands))


def notice_of(stands: standing.Standing) -> ChatNotice:
    """What a notice would have said of a chat that stands here."""
    return ChatNotice(
        stands.id,
        stands.owner_id,
        stands.snapshot_version,
        stands.history_version,
        stands.generation_attempt,
        stands.status,
    )
