"""Laws of `/stream` and `/watch` on the wire: real servers, real WebSocket and SSE clients, two API processes."""

import asyncio
import socket as socket_module
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.app import create_app
from api.live.websocket import arrays
from api.serve import Server
from models.events import Event, WatchEvent
from models.settings import Settings
from models.store import organizations, people
from models.store.bootstrap import bootstrap
from models.store.database import Database, fetch
from models.store.moves import StepRow
from tests.api.live_drive import CALL, STORY, Drive, Screen, publishing

PREFIX = "/api/v2/chats"


class Process:
    """An API process: our server and application on a free port."""

    def __init__(self, settings: Settings, send_buffer: int = 0) -> None:
        # Kernels buffer megabytes, in which a client that does not read would go unnoticed.
        self._socket = socket_module.socket()
        if send_buffer:
            self._socket.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_SNDBUF, send_buffer)
        self._socket.bind(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            create_app(settings),
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_ping_interval=0.2,
            ws_ping_timeout=20,
            log_config=None,
            timeout_graceful_shutdown=5,
        )
        self.server = Server(config, None)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> "Process":
        self._task = asyncio.create_task(self.server.serve([self._socket]))
        async with asyncio.timeout(30):
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
        return connect(address, additional_headers=given, max_size=4 * 1024 * 1024, proxy=None)

    @asynccontextmanager
    async def sse(self, process: Process, path: str = "", **headers: str) -> AsyncIterator["Records"]:
        given = {"Coder-Session-Token": self.token, "Accept": "text/event-stream", **headers}
        address = f"http://{process.address}{PREFIX}" + (path or f"/{self.drive.chat_id}/stream")
        async with httpx.AsyncClient(timeout=20) as client, client.stream("GET", address, headers=given) as response:
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


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
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
    async with asyncio.timeout(20):
        message = await socket.recv()
    assert isinstance(message, str)
    assert message.endswith("]\n")
    events: list[dict[str, Any]] = orjson.loads(message)
    assert 1 <= len(events) <= 256
    return events


async def show_until(screen: Screen, take: Callable[[], Any], done: Callable[[Screen], bool]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while not done(screen):
            events = await take()
            told += events if isinstance(events, list) else [events]
            screen.show(events if isinstance(events, list) else [events])
    return told


async def record(stage: Stage) -> tuple[list[dict[str, Any]], Screen]:
    """The whole story as an uncut WebSocket client hears it: to the end of the last preview."""
    screen = Screen()
    async with stage.socket(stage.one) as socket:
        told = await heard(socket)
        screen.show(told)
        for step in STORY:
            await step(stage.drive)
        told += await show_until(screen, lambda: heard(socket), _at_the_end)
    return told, screen


def _at_the_end(screen: Screen) -> bool:
    said = [message["content"][0].get("text") for message in screen.messages.values()]
    shown = "".join(part.get("text", "") for _, part in screen.preview)
    return "try again" in said and shown == "Second try: forty-two." and screen.status == "running" and not screen.queue


async def test_cut_at_any_event_both_transports_resume_on_another_process_to_the_same_content(stage: Stage) -> None:
    told, whole = await record(stage)
    for cut in range(len(told) + 1):
        for transport in ("websocket", "sse"):
            screen = Screen().show(told[:cut])
            resume = f"/{stage.drive.chat_id}/stream" + (f"?cursor={screen.cursor}" if screen.cursor else "")
            if transport == "websocket":
                async with stage.socket(stage.two, resume) as socket:
                    await show_until(screen, lambda: heard(socket), lambda each: each.state == whole.state)
            else:
                header = {"Last-Event-ID": screen.cursor} if screen.cursor else {}
                async with stage.sse(stage.two, **header) as records:
                    await show_until(screen, records.take, lambda each: each.state == whole.state)
            assert "resync" not in screen.types[cut:]


async def test_live_events_reach_clients_of_both_transports_and_processes(stage: Stage) -> None:
    async with stage.socket(stage.one) as socket, stage.sse(stage.two) as records:
        first, second = Screen(), Screen()
        first.show(await heard(socket))
        await show_until(second, records.take, lambda screen: bool(screen.status))
        await stage.drive.open()
        await stage.drive.stream("forty", "-two\x00\n")
        await stage.drive.answer("forty-two\x00\n")
        for screen, take in ((first, lambda: heard(socket)), (second, records.take)):
            await show_until(screen, take, lambda each: each.status == "waiting")
        assert first.state == second.state
        assert [message["content"][0]["text"] for message in first.messages.values()] == ["hello", "forty-two\x00\n"]
        assert records.response.headers["content-type"].startswith("text/event-stream")
        assert records.response.headers["cache-control"] == "no-store"
        assert records.response.headers["x-accel-buffering"] == "no"
        assert "sec-websocket-extensions" not in (socket.response.headers if socket.response else {})


async def test_the_experimental_prefix_streams_the_same(stage: Stage) -> None:
    address = f"ws://{stage.one.address}/api/experimental/chats/{stage.drive.chat_id}/stream?coder_session_token={stage.token}"
    async with connect(address, proxy=None) as socket:
        assert [event["type"] for event in await heard(socket)] == ["message", "status"]


async def test_a_client_that_speaks_is_shown_the_door(stage: Stage) -> None:
    for path in ("", "/watch"):
        async with stage.socket(stage.one, path) as socket:
            await socket.send("hello?")
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(20):
                    while True:
                        await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_a_server_that_stops_says_that_it_is_going_away(stage: Stage) -> None:
    async with stage.socket(stage.one) as socket, stage.socket(stage.one, "/watch") as sidebar:
        async with stage.sse(stage.one) as records:
            await heard(socket)
            await records.take()
            stopping = asyncio.create_task(stage.one.stop())
            with pytest.raises((EOFError, httpx.RemoteProtocolError)):
                async with asyncio.timeout(20):
                    while True:
                        await records.take()
        for each in (socket, sidebar):
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(20):
                    while True:
                        await each.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        await stopping


async def test_refusals_come_before_the_upgrade_in_the_envelope(stage: Stage) -> None:
    chat = stage.drive.chat_id
    cases = [
        (f"/{chat}/stream", {"token": "ts_nobody"}, 401, "You are signed out or your session has expired."),
        (f"/{uuid4()}/stream", {}, 404, "Resource not found or you do not have access to this resource"),
        ("/nonsense/stream", {}, 400, 'Invalid UUID "chat".'),
        (f"/{chat}/stream?cursor=1.2.x.4", {}, 400, "Invalid cursor parameter."),
        (f"/{chat}/stream?after_id=-5x", {}, 400, "Invalid after_id parameter."),
        (f"/{chat}/stream", {"Origin": "https://elsewhere.example"}, 403, "Cross-origin WebSocket refused."),
        ("/watch", {"token": ""}, 401, "You are signed out or your session has expired."),
        ("/watch", {"Origin": "null"}, 403, "Cross-origin WebSocket refused."),
    ]
    for path, headers, status, message in cases:
        with pytest.raises(InvalidStatus) as refused:
            async with stage.socket(stage.one, path, **headers):
                pass
        answer = refused.value.response
        assert (path, answer.status_code) == (path, status)
        assert orjson.loads(answer.body)["message"].startswith(message)


async def test_a_page_of_the_same_origin_may_connect(stage: Stage) -> None:
    async with stage.socket(stage.one, Origin=f"http://{stage.one.address}") as socket:
        await heard(socket)


async def test_plain_http_is_told_how_to_connect(stage: Stage) -> None:
    async with httpx.AsyncClient(headers={"Coder-Session-Token": stage.token}) as client:
        for path in (f"/{stage.drive.chat_id}/stream", "/watch"):
            answer = await client.get(f"http://{stage.one.address}{PREFIX}{path}")
            assert answer.status_code == 426
            assert "text/event-stream" in answer.json()["detail"]
        answer = await client.get(
            f"http://{stage.one.address}{PREFIX}/{uuid4()}/stream", headers={"Accept": "text/event-stream"}
        )
        assert answer.status_code == 404


async def test_a_stream_where_nothing_happens_is_kept_alive(stage: Stage) -> None:
    async with stage.sse(stage.one) as records, stage.socket(stage.one) as socket:
        screen = Screen()
        await show_until(screen, records.take, lambda each: bool(each.status))
        before = records.comments
        waiting = asyncio.create_task(records.take())
        async with asyncio.timeout(20):
            while records.comments < before + 2:
                await asyncio.sleep(0.02)
        await stage.drive.open()
        assert (await asyncio.wait_for(waiting, 20))["type"] == "status"
        await heard(socket)  # the server pings it all the while, and the client answered


async def test_somebody_elses_chat_cannot_be_followed_unless_it_is_shared(stage: Stage) -> None:
    stranger, friend, token_of = await _people(stage)
    for process in (stage.one, stage.two):
        with pytest.raises(InvalidStatus) as refused:
            async with stage.socket(process, token=token_of[stranger]):
                pass
        assert refused.value.response.status_code == 404
    async with stage.drive.database.begin() as session:
        await fetch(
            session,
            'UPDATE chats SET user_acl = jsonb_build_object(%(user)s::text, \'{"permissions": ["read"]}\'::jsonb)',
            {"user": str(friend)},
        )
    async with stage.socket(stage.one, token=token_of[friend]) as socket:
        await heard(socket)
    await asyncio.sleep(0)
    assert await _last_read(stage) is None


async def test_coming_and_going_the_owner_has_read_the_chat_and_no_version_moves(stage: Stage) -> None:
    await stage.drive.open()
    await stage.drive.answer("one")
    async with stage.socket(stage.one) as socket:
        screen = Screen().show(await heard(socket))
        before = screen.cursor
        await _until_read(stage, max(screen.messages))
        await stage.drive.say("two")
        await stage.drive.open()
        await stage.drive.answer("two")
        await show_until(screen, lambda: heard(socket), lambda each: len(each.messages) == 4)
    await _until_read(stage, max(screen.messages))
    async with stage.socket(stage.two, f"/{stage.drive.chat_id}/stream?cursor={before}") as socket:
        again = Screen().show(await heard(socket))
        await show_until(again, lambda: heard(socket), lambda each: len(each.messages) == 2)
        assert max(again.messages) == max(screen.messages)


async def test_watch_tells_the_owner_what_happens_to_their_chats_in_order(stage: Stage) -> None:
    _, friend, token_of = await _people(stage)
    async with (
        stage.socket(stage.one, "/watch") as socket,
        stage.sse(stage.two, "/watch") as records,
        stage.socket(stage.one, "/watch", token=token_of[friend]) as other,
    ):
        drive = Drive(
            stage.drive.database,
            stage.drive.publisher,
            stage.drive.owner_id,
            stage.drive.organization_id,
            stage.drive.model_config_id,
        )
        await drive.create()
        told = [await _one(socket)]
        await drive.open()
        told.append(await _one(socket))
        await drive.commit(StepRow("assistant", [CALL]))
        await drive.require_action()
        told += [await _one(socket), await _one(socket)]
        assert [event["kind"] for event in told] == ["created", "status_change", "action_required", "status_change"]
        assert [(await asyncio.wait_for(records.take(), 20))["kind"] for _ in told] == [event["kind"] for event in told]
        for event in told:
            WatchEvent.model_validate(event)
            assert event["chat"]["id"] == str(drive.chat_id)
            assert event["chat"]["children"] == []
        assert told[2]["chat"]["status"] == "requires_action"
        assert told[2]["tool_calls"][0]["tool_call_id"] == "c1"
        theirs = Drive(drive.database, drive.publisher, friend, stage.organization_id, drive.model_config_id)
        await theirs.create()
        assert (await _one(other))["chat"]["owner_id"] == str(friend)


async def test_sidebars_are_ended_when_events_may_have_been_lost(stage: Stage) -> None:
    async with stage.socket(stage.one, "/watch") as socket:
        async with stage.drive.database.read() as session:
            await fetch(
                session,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'",
            )
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(20):
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_a_client_that_does_not_read_slows_nobody_and_is_resynced(settings: Settings, stage: Stage) -> None:
    small = await Process(settings.model_copy(update={"watcher_buffer_bytes": 512 * 1024}), 65536).start()
    pipe = socket_module.socket()
    pipe.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
    pipe.setblocking(False)
    host, _, port = small.address.partition(":")
    await asyncio.get_running_loop().sock_connect(pipe, (host, int(port)))
    address = f"ws://{small.address}{PREFIX}/{stage.drive.chat_id}/stream?coder_session_token={stage.token}"
    try:
        async with connect(address, proxy=None, max_queue=1, sock=pipe) as sleeper, stage.socket(small) as socket:
            quick, slow = Screen(), Screen()
            slow.show(await heard(sleeper))
            reading = asyncio.create_task(
                show_until(quick, lambda: heard(socket), lambda each: each.status == "waiting")
            )
            for _ in range(3):  # an episode holds 1 MB
                await stage.drive.open()
                for shown in range(15):
                    await stage.drive.stream("z" * 60_000)
                    async with asyncio.timeout(20):
                        while len(quick.preview) != shown + 1:
                            await asyncio.sleep(0.005)
            await stage.drive.answer("done")
            await reading
            assert "resync" not in quick.types
            await show_until(slow, lambda: heard(sleeper), lambda each: each.status == "waiting")
            assert slow.state == quick.state
            assert "resync" in slow.types
    finally:
        await small.stop()


def test_messages_stay_below_their_bounds() -> None:
    tiny = [Event("x", b"{}") for _ in range(600)]
    assert [len(orjson.loads(frame)) for frame in arrays(tiny)] == [256, 256, 88]
    large = [Event("x", b'"%s"' % (b"y" * 1_500_000)) for _ in range(5)]
    frames = list(arrays(large))
    assert [len(orjson.loads(frame)) for frame in frames] == [2, 2, 1]
    assert all(len(frame) < 4 * 1024 * 1024 for frame in frames)


async def _one(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        event: dict[str, Any] = orjson.loads(await socket.recv())
    return event


async def _people(stage: Stage) -> tuple[Any, Any, dict[Any, str]]:
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


async def _last_read(stage: Stage) -> int | None:
    async with stage.drive.database.read() as session:
        [row] = await fetch(
            session, "SELECT last_read_message_id AS id FROM chats WHERE id = %(id)s", {"id": stage.drive.chat_id}
        )
    found: int | None = row["id"]
    return found


async def _until_read(stage: Stage, message_id: int) -> None:
    async with asyncio.timeout(20):
        while await _last_read(stage) != message_id:
            await asyncio.sleep(0.02)
