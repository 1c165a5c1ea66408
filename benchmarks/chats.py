"""A client of the service for measuring: chats with a live subscription, and what is seen of each turn, with times."""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import orjson

from benchmarks.wire import Answer, Connection, Events, request

CHATS = "/api/experimental/chats"
PATIENCE = 90.0
AT_ONCE = 8

_tags = itertools.count(1)
_run = uuid4().hex[:8]


class Refused(Exception):
    """The service answered something else than 2xx."""


@dataclass
class Turn:
    """What a client saw of one turn; times are of the machine's wall clock, which the provider shares."""

    tag: str
    answers: int
    sent_at: float = 0.0
    answered_at: float = 0.0
    parts: list[tuple[float, str]] = field(default_factory=list)
    ended_at: float = 0.0
    resets: int = 0
    reset_at: float = 0.0
    retries: int = 0
    unstreamed: bool = False
    wrong: str = ""
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def first_token(self) -> float:
        """Seconds from the request to the first delta."""
        return self.parts[0][0] - self.sent_at

    def lags(self) -> list[float]:
        """Seconds between the provider's sending and our receiving, of every stamped token."""
        return [at - float(stamp) for at, text in self.parts for stamp in text.split()]

    async def heard(self, count: int) -> None:
        """Return when so many parts have arrived."""
        async with asyncio.timeout(PATIENCE):
            while len(self.parts) < count and not self.done.is_set():  # noqa: ASYNC110 - a hot path must not signal
                await asyncio.sleep(0.002)
        if len(self.parts) < count:
            raise Refused(f"turn {self.tag} ended early: {self.wrong or 'done'}")

    async def end(self, patience: float = PATIENCE) -> Self:
        """Return when the turn is over; raises where it failed."""
        async with asyncio.timeout(patience):
            await self.done.wait()
        if self.wrong:
            raise Refused(f"turn {self.tag}: {self.wrong}")
        return self


class Service:
    """The API as one caller sees it, with one model of the fake provider."""

    def __init__(self, url: str, token: str, organization_id: str) -> None:
        self.url = url
        self.token = token
        self.organization_id = organization_id
        self.model_config_id = ""
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request outside any measurement."""
        async with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = await Connection.open(self.url)
            answer = await self._connection.send(self.bytes(method, path, body))
        return checked(answer, f"{method} {path}")

    def bytes(self, method: str, path: str, body: Any = None, accept: str = "application/json") -> bytes:
        """The bytes of a request."""
        return request(method, self.url + path, token=self.token, body=body, headers={"accept": accept})

    async def add_model(self, provider_url: str) -> None:
        """Make the fake provider and a model of it known."""
        name = f"bench-{uuid4().hex[:8]}"
        provider = await self.call(
            "POST",
            "/api/v2/ai/providers",
            {
                "type": "openai-compat",
                "name": name,
                "enabled": True,
                "base_url": provider_url,
                "api_keys": ["sk-bench"],
            },
        )
        model = {"ai_provider_id": provider["id"], "model": name, "context_limit": 1_000_000, "is_default": True}
        self.model_config_id = (await self.call("POST", f"{CHATS}/model-configs", model))["id"]

    async def chats(self, count: int) -> "list[Chat]":
        """So many warm, idle, watched chats."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> Chat:
            async with gate:
                return await Chat.open(self)

        opened = await asyncio.gather(*(one() for _ in range(count)))
        for chat in opened:
            await chat.ready()
        return opened


class Chat:
    """One chat: a connection for requests, another for its live events."""

    def __init__(self, service: Service, chat_id: str) -> None:
        self.id = chat_id
        self._service = service
        self._asking: Connection | None = None
        self._watching: Connection | None = None
        self._turn: Turn | None = None
        self._newest = 0
        self._status = ""
        self._rested = asyncio.Event()

    @classmethod
    async def open(cls, service: Service) -> Self:
        """Create a chat, let its first turn pass, and subscribe."""
        body = {
            "organization_id": service.organization_id,
            "model_config_id": service.model_config_id,
            "content": [{"type": "text", "text": text("@fake", tokens=1)[1]}],
        }
        made = await service.call("POST", CHATS, body)
        return await cls.join(service, made["id"])

    @classmethod
    async def join(cls, service: Service, chat_id: str) -> Self:
        """Subscribe to a chat that has an answer, or will; returns when it rests."""
        chat = cls(service, chat_id)
        chat._asking = await Connection.open(service.url)
        chat._watching = await Connection.open(service.url)
        chat._watching.send(
            service.bytes("GET", f"{CHATS}/{chat.id}/stream", accept="text/event-stream"), Events(chat._take)
        )
        async with asyncio.timeout(PATIENCE):
            await chat._rested.wait()
        return chat

    async def ready(self) -> None:
        """Connect again, if the service has hung up on a connection that asked nothing for half a minute."""
        if self._asking is None or self._asking.closed:
            self._asking = await Connection.open(self._service.url)

    def close(self) -> None:
        """Leave."""
        for connection in (self._asking, self._watching):
            if connection is not None:
                connection.close()

    def begin(self, kind: str, *, answers: int = 1, **directive: Any) -> Turn:
        """Send a message; the turn fills as things are seen of it."""
        assert self._asking is not None
        tag, message = text(kind, **directive)
        sending = self._service.bytes(
            "POST", f"{CHATS}/{self.id}/messages", {"content": [{"type": "text", "text": message}]}
        )
        turn = self._turn = Turn(tag, answers)
        turn.sent_at = time.time()
        self._asking.send(sending).add_done_callback(lambda answer: _answered(turn, answer))
        return turn

    async def turn(self, kind: str = "@fake", *, answers: int = 1, **directive: Any) -> Turn:
        """One turn, whole."""
        return await self.begin(kind, answers=answers, **directive).end()

    async def interrupt(self) -> float:
        """Interrupt the turn; the time at which the request left."""
        assert self._asking is not None
        sending = self._service.bytes("POST", f"{CHATS}/{self.id}/interrupt")
        at = time.time()
        checked(await self._asking.send(sending), "interrupt")
        return at

    def _take(self, payload: bytes) -> None:
        now = time.time()
        event = orjson.loads(payload)
        kind, turn = event["type"], self._turn
        if kind == "message_part":
            part = event["message_part"]["part"]
            if turn is not None and part["type"] == "text":
                turn.parts.append((now, part["text"]))
        elif kind == "message":
            self._message(event["message"], now)
        elif kind == "status":
            self._status = event["status"]["status"]
            if self._status == "waiting" and self._newest:
                self._rested.set()
        elif turn is not None:
            _note(turn, kind, event, now)

    def _message(self, message: dict[str, Any], now: float) -> None:
        if message["role"] != "assistant" or message["id"] <= self._newest:
            return
        self._newest = message["id"]
        if self._status == "waiting":  # of the snapshot: the status comes first there
            self._rested.set()
        if (turn := self._turn) is not None:
            if not turn.parts:  # a short answer may be stored before any part of it was sent
                whole = "".join(part["text"] for part in message.get("content", ()) if part["type"] == "text")
                turn.parts.append((now, whole))
                turn.unstreamed = True
            turn.answers -= 1
            if turn.answers == 0:
                turn.ended_at = now
                turn.done.set()


def _note(turn: Turn, kind: str, event: dict[str, Any], now: float) -> None:
    if kind == "preview_reset":
        turn.resets += 1
        turn.reset_at = now
    elif kind == "retry":
        turn.retries += 1
    elif kind == "error":
        turn.wrong = json.dumps(event["error"])
        turn.ended_at = now
        turn.done.set()


def _answered(turn: Turn, answer: "asyncio.Future[Answer]") -> None:
    turn.answered_at = time.time()
    try:
        if not checked(answer.result(), "send").get("queued"):
            return
        turn.wrong = "the message was queued: the turn before it had not ended"
    except Exception as error:  # told to whoever waits for the turn
        turn.wrong = str(error) or type(error).__name__
    turn.done.set()


def text(kind: str, **directive: Any) -> tuple[str, str]:
    """A tag of its own and a message that carries it: `@fake` with values, or `@steps` with `n`."""
    tag = f"{_run}-{next(_tags)}"
    values = str(directive["n"]) if kind == "@steps" else json.dumps(directive)
    return tag, f"turn {tag} {kind} {values}"


def checked(answer: Answer, what: str) -> Any:
    """The JSON of a 2xx answer."""
    if not 200 <= answer.status < 300:
        raise Refused(f"{what}: {answer.status} {answer.body[:500].decode(errors='replace')}")
    return answer.json()


async def all_of(waiting: Iterable[Awaitable[Any]]) -> list[Any]:
    """The results of many, in order; the first failure fails all."""
    return list(await asyncio.gather(*waiting))
