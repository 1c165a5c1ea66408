"""The words that workflows and effects exchange: ids, versions and what comes next. Never transcripts."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Then(StrEnum):
    """What a chat needs next, as decided in the transaction that committed the last effect."""

    GENERATE = "generate"  # a model step
    USE_TOOLS = "use_tools"  # the last assistant message has open calls of ours
    INTERRUPT = "interrupt"  # stop was asked for: commit the partial
    COMPACT = "compact"  # the context is too full
    BACK_OFF = "back_off"  # wait `delay` seconds, then generate again
    NEXT_TURN = "next_turn"  # this turn has ended and a queued message was promoted
    REST = "rest"  # nothing to do


@dataclass(frozen=True, slots=True)
class TurnInput:
    """A run of ChatTurn: one chat, and the snapshot it was started for."""

    chat_id: UUID
    snapshot_version: int
    owner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Do the next thing of this kind for this chat. `step` counts effects of the run, for summaries."""

    chat_id: UUID
    step: int = 1


@dataclass(frozen=True, slots=True)
class StepReply:
    """What an effect came to. `note` is a line for people in the Temporal UI."""

    then: Then
    snapshot_version: int
    delay_seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class SweepReply:
    """What a sweep did."""

    looked_at: int
    nudged: int
    purged: int = 0
