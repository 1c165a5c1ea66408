"""A crowd of live-stream clients in a process of its own, each as cheap as a connection can be.

A client is one protocol object: it answers pings, counts what it is sent, and notes when a marked event arrives.
Several source addresses are used, so that the ports of one do not bound the crowd.
"""

import asyncio
import re
import resource
import socket
import time
from collections.abc import Sequence
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.lines import serve

CHATS = "/api/experimental/chats"
MARK = re.compile(rb"mark-(\d+)-")
A_SOURCE = 5000  # connections from one address
PATIENCE = 400.0
PING, CLOSE = 0x89, 0x88


class Client(asyncio.Protocol):
    """One watcher of one chat; `kind` is `websocket` or `sse`."""

    __slots__ = ("_head", "_rest", "_transport", "crowd", "kind", "served")
    UPGRADE: ClassVar[bytes] = (
        b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )

    def __init__(self, crowd: "Crowd", kind: str) -> None:
        self.crowd = crowd
        self.kind = kind
        self.served = asyncio.get_running_loop().create_future()  # done with the first event, or a refusal
        self._rest = b""
        self._head = True
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, host: str, path: str, token: str) -> None:
        """Send the request."""
        assert self._transport is not None
        how = self.UPGRADE if self.kind == "websocket" else b"accept: text/event-stream\r\n"
        head = f"GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n"
        self._transport.write(head.encode() + how + b"\r\n")

    def close(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.lost()
        self._served()

    def data_received(self, data: bytes) -> None:
        self.crowd.received += len(data)
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._head:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                return
            if data[9:12] not in (b"101", b"200"):
                self.crowd.refused += 1
                self._served()
            self._head = False
            data = data[end + 4 :]
        if not data:
            return
        if self.kind == "websocket":
            self._frames(data)
        elif b"data: " in data:
            self._heard(data)

    def _heard(self, data: bytes) -> None:
        self.crowd.heard(data)
        self._served()

    def _served(self) -> None:
        if not self.served.done():
            self.served.set_result(None)

    def _frames(self, data: bytes) -> None:
        while len(data) >= 2:
            start, size = 2, data[1]
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(data[2:start], "big")
            if len(data) < start + size:
                break
            payload = data[start : start + size]
            if data[0] == PING and self._transport is not None:
                self._transport.write(b"\x8a%c\0\0\0\0%s" % (0x80 | size, payload))  # masked with zeros
            elif data[0] != CLOSE:
                self._heard(payload)
            data = data[start + size :]
        self._rest = data


class Crowd:
    """All clients of this process."""

    def __init__(self) -> None:
        self.received = 0
        self.refused = 0
        self._lost = 0
        self._marks: dict[int, float] = {}
        self._clients: list[Client] = []

    async def answer(self, request: dict[str, Any]) -> Any:
        """`open`, `marks` or `close`."""
        match request.pop("do"):
            case "open":
                return await self._open(**request)
            case "marks":
                return await self._seen(**request)
            case "close":
                return await self._close()
        raise ValueError("unknown request")

    def heard(self, data: bytes) -> None:
        """Something was told to a client."""
        now = time.time()
        for found in MARK.findall(data):
            self._marks.setdefault(int(found), now)

    def lost(self) -> None:
        """A connection ended."""
        self._lost += 1

    async def _open(self, kind: str, url: str, token: str, chats: Sequence[str], at_once: int) -> dict[str, float]:
        """Connect one client to each chat; returns once each has its snapshot."""
        parts = urlsplit(url)
        assert parts.port is not None
        host, port = str(parts.hostname), parts.port
        gate = asyncio.Semaphore(at_once)
        loop = asyncio.get_running_loop()

        async def one(place: int, chat: str) -> None:
            async with gate:
                pipe = socket.socket()
                pipe.setblocking(False)
                if host.startswith("127."):
                    pipe.bind((f"127.0.0.{2 + place // A_SOURCE}", 0))
                await loop.sock_connect(pipe, (host, port))
                _, client = await loop.create_connection(lambda: Client(self, kind), sock=pipe)
                self._clients.append(client)
                client.ask(parts.netloc, f"{CHATS}/{chat}/stream", token)
                await client.served

        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(one(place, chat) for place, chat in enumerate(chats)))
        return {"seconds": time.monotonic() - began, "refused": self.refused, "lost": self._lost}

    async def _seen(self, wanted: Sequence[int]) -> dict[str, Any]:
        """When these marks arrived; waits a little for those that have not."""
        deadline = time.monotonic() + 5
        while not self._marks.keys() >= set(wanted) and time.monotonic() < deadline:  # noqa: ASYNC110 - a hot path
            await asyncio.sleep(0.01)
        return {
            "at": {mark: self._marks[mark] for mark in wanted if mark in self._marks},
            "lost": self._lost,
            "refused": self.refused,
            "received": self.received,
        }

    async def _close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()
        await asyncio.sleep(0.1)
        self._lost = self.refused = self.received = 0


async def _main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd()
    await serve(crowd.answer, {"files": most})


if __name__ == "__main__":
    uvloop.run(_main())
