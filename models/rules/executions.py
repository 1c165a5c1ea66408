"""What to do about a tool call, going by its tool's policy and by what the ledger says of it."""

from enum import StrEnum
from typing import assert_never
from uuid import UUID, uuid5


class Policy(StrEnum):
    """What may be done about a call of which nobody knows whether it happened."""

    PURE = "pure"  # it changes nothing: run it again
    IDEMPOTENT = "idempotent"  # the world knows its key: run it again with the same one
    PROBE = "probe"  # the world can be asked what happened
    ONCE = "once"  # never again: the model and the user are told that it may have happened


class Standing(StrEnum):
    """What the ledger says of a call. `claimed` means: it may be running now, or may have run."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Course(StrEnum):
    """What whoever holds a claim does next."""

    RUN = "run"
    ASK = "ask"  # the tool's probe
    GIVE_UP = "give up"  # the answer is that nobody knows
    ANSWER = "answer"  # with the result that the ledger holds


def course(policy: Policy, standing: Standing, attempt: int) -> Course:
    """What is next for a call that was just claimed for the `attempt`th time, or that needed no claim any more."""
    match standing:
        case Standing.SUCCEEDED | Standing.FAILED | Standing.UNKNOWN:
            return Course.ANSWER
        case Standing.PLANNED | Standing.CLAIMED:
            return Course.RUN if attempt <= 1 else _again(policy)
        case never:
            assert_never(never)


def _again(policy: Policy) -> Course:
    match policy:
        case Policy.PURE | Policy.IDEMPOTENT:
            return Course.RUN
        case Policy.PROBE:
            return Course.ASK
        case Policy.ONCE:
            return Course.GIVE_UP
        case never:
            assert_never(never)


WAITS = frozenset({"wait_agent"})
"""Tools that only wait: they are in the ledger for what they remember, and change nothing."""


def key(chat_id: UUID, message_id: int, tool_call_id: str, part: str = "") -> UUID:
    """Under which name the world may remember a call, or a `part` of it: the same for each run, and of no other."""
    return uuid5(chat_id, f"{message_id}:{tool_call_id}{part}")
