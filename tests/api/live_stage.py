"""A stage for live-stream tests: two API processes with real servers on one database, and clients for them."""

import asyncio
import socket as socket_module
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import orjson
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from api.app import create_app
from api.heads import BoundedProtocol
from api.serve import LARGEST_FRAME, Server
from models.settings import Settings
from models.store import organizations, people
from models.store.bootstrap import bootstrap
from models.store.database import Database, fetch
from tests.api.live_drive import Drive, Screen, publishing

PREFIX = "/api/v2/chats"


class Process:
    """An API process: our server and application on a free port."""

    def __init__(self, settings: Settings, send_buffer: int = 0) -> None:
        # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named.
        self._socket = socket_module.socket(proto=socket_module.IPPROTO_TCP)
        # Kernels buffer megabytes, in which a client that does not read would go unnoticed.
        if send_buffer:
            self._socket.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_SNDBUF, send_buffer)
        self._socket.bind(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            create_app(settings),
            http=BoundedProtocol,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_max_size=LARGEST_FRAME,
            ws_ping_interval=0.2,
            ws_ping_timeout=20,
            log_config=None,
            timeout_graceful_shutdown=5,
        )
        self.server = Server(config, None)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> "Process":
        self._task = asyncio.create_task(self.server.serve([self._socket]))
        async with asyncio.timeout(60):
            while not self.server.started:
                await asyncio.sleep(0.01)
        return self

    async def stop(self) -> None:
        self.server.should_exit = True
        if self._task is not None:
            await self._task
            self._task = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"


@dataclass
class Stage:
    """Two API processes on one database, a chat, and its owner's token."""

    one: Process
    two: Process
    drive: Drive
    token: str
    organization_id: Any

    def socket(self, process: Process, path: str = "", token: str | None = None, **headers: str) -> connect:
        given = {"Coder-Session-Token": self.token if token is None else token, **headers}
        address = f"ws://{process.address}{PREFIX}" + (path or f"/{self.drive.chat_id}/stream")
        return connect(address, additional_headers=given, max_size=4 * 1024 * 1024, proxy=None, open_timeout=60)

    @asynccontextmanager
    async def sse(self, process: Process, path: str = "", **headers: str) -> AsyncIterator["Records"]:
        given = {"Coder-Session-Token": self.token, "Accept": "text/event-stream", **headers}
        address = f"http://{process.address}{PREFIX}" + (path or f"/{self.drive.chat_id}/stream")
        async with httpx.AsyncClient(timeout=60) as client, client.stream("GET", address, headers=given) as response:
            yield Records(response)


class Records:
    """An event stream, as a browser reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def take(self) -> dict[str, Any]:
        """The next event; its type and id must be those of its data."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                fields[name] = value
            elif fields:
                event: dict[str, Any] = orjson.loads(fields["data"])
                assert fields["event"] == event.get("type", event.get("kind"))
                assert fields.get("id") == event.get("cursor")
                return event
        raise EOFError


@asynccontextmanager
async def staged(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    made = await bootstrap(settings, admin_token=None, environ={})
    async with database.read() as session:
        owner = await people.get(session, "admin")
        [model] = await fetch(session, "SELECT id FROM chat_model_configs WHERE is_default")
    quick = settings.model_copy(update={"stream_ping_interval": settings.stream_ping_interval / 100})
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(publishing(database, settings))
        one, two = await Process(quick).start(), await Process(quick).start()
        stack.push_async_callback(one.stop)
        stack.push_async_callback(two.stop)
        drive = await Drive(database, publisher, owner["id"], made.organization_id, model["id"]).create()
        assert made.admin_token is not None
        yield Stage(one, two, drive, made.admin_token, made.organization_id)


async def heard(socket: ClientConnection) -> list[dict[str, Any]]:
    """The events of the next message."""
    async with asyncio.timeout(60):
        message = await socket.recv()
    assert isinstance(message, str)
    assert message.endswith("]\n")
    events: list[dict[str, Any]] = orjson.loads(message)
    assert 1 <= len(events) <= 256
    return events


async def show_until(screen: Screen, take: Callable[[], Any], done: Callable[[Screen], bool]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not done(screen):
            events = await take()
            told += events if isinstance(events, list) else [events]
            screen.show(events if isinstance(events, list) else [events])
    return told


async def people_beside(stage: Stage) -> tuple[Any, Any, dict[Any, str]]:
    """A stranger and a friend, both allowed to chat, with their tokens."""
    tokens = {}
    async with stage.drive.database.begin() as session:
        for name in ("stranger", "friend"):
            user = await people.create(session, username=name, email=f"{name}@example.com", roles=())
            await organizations.add(session, stage.organization_id, user, ("agents-access",))
            _, token = await people.create_token(session, user, kind="token", lifetime=timedelta(hours=1), scopes=())
            tokens[user] = token
    stranger, friend = tokens
    return stranger, friend, tokens


async def last_read(stage: Stage) -> int | None:
    async with stage.drive.database.read() as session:
        [row] = await fetch(
            session, "SELECT last_read_message_id AS id FROM chats WHERE id = %(id)s", {"id": stage.drive.chat_id}
        )
    found: int | None = row["id"]
    return found
