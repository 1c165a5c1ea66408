"""The life of one fenced attempt: open it, let a step work under its fence, and stop that step at once when told to."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

from temporalio import activity

from activities import advising, families, workspace_context
from activities.ahead import HeadStart
from activities.control import Watch
from activities.patience import AWAY, patiently
from activities.publish import Episode
from activities.recorder import Recording
from activities.resources import Resources
from activities.tracing import Turn, turn_of
from models.errors import FenceLost, NotFound
from models.log_context import about
from models.parts import Part
from models.rules.states import Status
from models.steps import ENDS, Note, Outcome, StepReply, Then
from models.store import moves, standing
from models.store.moves import Fence, Opened, StepRow
from models.store.session import Session

log = logging.getLogger(__name__)

HEARTBEAT_INTERVAL = 2.0  # seconds: Temporal hears no more often anyway, and a step that is shorter costs it nothing
CLOSING_PATIENCE = 5.0  # seconds that a stopped step has to let go of its connections
UNEXPECTED = {"message": "The chat request failed unexpectedly.", "kind": "generic", "retryable": False}

Commit = Callable[[Session, Fence], Awaitable[StepReply]]


class Step(Protocol):
    """What is done in an attempt. `work` may be cancelled at any await but inside `attempt.commit`."""

    async def work(self, attempt: "Attempt", opened: Opened) -> StepReply:
        """Do it, commit it through the attempt, and say what is next."""
        ...

    def partial(self) -> list[StepRow]:
        """What there is to keep when the step is stopped."""
        ...


class Attempt:
    """One attempt at a chat's next step, seen from the activity that performs it."""

    def __init__(
        self,
        resources: Resources,
        chat_id: UUID,
        wanted: Then,
        step: Step,
        *,
        head: HeadStart | None = None,
        unattempted: int | None = None,
    ) -> None:
        self._resources = resources
        self._chat_id = chat_id
        self._wanted = wanted
        self._step = step
        self._head = head
        self._unattempted = unattempted
        self._fence: Fence | None = None
        self._episode: Episode | None = None
        self._sealed = False
        self._is_child = False
        self._watch: Watch | None = None
        self.held_by: UUID | None = None
        self.turn: Turn | None = None
        self.recording: Recording | None = None

    async def run(self) -> StepReply:
        """Open, work, commit; the reply says what the chat needs next.

        With `held_by` set afterwards another worker is at the step, ahead of its run: there was nothing to do but wait.
        """
        began, outcome = monotonic(), ""
        try:
            with about(chat_id=self._chat_id):
                reply = await self._run()
            outcome = reply.outcome
        finally:
            if self.recording is not None:
                self.recording.end(outcome)
        if self._fence is not None:
            self._count(reply, monotonic() - began)
        return reply

    def _count(self, reply: StepReply, seconds: float) -> None:
        """Meters and the trace hear of the step, and of the turn's end if this was it."""
        resources, kind = self._resources, self._wanted.value
        resources.meters.steps.labels(kind, reply.outcome or "superseded").inc()
        resources.meters.step_seconds.labels(kind).observe(seconds)
        note_end(resources, self.turn, reply)

    async def _run(self) -> StepReply:
        with self._resources.control.watching(self._chat_id) as watch:
            self._watch = watch
            work = asyncio.create_task(self._work(watch))
            try:
                await self._until_done_or_stopped(work, watch)
                return await undisturbed(self._told(work))
            except NotFound:
                return StepReply(Then.REST, 0, note=Note.GONE)
            finally:
                work.cancel()  # whatever ended us must not leave a provider streaming to nobody
                if self._episode is not None:
                    self._episode.close()

    async def doubt(self) -> None:
        """Somebody asks the step to stop for the chat's sake: it does, if the chat has moved on without it."""
        if self._watch is not None and self._fence is not None and not await self._holds(self._fence):
            self._watch.stopped.set()

    @property
    def number(self) -> int:
        """Which attempt at this step it is, from 1."""
        assert self._fence is not None
        return self._fence.generation_attempt

    def show(self, role: str, part: Part) -> None:
        """Show watchers a piece of the step."""
        assert self._episode is not None
        self._episode.push(role, part)

    async def shown(self) -> None:
        """Everything shown is in the stream log, or the log is out of reach."""
        assert self._episode is not None
        await self._episode.flush()

    async def commit(self, move: Commit) -> StepReply:
        """Make the move that ends the step. From here on the step is not stopped: the fence decides."""
        fence = self._fence
        assert fence is not None
        if self._head is not None:
            await self._head.run_is_there()
        self._sealed = True
        self._resources.failpoints.hit("worker.before_commit")
        reply = await patiently(self._resources.database, lambda session: move(session, fence))
        self._resources.failpoints.hit("worker.after_commit")
        if reply.outcome == Outcome.FINISHED:
            self._resources.aside.rests(self._chat_id)
        return reply

    async def _work(self, watch: Watch) -> StepReply:
        settings, ahead = self._resources.settings, self._resources.ahead
        async with self._resources.database.begin() as session:
            opened = await moves.open_attempt(
                session,
                self._chat_id,
                max_attempts=settings.max_attempts,
                max_steps=settings.max_steps,
                patience=settings.requires_action_timeout,
                wanted=self._wanted,
                ahead=ahead.worker if self._head else None,
                unattempted=self._unattempted,
                living=ahead.living(),
                stop_after=self._resources.tools.stops,
                limits=self._resources.capacity.limits,
            )
        self.held_by = opened.held_by
        self._is_child = opened.chat["parent_chat_id"] is not None
        if opened.queued:  # a slot may have become free while it was queued, or be kept for one that nobody woke
            self._resources.capacity.look(self._chat_id)
        if opened.reply is not None:
            if opened.reply.outcome == Outcome.FINISHED:  # what its last step came to was enough
                note_end(self._resources, turn_of(self._chat_id, opened.history), opened.reply)
                self._resources.aside.rests(self._chat_id)
            return opened.reply
        version = opened.chat["snapshot_version"]
        fence = self._fence = opened.fence
        self.turn = turn_of(self._chat_id, opened.history)
        if opened.taken_over:
            self._resources.meters.takeovers.inc()
        workspace_context.hold(opened)
        self._resources.failpoints.hit("worker.after_open")
        if self._head is not None and self._head.starting is None:
            temporal, owner_id = self._resources.temporal, opened.chat["owner_id"]
            tell = temporal.nudged if ahead.is_closing(fence.chat_id) else temporal.begin
            self._head.starting = asyncio.create_task(tell(fence.chat_id, owner_id, version))
        self._episode = self._resources.publisher.episode(
            fence.chat_id, fence.history_version, fence.generation_attempt
        )
        watch.guard(fence, version)
        await advising.settle(self._resources, opened)
        with about(turn_id=self.turn.message_id if self.turn else None, attempt=fence.generation_attempt):
            return await self._step.work(self, opened)

    async def _until_done_or_stopped(self, work: "asyncio.Task[StepReply]", watch: Watch) -> None:
        """Return when the work is done, or cancelled because the chat has moved on; raises when the worker stops."""
        stop = asyncio.create_task(watch.stopped.wait())
        try:
            while not work.done():
                try:
                    await asyncio.wait({work} if self._sealed else {work, stop}, return_when=asyncio.FIRST_COMPLETED)
                    moved_on = stop.done()
                except asyncio.CancelledError:
                    moved_on = await self._judge_cancellation(work)
                if moved_on and not self._sealed:
                    break
            await self._cancel(work)
        finally:
            stop.cancel()

    async def _judge_cancellation(self, work: "asyncio.Task[StepReply]") -> bool:
        """Temporal asks us to stop: for the chat's sake (then look: the request may be stale), or for the worker's."""
        if for_the_chats_sake():
            return self._fence is not None and not await self._holds(self._fence)
        if self._sealed:
            return False
        await self._cancel(work)
        raise asyncio.CancelledError

    async def _cancel(self, work: "asyncio.Task[StepReply]") -> None:
        if not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=CLOSING_PATIENCE)

    async def _told(self, work: "asyncio.Task[StepReply]") -> StepReply:
        """The outcome; whoever waits for a sub-agent hears that it rests, also where it did so before."""
        reply = await self._outcome(work)
        if self._is_child and reply.then is Then.REST:
            await families.rested(self._resources, self._chat_id)
        return reply

    async def _outcome(self, work: "asyncio.Task[StepReply]") -> StepReply:
        if not work.done():
            return await self._settle()
        try:
            return work.result()
        except (asyncio.CancelledError, FenceLost):
            return await self._settle()
        except (*AWAY, NotFound):
            raise
        except Exception:
            if self._fence is None:
                raise
            log.exception("chat %s: a step failed unexpectedly", self._chat_id)
            return await self._fail(self._fence)

    async def _fail(self, fence: Fence) -> StepReply:
        """A bug of ours ends the turn with an error that people see, instead of being tried for ever."""
        try:
            return await patiently(
                self._resources.database, lambda session: moves.finish_error(session, fence, dict(UNEXPECTED))
            )
        except FenceLost:
            return await self._settle()

    async def _settle(self) -> StepReply:
        """The chat has moved on. If a stop was asked for in our attempt, commit the partial; else drop the work."""
        fence = self._fence
        if fence is None:
            return StepReply(Then.GENERATE, 0, note=Note.NOT_OPENED)
        if self._episode is not None:
            self._episode.close()
        stands = await patiently(self._resources.database, lambda session: standing.of(session, [fence.chat_id]))
        chat = stands.get(fence.chat_id)
        if chat is None:
            return StepReply(Then.REST, 0, note=Note.GONE)
        ours = (chat.history_version, chat.generation_attempt) == (fence.history_version, fence.generation_attempt)
        if chat.status != Status.INTERRUPTING or not ours:
            return StepReply(Then.GENERATE, chat.snapshot_version, note=Note.MOVED_ON)
        self._resources.failpoints.hit("worker.before_interrupt_commit")
        episode = (fence.history_version, fence.generation_attempt)
        rows = self._step.partial()
        return await patiently(
            self._resources.database,
            lambda session: moves.finish_interruption(session, fence.chat_id, rows, episode=episode),
        )

    async def _holds(self, fence: Fence) -> bool:
        """Is the attempt still the current one? An unreachable database says nothing: the control channel will."""
        try:
            async with self._resources.database.read() as session:
                chat = (await standing.of(session, [fence.chat_id])).get(fence.chat_id)
        except AWAY:
            return True
        attempt = (fence.history_version, fence.generation_attempt)
        return (
            chat is not None
            and chat.status == Status.RUNNING
            and (chat.history_version, chat.generation_attempt) == attempt
        )


def for_the_chats_sake() -> bool:
    """Does Temporal ask us to stop because the chat moved on? Then we are the judge of that, and stay."""
    if not activity.in_activity() or activity.is_worker_shutdown():
        return False
    details = activity.cancellation_details()
    if details is None or not details.cancel_requested or details.worker_shutdown:
        return False
    current = asyncio.current_task()
    assert current is not None
    current.uncancel()
    return True


def note_end(resources: Resources, turn: Turn | None, reply: StepReply) -> None:
    """Meters and the trace hear of the turn's end, if this reply is it."""
    if reply.outcome in ENDS:
        resources.meters.turns.labels(reply.outcome).inc()
        resources.tracing.ended(turn, reply.outcome)


async def undisturbed(work: Coroutine[Any, Any, StepReply]) -> StepReply:
    """Do it to its end: Temporal may ask an activity to stop while it is just committing why it stopped."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            current = asyncio.current_task()
            assert current is not None
            current.uncancel()
    return task.result()


@contextlib.asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Tell Temporal that we are alive until the block ends: it gives a silent worker's work to another.

    The SDK asks an activity to stop once. One that stayed, for the stop was stale, is asked again when its worker goes.
    """
    if not activity.in_activity():
        yield
        return
    working = asyncio.current_task()
    assert working is not None

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)  # first: a short step costs Temporal no heartbeat at all
            activity.heartbeat()

    async def leave() -> None:
        await activity.wait_for_worker_shutdown()
        details = activity.cancellation_details()
        if details is not None and details.cancel_requested:
            working.cancel()

    beside = [asyncio.create_task(beat()), asyncio.create_task(leave())]
    try:
        yield
    finally:
        for each in beside:
            each.cancel()
