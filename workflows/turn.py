"""One turn of one chat: ask for an effect, do what its reply says is next, until the chat rests."""

import contextlib
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError

from models.steps import StepReply, StepRequest, Then, TurnInput
from workflows import effects
from workflows.effect import Effect

LOOK_SECONDS = 30.0  # between two looks at what tools wait for, should nobody say that it is over


@dataclass(frozen=True, slots=True)
class TurnState:
    """Where a run stands, for `explain` and the Temporal UI."""

    step: int
    doing: str
    snapshot_version: int
    stopping: bool


@workflow.defn(name="ChatTurn")
class ChatTurn:
    """Drives a chat from one user message to rest. Postgres decides; this only asks, and waits.

    Every signal carries the snapshot version of the change it tells of, so one that is late or doubled is known as
    such: the reply of an effect names the version that it saw.
    """

    @workflow.init
    def __init__(self, turn: TurnInput) -> None:
        self._turn = turn
        self._known = turn.snapshot_version
        self._heard = 0
        self._step = 0
        self._doing = "starting"
        self._stoppable: workflow.ActivityHandle[StepReply] | None = None
        self._stopping = False

    @workflow.run
    async def run(self, _turn: TurnInput) -> str:
        reply = await self._do(effects.generate, "model")
        while True:
            match reply.then:
                case Then.GENERATE:
                    self._rotate_if_long()
                    reply = await self._do(effects.generate, "model")
                case Then.USE_TOOLS:
                    self._rotate_if_long()
                    reply = await self._do(effects.use_tools, "tools")
                case Then.AWAIT_TOOLS:
                    self._rotate_if_long()
                    reply = await self._await_tools(reply)
                case Then.INTERRUPT:
                    reply = await self._do(effects.interrupt, "interrupt")
                case Then.BACK_OFF:
                    reply = await self._back_off(reply)
                case Then.COMPACT:
                    self._rotate_if_long()
                    reply = await self._do(effects.compact, "compact")
                case Then.NEXT_TURN:
                    self._continue()
                case Then.REST | Then.AWAIT_CLIENT:
                    if self._heard <= self._known:
                        return reply.note or "rest"
                    reply = await self._do(effects.generate, "look again")
                case never:
                    assert_never(never)

    @workflow.signal
    def message_queued(self, snapshot_version: int) -> None:
        """A message was sent, or waits in the queue."""
        self._note(snapshot_version)

    @workflow.signal
    def queue_changed(self, snapshot_version: int) -> None:
        """A queued message was removed or promoted."""
        self._note(snapshot_version)

    @workflow.signal
    def tool_results_submitted(self, snapshot_version: int) -> None:
        """A client answered its tool calls."""
        self._note(snapshot_version)

    @workflow.signal
    def woken(self, snapshot_version: int) -> None:
        """Something may have changed: look."""
        self._note(snapshot_version)

    @workflow.signal
    def interrupt_requested(self, snapshot_version: int) -> None:
        """Stop was asked for."""
        self._stop(snapshot_version)

    @workflow.signal
    def history_edited(self, snapshot_version: int) -> None:
        """What is being answered was rewritten."""
        self._stop(snapshot_version)

    @workflow.query
    def state(self) -> TurnState:
        """Where this run stands."""
        return TurnState(self._step, self._doing, self._known, self._stopping)

    def _note(self, snapshot_version: int) -> None:
        # A signal without a version comes from a person with a Temporal client: always look.
        self._heard = max(self._heard, snapshot_version or sys.maxsize)

    def _stop(self, snapshot_version: int) -> None:
        self._note(snapshot_version)
        if self._stoppable is not None and self._heard > self._known:
            self._stopping = True
            self._stoppable.cancel()

    async def _do(self, effect: Effect[StepRequest, StepReply], what: str) -> StepReply:
        self._step += 1
        self._heard = 0
        self._say(f"step {self._step}: {what}")
        handle = effect.start(StepRequest(self._turn.chat_id, self._step), summary=self._doing)
        self._stoppable = handle if effect is not effects.interrupt else None
        try:
            reply = await handle
        except ActivityError as failed:
            if not (self._stopping or isinstance(failed.cause, CancelledError)):
                raise
            # Stopped before a worker took it up, or by one that died of it: what is being cancelled is not tried
            # again by Temporal. There is no reply, so the interrupt effect says what is next.
            reply = StepReply(Then.INTERRUPT, self._known)
        finally:
            self._stoppable = None
            self._stopping = False
        self._known = max(self._known, reply.snapshot_version)
        return reply

    async def _back_off(self, reply: StepReply) -> StepReply:
        pause = timedelta(seconds=max(reply.delay_seconds, 0.001))
        self._say(f"back-off {pause.total_seconds():.1f} s" + (f": {reply.note}" if reply.note else ""))
        try:
            await workflow.wait_condition(lambda: self._heard > self._known, timeout=pause, timeout_summary=self._doing)
        except TimeoutError:
            return await self._do(effects.generate, "model")
        return await self._do(effects.interrupt, "look")

    async def _await_tools(self, reply: StepReply) -> StepReply:
        """Wait without a slot: whoever ends what is waited for says so, and should that be lost, it is looked again."""
        pause = timedelta(seconds=min(max(reply.delay_seconds, 0.001), LOOK_SECONDS))
        self._say(f"waits: {reply.note}")
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._heard > self._known, timeout=pause, timeout_summary=self._doing)
        return await self._do(effects.attend, "look")

    def _say(self, doing: str) -> None:
        self._doing = doing
        workflow.set_current_details(doing)

    def _rotate_if_long(self) -> None:
        if workflow.info().is_continue_as_new_suggested():
            self._continue()

    def _continue(self) -> None:
        workflow.continue_as_new(TurnInput(self._turn.chat_id, self._known, self._turn.owner_id))
