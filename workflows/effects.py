"""Every side effect that a workflow may ask for, with its patience: the port to the world."""

from datetime import timedelta

from models.steps import (
    BuildReply,
    BuildRequest,
    DeliveryReply,
    DeliveryRequest,
    HousekeepingReply,
    HousekeepingRequest,
    StepReply,
    StepRequest,
    SweepReply,
    TitleReply,
    TitleRequest,
)
from workflows.effect import Effect, Queue, effect

HEARTBEAT = timedelta(seconds=5)  # a dead worker is noticed after this long


# Attempts are unlimited here because `chats.generation_attempt` bounds them where people can see it.
@effect(timeout=timedelta(hours=1), heartbeat=HEARTBEAT)
async def generate(request: StepRequest) -> StepReply:
    """Open an attempt, stream one model step, commit it; if the chat needs something else, only say so."""


@effect(timeout=timedelta(hours=1), heartbeat=HEARTBEAT, queue=Queue.TOOLS)
async def use_tools(request: StepRequest) -> StepReply:
    """Run the open tool calls of the last assistant message side by side and commit their results together."""


@effect(timeout=timedelta(minutes=1), heartbeat=HEARTBEAT, queue=Queue.CONTROL)
async def attend(request: StepRequest) -> StepReply:
    """See whether what the chat's paused tool calls wait for has happened, and say what the chat needs next."""


@effect(timeout=timedelta(hours=1), heartbeat=HEARTBEAT)
async def compact(request: StepRequest) -> StepReply:
    """Summarise the history that the model sees, and commit the summary; if there is no need, only say what is next."""


# On a queue of its own: a stop must wait neither for a free model slot nor for a free tool slot.
@effect(timeout=timedelta(minutes=5), heartbeat=HEARTBEAT, queue=Queue.CONTROL)
async def interrupt(request: StepRequest) -> StepReply:
    """Commit what a stopped step had streamed; without a stop to perform, only say what the chat needs next."""


@effect(timeout=timedelta(minutes=1), heartbeat=HEARTBEAT, attempts=3, queue=Queue.CONTROL)
async def sweep(reason: str) -> SweepReply:
    """Nudge the runnable chats that nobody drives, and purge what has expired."""


# Asked three times only if workers die: what a provider refuses is not asked again.
@effect(timeout=timedelta(minutes=2), heartbeat=HEARTBEAT, attempts=3, queue=Queue.ASIDE)
async def title(request: TitleRequest) -> TitleReply:
    """Ask a small model for a chat's title, or for a label of its latest turn, and save it if it is still wanted."""


# A job that fails is tried again in the next round anyway.
@effect(timeout=timedelta(minutes=9), heartbeat=HEARTBEAT, attempts=3, queue=Queue.ASIDE)
async def housekeep(request: HousekeepingRequest) -> HousekeepingReply:
    """Archive or delete what is over, a bounded number at once; what is left is found again."""


# What a receiver refuses is tried again by the workflow, hours apart; this bounds workers that die meanwhile.
@effect(timeout=timedelta(minutes=1), heartbeat=HEARTBEAT, attempts=10, queue=Queue.ASIDE)
async def deliver(request: DeliveryRequest) -> DeliveryReply:
    """Send an event to a webhook or a browser once, write down what came of it, and say when to try again."""


# On a queue of its own: tools that wait for builds must not keep builds from being done. Its own limit is in the row.
@effect(timeout=timedelta(hours=2), heartbeat=HEARTBEAT, queue=Queue.BUILDS)
async def build(request: BuildRequest) -> BuildReply:
    """Have a provisioner start, stop or delete a workspace, and wake the chats that wait for it."""


EFFECTS: tuple[
    Effect[StepRequest, StepReply]
    | Effect[str, SweepReply]
    | Effect[TitleRequest, TitleReply]
    | Effect[HousekeepingRequest, HousekeepingReply]
    | Effect[DeliveryRequest, DeliveryReply]
    | Effect[BuildRequest, BuildReply],
    ...,
] = (
    generate,
    use_tools,
    attend,
    compact,
    interrupt,
    sweep,
    title,
    housekeep,
    deliver,
    build,
)
