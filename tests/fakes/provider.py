"""A model provider over HTTP for tests, benchmarks and by-hand use: streams on command, refuses what real ones refuse.

`…/chat/completions` speaks OpenAI, `…/v1/messages` Anthropic, `…:streamGenerateContent` Gemini, `…/converse-stream`
Bedrock. What it answers is, in this order: the next behaviour of
`script(…)`; `@fake {"tokens": 100, "interval_ms": 20}` in the last user message (`behaviour.Behaviour`); eight tokens.
As a process: `python -m tests.fakes.provider --port 9000`; it prints the address it listens on.
"""

import argparse
import asyncio
import contextlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.fakes import foreign, refusals, wire
from tests.fakes.behaviour import Behaviour, directed, filled

STYLES = (
    ("/chat/completions", "openai"),
    ("/v1/messages", "anthropic"),
    (":streamGenerateContent", "google"),
    ("/converse-stream", "bedrock"),
)
REFUSALS = {
    "openai": refusals.openai,
    "anthropic": refusals.anthropic,
    "google": foreign.google_refuses,
    "bedrock": foreign.bedrock_refuses,
}
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass
class Received:
    """One request, and what became of its answer."""

    path: str
    headers: dict[str, str]
    body: Any
    at: float = field(default_factory=time.time)
    tokens_sent: int = 0
    finished: bool = False
    closed_by_client_at: float | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class FakeProvider:
    """The server; `async with FakeProvider() as fake:` listens on a free local port."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self._port = port
        self._queue: deque[Behaviour] = deque()
        self._seen: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def connections(self) -> int:
        """Connections that clients hold open now."""
        return len(self._connections)

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        """The base URL of an OpenAI-compatible provider."""
        return f"{self.root_url}/v1"

    def script(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so, in order."""
        self._queue.extend(behaviours)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.hang_up()
        await asyncio.sleep(0)
        await self._server.wait_closed()

    def choose(self, style: str, body: Any) -> Behaviour:
        """The behaviour for a sound request."""
        if self._queue:
            return self._queue.popleft()
        messages = foreign.messages(style, body) if style in ("google", "bedrock") else body["messages"]
        chosen, text = directed(messages)
        if chosen is None:
            return Behaviour()
        chosen = filled(chosen, messages)
        self._seen[text] += 1
        if chosen.times and self._seen[text] > chosen.times:
            return chosen.after_failures()
        return chosen


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection: keep-alive, bodies by length, answers in chunks."""

    def __init__(self, fake: FakeProvider) -> None:
        self._fake = fake
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._current: Received | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._fake._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fake._connections.discard(self)
        if self._current is not None and not self._current.finished:
            self._current.closed_by_client_at = time.time()
            self._current.ended.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None or self._task.done():
            self._next_request()

    def _next_request(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = int(headers.get("content-length", "0"))
        if len(self._buffer) < end + 4 + size:
            return
        raw = bytes(self._buffer[end + 4 : end + 4 + size])
        del self._buffer[: end + 4 + size]
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        received = Received(lines[0].split(" ")[1].split("?")[0], headers, body)
        self._fake.received.append(received)
        self._current = received
        self._task = asyncio.get_running_loop().create_task(self._answer(received))

    async def _answer(self, received: Received) -> None:
        style = next((style for ending, style in STYLES if received.path.endswith(ending)), None)
        if style is None:
            self._respond(404, wire.error_body("openai", "invalid_request_error", "", f"Unknown URL {received.path}"))
        else:
            if refusal := REFUSALS[style](received.headers, received.body):
                status, kind, code, message = refusal
                self._respond(status, wire.error_body(style, kind, code, message))
            else:
                await self._behave(style, received)
        received.finished = True
        received.ended.set()
        if self._transport is not None and not self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self._next_request)

    def _respond(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        assert self._transport is not None
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._transport.write(
            f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{extra}\r\n".encode()
            + body
        )

    async def _behave(self, style: str, received: Received) -> None:
        behaviour = self._fake.choose(style, received.body)
        if behaviour.slow_first_byte_ms:
            await asyncio.sleep(behaviour.slow_first_byte_ms / 1000)
        if behaviour.status != 200:
            headers = dict(behaviour.headers)
            if behaviour.retry_after:
                headers["retry-after"] = behaviour.retry_after
            message = behaviour.message or f"The fake was told to answer {behaviour.status}."
            body = behaviour.body.encode() or wire.error_body(style, behaviour.error_type, behaviour.code, message)
            self._respond(behaviour.status, body, headers)
            return
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        if behaviour.slow_first_token_ms:
            await self._wait(behaviour, behaviour.slow_first_token_ms / 1000)
        if not behaviour.empty_body and not await self._stream(style, behaviour, received):
            self._transport.close()
            return
        self._transport.write(b"0\r\n\r\n")

    def _events(self, style: str, behaviour: Behaviour, received: Received) -> Iterator[wire.Event]:
        answer_id = f"answer-{len(self._fake.received)}"
        if style == "google":
            return foreign.google(behaviour, answer_id)
        if style == "bedrock":
            return foreign.bedrock(behaviour)
        model = received.body["model"]
        if style == "anthropic":
            return wire.anthropic(behaviour, model, answer_id)
        wanted = bool((received.body.get("stream_options") or {}).get("include_usage"))
        return wire.openai(behaviour, model, answer_id, wanted)

    async def _stream(self, style: str, behaviour: Behaviour, received: Received) -> bool:
        """Send the events; False when the connection is to be cut."""
        clock = asyncio.get_running_loop().time
        due = clock()
        interval = behaviour.interval_ms / 1000
        if behaviour.raw:
            self._write(behaviour.raw.encode(), behaviour.split)
            return True
        events = self._events(style, behaviour, received)
        if behaviour.packed:
            self._write(b"".join(event.data for event in events), behaviour.split)
            return True
        for event in events:
            if event.kind == wire.CUT:
                return False
            if event.kind == wire.COUNTED:
                if received.tokens_sent == behaviour.cut_after:
                    return False
                if received.tokens_sent == behaviour.malformed_after:
                    self._write(b'data: {"id": "broken", "choices": [{"delta": {"cont\n\n')
                    return True
                if received.tokens_sent == behaviour.error_after:
                    error = (
                        foreign.throttled(behaviour.message)
                        if style == "bedrock"
                        else wire.error_event(style, behaviour)
                    )
                    self._write(error)
                    return True
                if received.tokens_sent == behaviour.silence_after:
                    await self._wait(behaviour, 3600)
                received.tokens_sent += 1
            self._write(event.data, behaviour.split)
            if not self._writable.is_set():
                await self._writable.wait()
            if interval and event.kind == wire.COUNTED:
                due += interval
                await asyncio.sleep(max(due - clock(), 0))
        return True

    async def _wait(self, behaviour: Behaviour, seconds: float) -> None:
        pause = behaviour.ping_every_ms / 1000 or seconds
        while seconds > 0:
            await asyncio.sleep(min(pause, seconds))
            seconds -= pause
            if behaviour.ping_every_ms:
                self._write(b": ping\n\n")

    def _write(self, data: bytes, split: int = 0) -> None:
        assert self._transport is not None
        for start in range(0, len(data), split or len(data)):
            piece = data[start : start + (split or len(data))]
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))


async def _serve(port: int, say: Callable[[str], None]) -> None:
    async with FakeProvider(port) as fake:
        say(fake.openai_url)
        await asyncio.Event().wait()


def main() -> None:
    """Run the fake until it is stopped."""
    parser = argparse.ArgumentParser(description="A fake model provider: OpenAI and Anthropic over HTTP.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.port, lambda line: print(line, flush=True)))


if __name__ == "__main__":
    main()
