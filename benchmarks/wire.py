"""The cheapest client we can write, so that a figure is the server's and not the client's."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

Sink = Callable[[bytes], None]

HEAD, LENGTH, SIZE, CHUNK, CLOSED = range(5)


@dataclass(frozen=True)
class Answer:
    """What a server said; the body is empty where a sink took it."""

    status: int
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body) if self.body else None


class Broken(Exception):
    """The connection ended before the answer did."""


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._state = HEAD
        self._left = 0
        self._status = 0
        self._body = bytearray()
        self._sink: Sink | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect to the host and port of a URL."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        _, connection = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return connection

    def send(self, request: bytes, sink: Sink | None = None) -> asyncio.Future[Answer]:
        """Write a request; the future is its answer. A sink gets the pieces of a successful body as they arrive."""
        assert self._transport is not None
        if self._transport.is_closing():
            raise Broken("the connection is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._sink = sink
        self._transport.write(request)
        return self._answer

    @property
    def closed(self) -> bool:
        """Whether either side hung up."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            if self._sink is not None or self._state == HEAD:
                self._answer.set_exception(Broken(str(exc) or "closed"))
                self._answer.exception()  # whoever hung up on purpose does not ask for it
            else:
                self._finish()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and self._step():
            pass

    def _step(self) -> bool:
        """Consume what is whole; False when more is needed."""
        if self._state == HEAD:
            return self._head()
        if self._state == SIZE:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            self._left = int(bytes(self._buffer[:end]).partition(b";")[0], 16) + 2  # the data's own line end
            del self._buffer[: end + 2]
            self._state = CHUNK
            return True
        if self._state == CHUNK:
            if len(self._buffer) < self._left:
                return False
            piece = bytes(self._buffer[: self._left - 2])
            del self._buffer[: self._left]
            self._state = SIZE
            if piece:
                self._deliver(piece)
            else:
                self._finish()
            return True
        piece = bytes(self._buffer[: self._left]) if self._state == LENGTH else bytes(self._buffer)
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        self._deliver(piece)
        if self._state == LENGTH and self._left == 0:
            self._finish()
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self._status = int(first.split(b" ")[1])
        self._body.clear()
        if self._status >= 300:
            self._sink = None
        if headers.get(b"transfer-encoding") == b"chunked":
            self._state = SIZE
        elif b"content-length" in headers or self._status == 204:
            self._state, self._left = LENGTH, int(headers.get(b"content-length", b"0"))
            if self._left == 0:
                self._finish()
        else:
            self._state = CLOSED
        return True

    def _deliver(self, piece: bytes) -> None:
        if self._sink is not None:
            self._sink(piece)
        else:
            self._body += piece

    def _finish(self) -> None:
        self._state = HEAD
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._status, bytes(self._body)))


class Events:
    """A sink that cuts server-sent events and hands over the payload of each."""

    def __init__(self, take: Sink) -> None:
        self._take = take
        self._rest = b""

    def __call__(self, piece: bytes) -> None:
        *whole, self._rest = (self._rest + piece).split(b"\n\n")
        for event in whole:
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    self._take(line[6:])


def request(
    method: str, url: str, *, token: str = "", body: Any = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a request; `body` is sent as JSON."""
    parts = urlsplit(url)
    content = b"" if body is None else json.dumps(body).encode()
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}"]
    if token:
        lines.append(f"authorization: Bearer {token}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
