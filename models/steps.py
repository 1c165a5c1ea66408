"""The words that workflows and effects exchange: ids, versions and what comes next. Never transcripts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Then(StrEnum):
    """What a chat needs next, as decided in the transaction that committed the last effect."""

    GENERATE = "generate"  # a model step
    USE_TOOLS = "use_tools"  # the last assistant message has open calls of ours
    INTERRUPT = "interrupt"  # stop was asked for: commit the partial
    COMPACT = "compact"  # the context is too full, or its owner asked for it
    AWAIT_TOOLS = "await_tools"  # open calls of ours wait for something that nobody needs to hold a slot for
    AWAIT_CLIENT = "await_client"  # the open calls are the client's to answer
    BACK_OFF = "back_off"  # wait `delay` seconds, then generate again
    NEXT_TURN = "next_turn"  # this turn has ended and a queued message was promoted
    REST = "rest"  # nothing to do


class Outcome(StrEnum):
    """What a step's commit came to. The first three end a turn; `requires_action` lets it rest."""

    FINISHED = "finished"
    FAILED = "error"
    INTERRUPTED = "interrupted"
    REQUIRES_ACTION = "requires_action"
    COMMITTED = "committed"
    RETRY = "retry"
    PAUSED = "paused"


ENDS = frozenset({Outcome.FINISHED, Outcome.FAILED, Outcome.INTERRUPTED})
"""Outcomes after which the turn is over."""


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
    """What an effect came to. `note` is a line for people in the Temporal UI, `outcome` a word for those who count."""

    then: Then
    snapshot_version: int
    delay_seconds: float = 0.0
    note: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class SweepReply:
    """What a sweep did."""

    looked_at: int
    nudged: int
    purged: int = 0
    expired: int = 0


class Naming(StrEnum):
    """Which words about a chat a model is asked for."""

    AUTOMATIC = "automatic"  # a title for its first message, saved if nobody named the chat meanwhile
    REGENERATE = "regenerate"  # a new title, saved
    PROPOSE = "propose"  # a new title, only shown
    LABEL = "label"  # what came of its latest turn


@dataclass(frozen=True, slots=True)
class TitleRequest:
    """Find words for this chat. `lock` names the hold on the title of whoever asked, where somebody did."""

    chat_id: UUID
    naming: Naming
    lock: str = ""


class TitleOutcome(StrEnum):
    """What a search for words came to."""

    SAVED = "saved"
    PROPOSED = "proposed"
    UNCHANGED = "unchanged"  # nothing usable was found, or nobody wants it any more
    SKIPPED = "skipped"  # there was no reason to ask
    FAILED = "failed"
    LOST = "lost"  # the hold on the title was over


@dataclass(frozen=True, slots=True)
class TitleReply:
    """What came of it; the words themselves are in the database, `charged` names the row that holds them."""

    outcome: TitleOutcome
    charged: int | None = None
    note: str = ""


class Job(StrEnum):
    """The jobs of a round of housekeeping, in this order: what a round archives is not deleted in the same one."""

    CHATS = "delete archived chats"
    FILES = "delete orphan files"
    ARCHIVE = "archive idle chats"
    DIGESTS = "tell owners"
    DEBUG = "forget debug runs"
    NOTICES = "forget read notices"


@dataclass(frozen=True, slots=True)
class HousekeepingRequest:
    """Do this job of the round that began at this moment."""

    job: Job
    at: datetime


@dataclass(frozen=True, slots=True)
class HousekeepingReply:
    """How many things a job archived, told or deleted."""

    done: int


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """Tell this endpoint of this event."""

    endpoint_id: UUID
    delivery_id: int


@dataclass(frozen=True, slots=True)
class DeliveryReply:
    """What an attempt came to; `wait_seconds` until the next one, None if there is none."""

    note: str
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Start, stop or delete this workspace, as the build says."""

    build_id: UUID
    workspace_id: UUID


@dataclass(frozen=True, slots=True)
class BuildReply:
    """What the build came to: succeeded, failed or canceled."""

    status: str
    note: str = ""
