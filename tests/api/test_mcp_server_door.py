"""The door of `/mcp`: what opens it, what is no MCP, and waits that end with who waits, or with their right to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from models.settings import Settings
from models.store import people
from models.store.database import Database
from tests.api.conftest import Api, Person
from tests.api.live_stage import Process, Stage, staged
from tests.api.mcp_client import HANDSHAKE, LATER, called, refused


async def ask(api: Api, token: str, body: bytes, **headers: str) -> tuple[int, Any]:
    given = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
    async with api.client(token) as client:
        answered = await client.post("/mcp", content=body, headers=given)
    assert answered.status_code < 500, answered.text
    is_json = answered.content and answered.headers["content-type"].startswith("application/json")
    return answered.status_code, answered.json() if is_json else answered.text


CALL = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
MODERN = "2026-07-28"


STRANGE: tuple[tuple[bytes, dict[str, str], int], ...] = (
    (b"", {}, 400),
    (b"{", {}, 400),
    (b"null", {}, 400),
    (b"3", {}, 400),
    (b"[" + CALL + b"]", {}, 400),
    (b"[]", {}, 400),
    (b"{}", {}, 400),
    (b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}', {}, 400),
    (b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "tools/list"}', {}, 400),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}', {}, 200),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}', {}, 200),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}', {}, 200),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [1]}', {}, 400),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "no_such"}}', {}, 200),
    (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', {}, 202),
    (b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}', {}, 202),
    (b'{"jsonrpc": "2.0", "method": "no/such"}', {}, 202),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": ' + b"[" * 400 + b"]" * 400 + b"}}", {}, 400),
    (b'{"a": "' + b"x" * 300_000 + b'"}', {}, 413),
    (CALL, {"mcp-protocol-version": "1999-01-01"}, 400),
    (CALL, {"mcp-protocol-version": MODERN}, 400),  # without what that version puts into each request
    (CALL, {"accept": "text/html"}, 406),
    (CALL, {"content-type": "text/plain"}, 415),
    (CALL, {}, 200),
    (CALL, {"accept": "application/json"}, 200),
    (CALL, {"mcp-session-id": "of-another-server"}, 200),
    (CALL, {"origin": "http://turnstone.test"}, 200),
    (CALL, {"origin": "https://evil.test"}, 403),
    (CALL, {"sec-fetch-site": "cross-site"}, 403),
)


async def test_what_is_no_mcp_is_refused_and_breaks_nothing(api: Api, member: Person) -> None:
    wrong = []
    for body, headers, status in STRANGE:
        got, said = await ask(api, member.token, body, **headers)
        if got != status or (got == 400 and isinstance(said, dict) and said["jsonrpc"] != "2.0"):
            wrong.append((body[:100], headers, got, said))
    assert not wrong


async def test_only_a_token_in_a_header_opens_the_door(api: Api, member: Person) -> None:
    for headers in ({"cookie": f"coder_session_token={member.token}", "sec-fetch-site": "same-origin"}, {}):
        status, said = await ask(api, "", CALL, **headers)
        assert (status, said["message"]) == (401, (await api.stranger.get("/api/v2/users/me")).json()["message"])
    for method in ("GET", "DELETE", "PUT"):
        answered = await member.client.request(method, "/mcp", headers={"accept": "text/event-stream"})
        assert (answered.status_code, answered.headers["allow"]) == (405, "POST")
    answered = await api.stranger.post("/mcp", content=CALL)
    assert answered.headers["www-authenticate"] == "Bearer"
    assert "access-control-allow-origin" not in answered.headers


def mcp_watchers(process: Process) -> int:
    watchers: int = process.server.lifespan.state["resources"].live.watchers
    return watchers


async def until(process: Process, watchers: int) -> None:
    async with asyncio.timeout(60):
        while mcp_watchers(process) != watchers:
            await asyncio.sleep(0.01)


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with staged(database, settings) as made:
        yield made


@asynccontextmanager
async def at(process: Process, token: str, mode: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Coder-Session-Token": token}, timeout=60) as http,
        Client(
            streamable_http_client(f"http://{process.address}/mcp", http_client=http), mode=mode, cache=None
        ) as client,
    ):
        yield client


async def nothing(*_: object) -> None:
    """Hears of progress."""


@pytest.mark.parametrize("mode", [HANDSHAKE, LATER])
@pytest.mark.parametrize("hears", [True, False])
async def test_a_wait_ends_with_its_client(stage: Stage, mode: str, hears: bool) -> None:
    async def wait() -> None:
        async with at(stage.one, stage.token, mode) as client:
            asked = {"chat_id": str(stage.drive.chat_id), "seconds": 300}
            await client.call_tool("wait_for_chat", asked, progress_callback=nothing if hears else None)

    waiting = asyncio.create_task(wait())
    await until(stage.one, 1)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await until(stage.one, 0)


async def test_what_one_process_began_another_waits_for_and_is_told_when_it_must_go(stage: Stage) -> None:
    async with at(stage.one, stage.token, LATER) as one, at(stage.two, stage.token, HANDSHAKE) as two:
        await two.list_tools()  # which this client asks for after its first call, if it has not
        chat = (await called(one, "create_chat", prompt="hi"))["chat"]["id"]
        asked = {"chat_id": chat, "seconds": 300}
        waits = [two.call_tool("wait_for_chat", asked, progress_callback=each) for each in (None, nothing)]
        waiting = asyncio.gather(*waits)
        await until(stage.two, 2)
        stopping = asyncio.create_task(stage.two.stop())
        [waited, heard] = [each.structured_content for each in await waiting]
        assert waited["chat"] == heard["chat"]
        assert (waited["rested"], waited["chat"]["status"]) == (False, "pending")
        await stopping
        await called(one, "interrupt_chat", chat_id=chat)
        await called(one, "archive_chat", chat_id=chat)
        found = await called(one, "list_chats", q="archived:true")
        assert [each["id"] for each in found["chats"]] == [chat]


async def test_who_may_no_longer_look_waits_no_longer(stage: Stage) -> None:
    chat = stage.drive.chat_id
    async with stage.drive.database.begin() as session:
        _, token = await people.create_token(
            session, stage.drive.owner_id, kind="token", lifetime=timedelta(hours=1), scopes=("chat:read",)
        )
    async with at(stage.one, token, LATER) as client, httpx2.AsyncClient() as owner:
        waiting = asyncio.create_task(refused(client, "wait_for_chat", chat_id=str(chat), seconds=300))
        await until(stage.one, 1)
        keys = f"http://{stage.two.address}/api/v2/users/me/keys"
        headers = {"Coder-Session-Token": stage.token}
        tokens = (await owner.get(f"{keys}/tokens", headers=headers)).json()
        [shown] = [each for each in tokens if each["scopes"] == ["chat:read"]]
        gone = await owner.delete(f"{keys}/{shown['id']}", headers=headers)
        assert gone.status_code == 204, gone.text
        assert (await waiting)["status"] == 401
