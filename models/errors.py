"""The tree of things that can go wrong. It knows no HTTP: the worker raises it too.

TurnstoneError
├── Unauthenticated          nobody we know is asking
├── Forbidden                known, but not allowed
├── NotFound                 absent, or not theirs to see
├── Invalid                  the request makes no sense as it stands
│   └── Unprocessable        well-formed, but contradicts an earlier one (idempotency keys)
├── TooLarge                 over a documented size
├── Conflict                 right request, wrong moment
│   ├── IllegalMove          the table of moves has no such cell
│   └── UsageLimited         the spend limit is reached
├── Precondition             something the request builds on is missing
│   └── Stale                … or has changed since the caller saw it
├── Gone                     removed for good
├── Exhausted                a bounded resource is full: queue, rate
├── Unavailable              a dependency is away; try again
├── BadGateway               somebody else's server did not do its part
├── FenceLost                a worker's attempt is no longer the current one (never reaches a client)
└── ProviderFailed           the model provider failed; carries facts for rules.failures
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Validation:
    """One field that is wrong, and how."""

    field: str
    detail: str


class TurnstoneError(Exception):
    """Root of our errors: a sentence for the caller, a detail, and the fields at fault."""

    default_message = "An internal server error occurred."

    def __init__(self, message: str = "", detail: str = "", validations: Sequence[Validation] = ()) -> None:
        self.message = message or self.default_message
        self.detail = detail
        self.validations = tuple(validations)
        super().__init__(self.message if not detail else f"{self.message} {detail}")


class Unauthenticated(TurnstoneError):
    default_message = "You are signed out or your session has expired. Please sign in again to continue."


class Forbidden(TurnstoneError):
    default_message = "Forbidden."

    def __init__(self, message: str = "", detail: str = "", validations: Sequence[Validation] = ()) -> None:
        if not message:
            detail = detail or (
                "You don't have permission to view this content. If you believe this is a mistake, "
                "please contact your administrator or try signing in with different credentials."
            )
        super().__init__(message, detail, validations)


class NotFound(TurnstoneError):
    default_message = "Resource not found or you do not have access to this resource"


class Invalid(TurnstoneError):
    default_message = "Validation failed."


class Unprocessable(Invalid):
    default_message = "The request cannot be processed."


class TooLarge(TurnstoneError):
    default_message = "Request body is too large."


class Conflict(TurnstoneError):
    default_message = "The request conflicts with the current state."


class IllegalMove(Conflict):
    """The table of moves refuses `move` in `state`."""

    def __init__(self, state: str, move: str) -> None:
        self.state = state
        self.move = move
        super().__init__(
            "The chat does not allow this now.", f'"{move}" is not allowed while the chat is in state {state}.'
        )


class UsageLimited(Conflict):
    """The owner has spent what they may spend in this period; amounts are micro-dollars."""

    default_message = "Chat usage limit exceeded."

    def __init__(self, spent_micros: int, limit_micros: int, resets_at: datetime) -> None:
        self.spent_micros = spent_micros
        self.limit_micros = limit_micros
        self.resets_at = resets_at
        super().__init__()


class Precondition(TurnstoneError):
    default_message = "A precondition of the request is not met."


class Stale(Precondition):
    """What the caller has seen is not what there is; `tag` names what there is."""

    default_message = "The setting has changed in the meantime."

    def __init__(self, tag: str) -> None:
        self.tag = tag
        super().__init__(detail=f"If-Match does not name its present ETag, which is {tag}.")


class Gone(TurnstoneError):
    default_message = "This resource was removed."


class Exhausted(TurnstoneError):
    """A bounded resource is full; `retry_after` says when to try again, where that is known."""

    default_message = "Too many requests."

    def __init__(self, message: str = "", detail: str = "", retry_after: timedelta | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, detail)


class QueueFull(Exhausted):
    def __init__(self, limit: int) -> None:
        super().__init__("Message queue is full.", f"Maximum {limit} messages can be queued.")


class Unavailable(TurnstoneError):
    default_message = "The service is temporarily unavailable."


class BadGateway(TurnstoneError):
    default_message = "Another server did not do its part."


class FenceLost(TurnstoneError):
    """The attempt's `history_version`, `generation_attempt` or status is no longer current: drop the work."""

    default_message = "This attempt is no longer the current one."


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """What is known of a provider's failure, before anybody judges it.

    `status`: HTTP status; `retry_after`: the provider's own wish; `text`: error text and response body;
    `code`: the provider's machine-readable code; `signal`: a fact that we saw ourselves
    ("silence", "stream_cut", "content_filter", "missing_key", "cancelled", "empty", "too_large").
    """

    provider: str = ""
    status: int | None = None
    retry_after: timedelta | None = None
    text: str = ""
    code: str = ""
    signal: str = ""
    structured: bool = field(default=False)


class ProviderFailed(TurnstoneError):
    """The provider failed, with the facts for `rules.failures.classify`."""

    default_message = "The model provider failed."

    def __init__(self, facts: FailureFacts) -> None:
        self.facts = facts
        super().__init__(detail=facts.text[:500])
