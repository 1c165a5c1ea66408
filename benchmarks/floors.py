"""The machine's floor: the same provider, asked by a client with nothing in between."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.chats import text
from benchmarks.figures import percentile
from benchmarks.wire import Connection, Events, request

Send = Callable[[str], bytes]
LEAST_STEADY = 0.5  # seconds


@dataclass
class Streamed:
    """What a client saw of one answer."""

    sent_at: float
    parts: list[tuple[float, str]] = field(default_factory=list)
    ended_at: float = 0.0


def asking(url: str) -> Send:
    """How a message is put to the provider without any library."""

    def put(message: str) -> bytes:
        body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": message}]}
        return request("POST", f"{url}/chat/completions", token="sk-bench", body=body)

    return put


def begin(connection: Connection, put: Send, message: str) -> tuple[Streamed, "asyncio.Future[Any]"]:
    """Ask; the answer fills as it arrives."""
    streamed = Streamed(0.0)

    def take(payload: bytes) -> None:
        if payload != b"[DONE]":
            now = time.time()
            for choice in orjson.loads(payload)["choices"]:
                if content := choice["delta"].get("content"):
                    streamed.parts.append((now, content))

    sending = put(message)
    streamed.sent_at = time.time()
    return streamed, connection.send(sending, Events(take))


async def ask(connection: Connection, put: Send, message: str) -> Streamed:
    """One answer, whole."""
    streamed, answer = begin(connection, put, message)
    await answer
    streamed.ended_at = time.time()
    return streamed


class Raw:
    """The floor without any library."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._put = asking(url)

    async def first_token(self, count: int) -> list[float]:
        """Seconds from request to first delta, one after another on a warm connection."""
        connection = await Connection.open(self._url)
        answers = [await ask(connection, self._put, text("@fake", tokens=20)[1]) for _ in range(count)]
        connection.close()
        return [answer.parts[0][0] - answer.sent_at for answer in answers]

    async def turns(self, chats: int, seconds: float) -> tuple[float, float]:
        """Answers a second in a closed loop, and milliseconds of CPU of this process for each."""
        connections = await asyncio.gather(*(Connection.open(self._url) for _ in range(chats)))
        until = time.time() + seconds
        messages = (text("@fake", tokens=20)[1] for _ in itertools.count())

        async def loop(connection: Connection) -> int:
            count = 0
            while time.time() < until:
                await ask(connection, self._put, next(messages))
                count += 1
            connection.close()
            return count

        began, used = time.time(), time.process_time()
        count = sum(await asyncio.gather(*map(loop, connections)))
        return count / (time.time() - began), (time.process_time() - used) * 1000 / count

    async def streams(self, count: int, tokens: int, interval_ms: float) -> dict[str, float]:
        """Lag and rate of paced, stamped streams whose starts are spread over a second."""

        async def one(index: int) -> Streamed:
            await asyncio.sleep(index / count)
            connection = await Connection.open(self._url)
            message = text("@fake", tokens=tokens, interval_ms=interval_ms, stamp=True)[1]
            answer = await ask(connection, self._put, message)
            connection.close()
            return answer

        answers = await asyncio.gather(*(one(index) for index in range(count)))
        return lag_figures([(answer.sent_at, answer.parts) for answer in answers])

    async def hang_up(self, count: int) -> list[float]:
        """The times at which we hung up in the middle of paced answers."""
        times = []
        for _ in range(count):
            connection = await Connection.open(self._url)
            streamed, _ = begin(connection, self._put, text("@fake", tokens=2000, interval_ms=20)[1])
            while len(streamed.parts) < 5:  # noqa: ASYNC110 - a hot path must not signal
                await asyncio.sleep(0.002)
            times.append(time.time())
            connection.close()
            await asyncio.sleep(0.01)
        return times

    async def steps(self, count: int) -> list[float]:
        """Seconds between a request and the next, where the next is sent when the first is answered."""
        connection = await Connection.open(self._url)
        answers = [await ask(connection, self._put, text("@fake", tokens=1)[1]) for _ in range(count)]
        connection.close()
        return [after.sent_at - before.sent_at for before, after in itertools.pairwise(answers)]


def lag_figures(streams: "list[tuple[float, list[tuple[float, str]]]]") -> dict[str, float]:
    """Lag in ms, tokens, tokens a second in all and while all run.

    Of each stream is given: when it was asked for, and its pieces with their arrival.
    """
    lags = [at - float(stamp) for _, parts in streams for at, texts in parts for stamp in texts.split()]
    began = min(sent for sent, _ in streams)
    ended = max(at for _, parts in streams for at, _ in parts)
    return {
        "p50": percentile(lags, 50) * 1000,
        "p99": percentile(lags, 99) * 1000,
        "tokens": len(lags),
        "rate": len(lags) / (ended - began),
        "steady": _steady([[(at, len(texts.split())) for at, texts in parts] for _, parts in streams]),
    }


def _steady(streams: list[list[tuple[float, int]]]) -> float:
    """Tokens a second while all streams run, from the last one's first to the first one's last; 0 if they never do."""
    begins, ends = max(parts[0][0] for parts in streams), min(parts[-1][0] for parts in streams)
    if ends - begins < LEAST_STEADY:
        return 0.0
    return sum(count for parts in streams for at, count in parts if begins < at <= ends) / (ends - begins)
