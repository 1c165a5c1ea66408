"""One HTTP client: the error envelope as a sentence, and sends that are repeated but never doubled."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from turnstone.cli.connection import Failed, Target

CHATS = "/api/v2/chats"
PATIENCE = 60.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# The server may be starting, stopping or behind a proxy that lost it: the same request may yet be answered.
PASSING = frozenset({502, 503, 504})


class Refused(Failed):
    """The API said no; carries the status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Failed):
    """No answer came, for as long as we had patience."""


class Api:
    """The API as one caller; `async with Api(target) as api:`."""

    def __init__(self, target: Target, *, patience: float = PATIENCE) -> None:
        self.target = target
        self.patience = patience
        headers = {"User-Agent": "turnstone-cli"}
        if target.token:
            headers["Coder-Session-Token"] = target.token
        self.http = httpx.AsyncClient(base_url=target.url, headers=headers, timeout=httpx.Timeout(30, connect=5))
        self._answered = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON answer of a GET; raises Refused, Unreachable."""
        return await self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of a POST, done once however often it had to be sent; raises Refused, Unreachable."""
        return await self._ask("POST", path, json=body, headers={"Idempotency-Key": str(uuid4())})

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        deadline, pause = time.monotonic() + self.patience, FIRST_PAUSE
        while True:
            try:
                answer = await self.http.request(method, path, **request)
            except httpx.TransportError as lost:
                # A service that never answered is not there; one that did is being restarted.
                if not self._answered or time.monotonic() + pause > deadline:
                    raise self.unreachable(lost) from lost
            else:
                repeated = pause > FIRST_PAUSE
                if not (answer.status_code in PASSING or (repeated and _is_still_running(answer))):
                    self._answered = True
                    return self.read(answer)
                if time.monotonic() + pause > deadline:
                    return self.read(answer)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def read(self, answer: httpx.Response) -> Any:
        """The content of an answer; raises Refused for anything but success."""
        try:
            content = answer.json() if answer.content else None
        except ValueError:
            content = None
            if answer.is_success:
                raise Failed(f"{self.target.url} does not speak like Turnstone: {answer.text[:80]!r}") from None
        if answer.is_success:
            return content
        raise Refused(answer.status_code, self._sentence(answer.status_code, content))

    def unreachable(self, reason: Exception) -> Unreachable:
        """What to say, and what to do, when nobody answers."""
        what = "it does not answer" if isinstance(reason, httpx.TimeoutException) else "nobody answers there"
        remedy = (
            "check --url (TURNSTONE_URL)"
            if self.target.is_given
            else "start one with `turnstone dev`, or say with --url (TURNSTONE_URL) where it is"
        )
        return Unreachable(f"cannot reach Turnstone at {self.target.url}: {what}; {remedy}")

    def _sentence(self, status: int, content: Any) -> str:
        said = content if isinstance(content, dict) else {}
        words = [str(said.get("message") or f"{self.target.url} answered {status}.")]
        if said.get("detail") and status < 500:
            words.append(str(said["detail"]))
        words += [f"{each.get('field')}: {each.get('detail')}" for each in said.get("validations") or ()]
        if status == 401:
            token = "is not valid there" if self.target.token else "is missing"
            words.append(f"(The token {token}: give --token or TURNSTONE_TOKEN.)")
        if status >= 500 and said.get("detail"):
            words.append(f"({said['detail']})")
        return " ".join(" ".join(words).split())


def _is_still_running(answer: httpx.Response) -> bool:
    """Whether the server is still busy with our own earlier sending of this request."""
    return answer.status_code == 409 and "dempotency" in answer.text
