"""How one thing is asked: a request, its key, and repeating it until it is answered without doing it twice."""

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from turnstone.client.errors import (
    ApiError,
    ConnectionFailed,
    InvalidId,
    QueueFull,
    RateLimited,
    TurnstoneError,
    Unavailable,
    UnexpectedAnswer,
    refusal,
)
from turnstone.client.steps import Answer, Lost, Program, Request, Send, Sleep

CHATS = "/api/v2/chats"
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
STILL_RUNNING = "A request with this Idempotency-Key is still running."
KEYED = frozenset({"POST", "PATCH"})


@dataclass
class Service:
    """The service as one caller sees it, and how patient that caller is. Times are seconds."""

    url: str
    token: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    patience: float = 60.0
    first_patience: float = 5.0
    silence: float = 50.0
    user_agent: str = "turnstone-python"
    has_answered: bool = field(default=False, repr=False)
    organization_id: str | None = None

    def headers(self) -> dict[str, str]:
        """What every request carries."""
        headers = {"User-Agent": self.user_agent}
        if self.token:
            headers["Coder-Session-Token"] = self.token
        return headers

    def unreachable(self, lost: Lost) -> ConnectionFailed:
        """The exception for an answer that did not come."""
        return ConnectionFailed(self.url, lost.reason, is_timeout=lost.is_timeout)


class Pauses:
    """How long to wait before each repetition: doubling, a little at random so that many do not come as one."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def next(self, asked: float | None = None) -> float:
        """Seconds to wait now; what the service asked for counts more."""
        pause = self._next
        self._next = min(pause * 2, LONGEST_PAUSE)
        return max(asked or 0.0, pause) + random.uniform(0, pause / 4)

    def restart(self) -> None:
        """It went well: the next failure is a first one."""
        self._next = FIRST_PAUSE


def ask(service: Service, request: Request) -> Program[Answer]:
    """The answer to a request, done once however often it had to be sent; raises ApiError, ConnectionFailed."""
    request = keyed(request)
    pauses, began = Pauses(), time.monotonic()
    while True:
        failure: TurnstoneError
        asked: float | None = None
        patience = max(service.patience, request.slow)
        try:
            answer: Answer = yield Send(request, max(service.timeout, request.slow))
        except Lost as lost:
            failure = service.unreachable(lost)
            failure.__cause__ = lost
            if not service.has_answered:
                patience = min(patience, service.first_patience)
        else:
            if answer.is_success:
                service.has_answered = True
                return answer
            failure = refused(answer)
            if not passes(failure):
                service.has_answered = True
                raise failure
            asked = failure.retry_after
        pause = pauses.next(asked)
        if time.monotonic() - began + pause > patience:
            raise failure
        yield Sleep(pause)


def keyed(request: Request) -> Request:
    """The request under a key of its own, where repeating it could do it twice."""
    if request.method not in KEYED or "Idempotency-Key" in request.headers:
        return request
    headers = {**request.headers, "Idempotency-Key": str(uuid4())}
    return request._replace(headers=headers)


def under(key: str | None) -> dict[str, str]:
    """The headers of a request that its caller may repeat under this key."""
    return {} if key is None else {"Idempotency-Key": key}


def passes(failure: ApiError) -> bool:
    """Whether the same request may yet be answered: the service was away, or is at an earlier sending of it."""
    if isinstance(failure, RateLimited):
        return not isinstance(failure, QueueFull)
    return isinstance(failure, Unavailable) or (failure.status == 409 and failure.message == STILL_RUNNING)


def refused(answer: Answer) -> ApiError:
    """The exception for an answer that is no success."""
    try:
        body = json.loads(answer.content) if answer.content else None
    except ValueError:
        body = None
    return refusal(answer.status, body, answer.headers)


def fetched(service: Service, request: Request) -> Program[Any]:
    """The JSON of the answer, None if it has none; raises ApiError, ConnectionFailed, UnexpectedAnswer."""
    return spoken(service, (yield from ask(service, request)))


def spoken(service: Service, answer: Answer) -> Any:
    """The JSON of an answer, None if it has none; raises UnexpectedAnswer."""
    if not answer.content:
        return None
    try:
        return json.loads(answer.content)
    except ValueError:
        begins = answer.content[:80].decode(errors="replace")
        raise UnexpectedAnswer(f"{service.url} does not speak like Turnstone: {begins!r}") from None


def query(**given: Any) -> list[tuple[str, str]]:
    """Query parameters out of what is not None; a list repeats its parameter."""
    pairs: list[tuple[str, str]] = []
    for name, value in given.items():
        if value is None:
            continue
        each = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, str(one)) for one in each]
    return pairs


def given(**fields: Any) -> dict[str, Any]:
    """The fields of a body that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def path(*words: object) -> str:
    """A path below the chats; ids cannot leave it."""
    return "/".join([CHATS, *(word(each) for each in words)])


def word(value: object) -> str:
    """One segment of a path; raises InvalidId for what would be none."""
    text = str(value)
    if text in ("", ".", ".."):
        raise InvalidId(f"{text!r} is not an id")
    return quote(text, safe="")


def pairs(labels: Mapping[str, str] | None) -> list[str] | None:
    """Labels to filter by, as the list route takes them."""
    return [f"{key}:{value}" for key, value in labels.items()] if labels else None
