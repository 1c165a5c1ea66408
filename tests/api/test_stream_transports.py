"""Laws of `/stream` and `/watch` on the wire: real servers, real WebSocket and SSE clients, two API processes."""

import asyncio
import socket as socket_module
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.live.websocket import arrays
from models.events import Event
from models.parts import text
from models.settings import Settings
from models.store import organizations, people
from models.store.database import Database, fetch
from models.store.moves import StepRow
from models.tables.budgets import Budget
from tests.api.live_drive import STORY, Screen
from tests.api.live_stage import PREFIX, Process, Stage, heard, show_until, staged
from tests.seeds import insert


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with staged(database, settings) as made:
        yield made


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
                async with asyncio.timeout(60):
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
                async with asyncio.timeout(60):
                    while True:
                        await records.take()
        for each in (socket, sidebar):
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(60):
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
    async with httpx.AsyncClient(headers={"Coder-Session-Token": stage.token}, timeout=60) as client:
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
        async with asyncio.timeout(60):
            while records.comments < before + 2:
                await asyncio.sleep(0.02)
        await stage.drive.open()
        assert (await asyncio.wait_for(waiting, 60))["type"] == "status"
        await heard(socket)  # the server pings it all the while, and the client answered


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
                    async with asyncio.timeout(60):
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


async def reader(stage: Stage, name: str, site: tuple[str, ...] = (), here: tuple[str, ...] = ()) -> str:
    """Somebody with whom the chat is shared; their token."""
    drive = stage.drive
    async with drive.database.begin() as session:
        user_id = await people.create(session, username=name, email=f"{name}@example.com", roles=site)
        await organizations.add(session, drive.organization_id, user_id, here)
        acl = orjson.dumps({str(user_id): {"permissions": ["read"]}}).decode()
        share = "UPDATE chats SET user_acl = user_acl || %(acl)s::jsonb WHERE id = %(chat)s"
        await fetch(session, share, {"acl": acl, "chat": drive.chat_id})
        _, token = await people.create_token(session, user_id, kind="token", lifetime=timedelta(hours=1))
    return token


async def test_what_a_budget_has_left_is_told_to_its_owner_and_who_may_see_it_and_not_to_other_readers(
    stage: Stage,
) -> None:
    drive = stage.drive
    tokens = {
        "the owner": stage.token,
        "who reads": await reader(stage, "friend"),
        "an admin": await reader(stage, "boss", here=("organization-admin",)),
        "an auditor": await reader(stage, "auditor", site=("auditor",)),
    }
    budget = Budget(organization_id=drive.organization_id, scope="user", scope_id=drive.owner_id, limit_micros=100)
    async with drive.database.begin() as session:
        await insert(session, budget)
    async with AsyncExitStack() as stack:
        sockets = {who: await stack.enter_async_context(stage.socket(stage.one, token=tokens[who])) for who in tokens}
        for socket in sockets.values():
            await heard(socket)
        await drive.open()
        await drive.commit(StepRow("assistant", [text("so")], total_cost_micros=7))
        told = {who: await usage(socket) for who, socket in sockets.items()}
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(headers={"Coder-Session-Token": stage.token}, timeout=60) as client,
        ):
            roles = f"http://{stage.one.address}/api/v2/organizations/default/members/boss/roles"
            assert (await client.put(roles, json={"roles": []})).status_code == 200
            demoted = told["an admin"]
            while demoted.get("budget"):  # until their process has heard of it
                await drive.say("more")
                await drive.open()
                await drive.commit(StepRow("assistant", [text("so")], total_cost_micros=7))
                demoted = await usage(sockets["an admin"])
    left = {"scope": "user", "limit_micros": 100, "remaining_micros": 100}
    assert {who: each.get("budget") for who, each in told.items()} == {**dict.fromkeys(tokens, left), "who reads": None}
    assert {each["cost_micros"] for each in told.values()} == {7}


async def usage(socket: ClientConnection) -> dict[str, Any]:
    """What the next `usage` event says."""
    while True:
        for event in await heard(socket):
            if event["type"] == "usage":
                found: dict[str, Any] = event["usage"]
                return found
