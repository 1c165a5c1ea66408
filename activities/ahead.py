"""Head starts: a worker begins an attempt at the commit's notice, while Temporal still starts the run that adopts it.

What decides is in Postgres as ever: the attempt is opened under the chat's lock, with a fence. A head start that is
lost, late or doubled costs nothing; the run's activity adopts the one it finds at home, waits for one that another
living worker is at, and takes over what a dead one has left (docs/decisions/0010).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID, uuid4

from activities.meters import Meters
from activities.patience import AWAY
from models.rules.states import Status
from models.settings import Settings
from models.steps import Note, StepReply, Then
from models.store import notices
from models.store.database import Database
from models.store.notices import ChatNotice, WorkerNotice
from models.store.peers import Peers

log = logging.getLogger(__name__)

BEAT = 1.0  # seconds between two signs of life
RUN_PATIENCE = 5.0  # seconds that a whole answer waits for its run
CLOSING = 0.1  # seconds that a run may take to end after its activity: until then it is told, not started anew
ROOM = 0.75  # of the model slots: the rest is for runs that wait their turn in Temporal's queue
LOW_BITS = 2**62 - 1  # the random ones, in a uuid of any kind

Begin = Callable[["HeadStart"], Awaitable[StepReply]]


class HeadStart:
    """One attempt under way without an activity, until the run's activity adopts it, or waits for it elsewhere."""

    def __init__(self, chat_id: UUID, history_version: int) -> None:
        self.chat_id = chat_id
        self.history_version = history_version
        self.adopted = False
        self.awaited = asyncio.Event()
        self.task: asyncio.Task[StepReply] | None = None
        self.starting: asyncio.Task[bool] | None = None
        self.doubt: Callable[[], Awaitable[None]] | None = None

    async def run_is_there(self) -> None:
        """Return once the run has come to this step; without Temporal, after a while.

        What is committed is then a turn that its workflow knows of: nobody runs further ahead of Temporal than that.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(RUN_PATIENCE):
                await self.awaited.wait()


class HeadStarts:
    """Which attempts this worker began ahead of their runs, and which workers there are to begin any."""

    def __init__(self, settings: Settings, database: Database, meters: Meters) -> None:
        self.worker = uuid4()
        self._enabled = settings.head_starts
        self._most = max(1, int(settings.model_slots * ROOM))
        self._database = database
        self._meters = meters
        self._peers = Peers()
        self._begun: dict[UUID, HeadStart] = {}
        self._steps: dict[UUID, int] = {}
        self._left: dict[UUID, float] = {}
        self._missed: dict[UUID, ChatNotice] = {}  # heard while the turn before was not quite put away
        self._begin: Begin | None = None
        self._beating: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None

    def begin_with(self, begin: Begin) -> None:
        """From now on begin attempts like this."""
        self._begin = begin
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat(), name="head starts")

    async def leave(self) -> None:
        """Begin nothing more, let go of what has no activity here, and say goodbye: others take it over at once."""
        self._begin = None
        if self._beating is None:
            return
        self._beating.cancel()
        await _end([head for head in self._begun.values() if not head.adopted])
        self._beating = None
        await self._tell(gone=True)

    async def close(self) -> None:
        """Leave, and let go of the rest."""
        await self.leave()
        if self._answering is not None:
            await asyncio.wait({self._answering})
        await _end(list(self._begun.values()))

    async def greet(self) -> None:
        """Say at once that we are there, if we work."""
        if self._beating is not None:
            await self._tell()

    def hear_chat(self, payload: str) -> None:
        """A chat changed. Is it a message that nobody answers yet, and is this worker the one to begin?"""
        if self._begin is None or not self._enabled or f'"{Status.PENDING}"' not in payload:
            return
        notice = ChatNotice.decode(payload)
        if notice.status != Status.PENDING or notice.generation_attempt != 0:
            return
        if notice.chat_id in self._begun or notice.chat_id in self._steps:
            self._missed[notice.chat_id] = notice
        elif self._first(notice.chat_id) == self.worker:
            self._start(notice, self._begin)

    def hear_worker(self, payload: str) -> None:
        """A worker is there, or gone, or has the activity of a run that we are ahead of; it may be this one."""
        notice = WorkerNotice.decode(payload)
        if self._peers.hear(notice) and notice.worker != self.worker:
            self._answering = asyncio.create_task(self.greet())  # a new one should know of us before it takes over
        if notice.waits is not None and (head := self._begun.get(notice.waits)) is not None:
            head.awaited.set()

    async def tell_waiting(self, chat_id: UUID) -> None:
        """Let the worker that is ahead of this chat's run know that the run is there."""
        await self._tell(waits=chat_id)

    def cares_for(self, chat_id: UUID) -> bool:
        """Of all workers that live, is this the one to do what must be done once for the chat?"""
        return self.worker == min(
            self.living() | {self.worker}, key=lambda worker: (worker.int ^ chat_id.int) & LOW_BITS
        )

    def living(self) -> set[UUID]:
        """The other workers that were heard of lately."""
        return self._peers.living() - {self.worker}

    def adopt(self, chat_id: UUID) -> HeadStart | None:
        """The head start of this worker at the chat, if one is under way; from now on it has its activity."""
        head = self._begun.get(chat_id)
        if head is not None:
            head.adopted = True
            head.awaited.set()
            self._meters.head_starts.labels("adopted").inc()
        return head

    @contextmanager
    def occupied(self, chat_id: UUID) -> Iterator[None]:
        """An activity is at the chat: no head start beside it."""
        self._steps[chat_id] = self._steps.get(chat_id, 0) + 1
        try:
            yield
        finally:
            self._steps[chat_id] -= 1
            if not self._steps[chat_id]:
                del self._steps[chat_id]
                self.left(chat_id)
                self._catch_up(chat_id)

    def _first(self, chat_id: UUID) -> UUID | None:
        """The worker that begins: every worker finds the same one, without asking."""
        able = [worker for worker in self._peers.with_room() if worker != self.worker]
        if self._room():
            able.append(self.worker)
        return min(able, key=lambda worker: (worker.int ^ chat_id.int) & LOW_BITS, default=None)

    def _room(self) -> bool:
        return self._enabled and len(self._begun) + len(self._steps) < self._most

    def _start(self, notice: ChatNotice, begin: Begin) -> None:
        head = self._begun[notice.chat_id] = HeadStart(notice.chat_id, notice.history_version)
        head.task = asyncio.create_task(self._run(head, begin), name="head start")
        head.task.add_done_callback(lambda _: self._catch_up(head.chat_id))

    async def _run(self, head: HeadStart, begin: Begin) -> StepReply:
        try:
            return await begin(head)
        except Exception as failed:
            if not head.adopted:  # the run's activity tries again, and fails where people see it
                log.warning("chat %s: a head start came to nothing: %s", head.chat_id, failed)
                return StepReply(Then.GENERATE, 0, note=Note.AHEAD_IN_VAIN)
            raise
        finally:
            del self._begun[head.chat_id]
            if not head.adopted:
                self._meters.head_starts.labels("elsewhere" if head.awaited.is_set() else "alone").inc()

    def is_closing(self, chat_id: UUID) -> bool:
        """Was an activity of the chat's run here a moment ago?"""
        return chat_id in self._left

    def left(self, chat_id: UUID) -> None:
        """An activity at the chat is over: its run ends, or goes on."""
        loop = asyncio.get_running_loop()
        at = self._left[chat_id] = loop.time()
        loop.call_later(CLOSING, lambda: self._left.get(chat_id) == at and self._left.pop(chat_id))

    def _catch_up(self, chat_id: UUID) -> None:
        notice = self._missed.pop(chat_id, None)
        if notice is not None and self._begin is not None and self._first(chat_id) == self.worker:
            self._start(notice, self._begin)

    async def _beat(self) -> None:
        while True:
            await self._tell()
            await asyncio.sleep(BEAT)

    async def _tell(self, *, gone: bool = False, waits: UUID | None = None) -> None:
        notice = WorkerNotice(self.worker, self._room(), gone, waits)
        with suppress(*AWAY):
            async with self._database.read() as session:
                await notices.tell(session, notices.WORKERS, notice.encode())


async def _end(heads: Sequence[HeadStart]) -> None:
    tasks = [head.task for head in heads if head.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
