"""The words that workflows and effects exchange: ids, versions and what comes next. Never transcripts.

Temporal keeps them in the clear, so no field takes a text that somebody made up: what has to be said is a `Note`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
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


class Note(StrEnum):
    """What a reply says to people who look at Temporal. One that is unknown is read as `OTHER`."""

    NONE = ""
    OTHER = "something else"
    GONE = "the chat is gone"
    INVALID = "the chat was in an invalid state"
    MOVED_ON = "the chat moved on"
    AHEAD = "begun ahead of its run"
    AHEAD_IN_VAIN = "the head start came to nothing"
    NOT_FIRST = "somebody else was there first"
    NOT_OPENED = "stopped before the attempt was open"
    QUEUED_FOR_CAPACITY = "queued for capacity"
    BARRED = "its owner is suspended or gone"
    TOO_MANY_ATTEMPTS = "too many attempts"
    INTERRUPTED = "interrupted"
    INTERRUPTED_NEXT = "interrupted; the queue's head is next"
    NOT_INTERRUPTING = "the chat was no longer interrupting"
    FINISHED = "turn finished"
    FINISHED_NEXT = "turn finished; the queue's head is next"
    CALLS_COMMITTED = "tool calls committed"
    RESULTS_COMMITTED = "tool results committed"
    COMPACTED = "history compacted"
    OVER_NEXT = "the turn is over; the next one waits"
    AWAITS_CLIENT = "waiting for the client's tool results"
    # `the chat is …`: its status
    IS_WAITING = "the chat is waiting"
    IS_PENDING = "the chat is pending"
    IS_RUNNING = "the chat is running"
    IS_INTERRUPTING = "the chat is interrupting"
    IS_AT_ACTION = "the chat is requires_action"
    IS_ERROR = "the chat is error"
    # `the chat needs …`: what is next
    NEEDS_MODEL = "the chat needs generate"
    NEEDS_TOOLS = "the chat needs use_tools"
    NEEDS_INTERRUPT = "the chat needs interrupt"
    NEEDS_COMPACTION = "the chat needs compact"
    NEEDS_PATIENCE = "the chat needs await_tools"
    NEEDS_CLIENT = "the chat needs await_client"
    NEEDS_REST = "the chat needs rest"
    # `failed: …`: the kind of a failure
    FAILED = "failed: generic"
    OVERLOADED = "failed: overloaded"
    RATE_LIMIT = "failed: rate_limit"
    TIMEOUT = "failed: timeout"
    SILENT = "failed: stream_silence_timeout"
    AUTH = "failed: auth"
    CONFIG = "failed: config"
    USAGE_LIMIT = "failed: usage_limit"
    MISSING_KEY = "failed: missing_key"
    DISABLED_PROVIDER = "failed: provider_disabled"
    FILTERED = "failed: content_filter"
    # what paused tool calls wait for
    BUILD_OVER = "build_over"
    AGENT_CONNECTED = "agent_connected"
    AGENT_READY = "agent_ready"
    JOB_OVER = "job_over"
    CHILD_OVER = "child_over"
    # words for a chat
    TITLED = "the chat needs no title"
    UNLABELLED = "there is nothing to label"
    NOTHING_TO_GO_BY = "nothing to go by"
    NO_MODEL = "No usable model."
    NO_TITLE = "No model gave a usable title."
    NO_WORKER = "No worker answered in time."
    # deliveries to webhooks
    DELIVERED = "delivered"
    UNDELIVERED = "not delivered"
    DISABLED = "disabled"
    NOTHING_TO_DELIVER = "nothing to deliver"
    # pushes to browsers
    UNLABELLED_YET = "it may be labelled, or done with"
    # builds
    ANOTHERS = "it was over, or another worker has it"

    @classmethod
    def _missing_(cls, value: object) -> "Note":
        return cls.OTHER  # of another release

    @classmethod
    def failed(cls, kind: object) -> "Note":
        """A failure of this kind."""
        return cls(f"failed: {kind}")


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
    """What an effect came to; `outcome` is for those who count."""

    then: Then
    snapshot_version: int
    delay_seconds: float = 0.0
    note: Note = Note.NONE
    outcome: Outcome | Literal[""] = ""


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
    """Find words for this chat. `lock` is the moment at which whoever asked took hold of the title, if somebody did."""

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
    note: Note = Note.NONE


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
    """Tell this endpoint of this event. `push`: tell this browser, which is a subscription."""

    endpoint_id: UUID
    delivery_id: int
    kind: Literal["webhook", "push"] = "webhook"


@dataclass(frozen=True, slots=True)
class DeliveryReply:
    """What an attempt came to; `wait_seconds` until the next one, None if there is none."""

    note: Note
    wait_seconds: float | None = None
    status_code: int | None = None


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Start, stop or delete this workspace, as the build says."""

    build_id: UUID
    workspace_id: UUID


class Built(StrEnum):
    """What a build came to."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    OVER = "over"  # before this attempt
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class BuildReply:
    """What the build came to; why is in its row."""

    status: Built
    note: Note = Note.NONE
