"""What can go wrong between a client and its service: one exception for each thing a caller may want to handle.

TurnstoneError
├── ConnectionFailed        nobody answered, for as long as there was patience
├── UnexpectedAnswer        something answered that does not speak like Turnstone
├── InvalidId               what was given as an id cannot be one
├── NotGenuine              a webhook's message is not what the service sent, or not now
├── WaitTimedOut            what was waited for did not happen in time
└── ApiError                the service said no: status, message, detail, validations, request_id
    ├── BadRequest 400 · Unauthenticated 401 · Forbidden 403 · NotFound 404 · Gone 410
    ├── Conflict 409        └── UsageLimitExceeded: spent_micros, limit_micros, resets_at
    ├── PreconditionFailed 412 · TooLarge 413 · Unprocessable 422
    ├── RateLimited 429     └── QueueFull: too many messages wait in the chat
    └── ServerError 5xx     └── Unavailable 502, 503, 504
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

QUEUE_FULL = "Message queue is full."


class TurnstoneError(Exception):
    """Anything that this client raises about the service."""


class ConnectionFailed(TurnstoneError):
    """No answer came. Whether a change was made is not known, if the request had been sent."""

    def __init__(self, url: str, reason: str, *, is_timeout: bool = False) -> None:
        super().__init__(f"cannot reach {url}: {reason}")
        self.url = url
        self.reason = reason
        self.is_timeout = is_timeout


class UnexpectedAnswer(TurnstoneError):
    """The answer is not what a Turnstone service says."""


class InvalidId(TurnstoneError, ValueError):
    """What was given as an id cannot be one; nothing was sent."""


class NotGenuine(TurnstoneError):
    """A message for a webhook that cannot be shown to come from the service; do nothing that it says."""


class WaitTimedOut(TurnstoneError):
    """The chat did not get there in time; it goes on without us."""


class Problem(NamedTuple):
    """A field that is wrong, and how."""

    field: str
    detail: str


class ApiError(TurnstoneError):
    """The service answered, and refused."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        said = body if isinstance(body, Mapping) else {}
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.message = str(said.get("message") or f"The service answered {status}.")
        self.detail = str(said.get("detail") or "")
        self.validations = _problems(said.get("validations"))
        self.request_id = str(self.headers.get("x-request-id") or "")
        self.retry_after = _seconds(str(self.headers.get("retry-after") or ""))
        super().__init__(self.message)

    def __str__(self) -> str:
        words = [self.message, self.detail, *(f"{each.field}: {each.detail}" for each in self.validations)]
        return " ".join(" ".join(words).split()) + f" ({self.status})"


class BadRequest(ApiError):
    """400: something in the request is wrong; `validations` may say which fields."""


class Unauthenticated(ApiError):
    """401: the token is missing, wrong, or no longer valid."""


class Forbidden(ApiError):
    """403: this caller may not do that."""


class NotFound(ApiError):
    """404: there is no such thing, or not for this caller."""


class Conflict(ApiError):
    """409: not in the state that it is in now."""


class UsageLimitExceeded(Conflict):
    """409: the caller's spend limit is used up until `resets_at`."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body, headers)
        self.spent_micros = int(body.get("spent_micros") or 0)
        self.limit_micros = int(body.get("limit_micros") or 0)
        self.resets_at = datetime.fromisoformat(body["resets_at"])


class Gone(ApiError):
    """410: this route is no more."""


class PreconditionFailed(ApiError):
    """412: somebody else changed it meanwhile, or something it needs is missing."""


class TooLarge(ApiError):
    """413: the body is too large."""


class Unprocessable(ApiError):
    """422: the idempotency key belongs to another request, or a field is out of its range."""


class RateLimited(ApiError):
    """429: too many requests; `retry_after` says in how many seconds the next may pass."""


class QueueFull(RateLimited):
    """429: too many messages wait in this chat; a turn must end first, or one be deleted."""


class ServerError(ApiError):
    """5xx: the service failed; `request_id` finds it in its log."""


class Unavailable(ServerError):
    """502, 503, 504: the service, or what it needs, is away."""


BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: TooLarge,
    422: Unprocessable,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refusal(status: int, body: Any, headers: Mapping[str, str]) -> ApiError:
    """The exception for an answer that is no success."""
    kind = BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    said = body if isinstance(body, Mapping) else {}
    if kind is Conflict and _is_moment(said.get("resets_at")):
        kind = UsageLimitExceeded
    if kind is RateLimited and said.get("message") == QUEUE_FULL:
        kind = QueueFull
    return kind(status, body, headers)


def _problems(given: Any) -> tuple[Problem, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        return ()
    return tuple(
        Problem(str(each.get("field", "")), str(each.get("detail", ""))) for each in given if isinstance(each, Mapping)
    )


def _is_moment(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text) is not None
    except (TypeError, ValueError):
        return False


def _seconds(text: str) -> float | None:
    """What Retry-After says, in seconds from now."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
