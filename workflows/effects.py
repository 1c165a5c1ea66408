"""Every side effect that a workflow may ask for, with its patience: the port to the world."""

from datetime import timedelta

from models.steps import StepReply, StepRequest, SweepReply
from workflows.effect import Effect, Queue, effect

HEARTBEAT = timedelta(seconds=5)  # a dead worker is noticed after this long


# Attempts are unlimited here because `chats.generation_attempt` bounds them where people can see it.
@effect(timeout=timedelta(hours=1), heartbeat=HEARTBEAT)
async def generate(request: StepRequest) -> StepReply:
    """Open an attempt, stream one model step, commit it; if the chat needs something else, only say so."""


@effect(timeout=timedelta(hours=1), heartbeat=HEARTBEAT, queue=Queue.TOOLS)
async def use_tools(request: StepRequest) -> StepReply:
    """Run the open tool calls of the last assistant message side by side and commit their results together."""


# On the tools queue: a stop must not wait for a free model slot.
@effect(timeout=timedelta(minutes=5), heartbeat=HEARTBEAT, queue=Queue.TOOLS)
async def interrupt(request: StepRequest) -> StepReply:
    """Commit what a stopped step had streamed; without a stop to perform, only say what the chat needs next."""


@effect(timeout=timedelta(minutes=1), heartbeat=HEARTBEAT, attempts=3, queue=Queue.TOOLS)
async def sweep(reason: str) -> SweepReply:
    """Nudge the runnable chats that nobody drives, and purge what has expired."""


EFFECTS: tuple[Effect[StepRequest, StepReply] | Effect[str, SweepReply], ...] = (generate, use_tools, interrupt, sweep)
