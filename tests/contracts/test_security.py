"""Attacks that docs/security.md speaks of and that no other test makes."""

import asyncio

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.serve import LARGEST_FRAME
from models.errors import Invalid
from models.rules import cursors, file_types
from models.settings import Settings
from models.store.database import Database
from tests.api.conftest import Api, Person, api, member, owner, settings
from tests.api.live_stage import Process
from tests.api.talk import CHATS, Talk, said
from tests.api.test_files import upload
from tests.contracts.test_routes import ask, filled, routes
from tests.models.rules.test_file_types import PNG
from tests.seeds import World
from tests.workplace import furnish

__all__ = ["api", "member", "owner", "settings"]

AGENTS = "/api/v2/workspaceagents/me"
PATIENCE = 60.0


async def test_an_agents_token_opens_its_own_door_and_no_other(api: Api, owner: Person, database: Database) -> None:
    place = await furnish(database, owner.id, api.organization_id)
    known = {"chat": await Talk(api, owner).start(), "organization": api.organization_id, "user": owner.id}
    opened = set()
    for method, path, _ in routes():
        if path.startswith("/api/experimental/"):
            continue
        where = filled(path, **known)
        if await ask(api, place.token, method, where) != await ask(api, "ts_token_nobody", method, where):
            opened.add(f"{method} {path}")
    doors = {"WEBSOCKET": ("connect", "desktop/{session}"), "POST": ("files",)}
    assert opened == {f"{method} {AGENTS}/{door}" for method, those in doors.items() for door in those}


DEEP = b"[" * 100_000
NESTED = b'{"a":' * 900 + b"1" + b"}" * 900


@pytest.mark.parametrize("value", [DEEP, b'{"title":' + NESTED + b"}"], ids=["without end", "in a field"])
async def test_no_route_is_brought_down_by_nesting(api: Api, owner: Person, value: bytes) -> None:
    chat = await Talk(api, owner).start()
    known = {"chat": chat, "organization": api.organization_id, "user": "me"}
    for method, path, name in routes():
        if method not in ("POST", "PUT", "PATCH") or name == "logout" or path.startswith("/api/experimental/"):
            continue
        response = await owner.client.request(method, filled(path, **known), content=value)
        assert response.status_code != 500, f"{method} {path}: {response.text}"


@pytest.mark.parametrize("depth", [50, 240, 260, 900, 1100])
async def test_deep_json_is_stored_whole_or_refused(api: Api, member: Person, depth: int) -> None:
    tool = (
        b'{"name":"deep","input_schema":{"type":"object","properties":' + b'{"a":' * depth + b"{}" + b"}" * (depth + 2)
    )
    asked = orjson.dumps({"organization_id": str(api.organization_id), "content": said("hello")})
    response = await member.client.post(CHATS, content=asked[:-1] + b',"unsafe_dynamic_tools":[' + tool + b"]}")
    assert response.status_code in (201, 400)
    if response.status_code == 201:
        assert (await member.client.get(f"{CHATS}/{response.json()['id']}")).status_code == 200


CURSOR = st.from_regex(r"[0-9.\-]{0,60}", fullmatch=True) | st.text(max_size=60)


@examples(max_examples=300)
@given(text=CURSOR)
def test_a_cursor_is_what_we_wrote_or_refused(text: str) -> None:
    try:
        found = cursors.parse(text)
    except Invalid:
        return
    assert cursors.parse(found.encode()) == found


async def test_a_cursor_of_another_chat_shows_nothing_of_it(api: Api, member: Person, owner: Person) -> None:
    theirs, mine = Talk(api, owner), Talk(api, member)
    secret = await theirs.start("the secret of the owner")
    message = (await theirs.history(secret))["messages"][0]["id"]
    chat = await mine.start("hello")
    listed = await member.client.get(CHATS, params={"after_id": str(secret)})
    paged = await mine.history(chat, after_id=message - 1)
    around = await mine.history(chat, before_id=message + 10)
    for told in (listed.text, orjson.dumps([paged, around]).decode()):
        assert "secret" not in told
    assert {each["chat_id"] for each in paged["messages"] + around["messages"]} <= {str(chat)}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "a.svg"),
        (b"<html><script>alert(1)</script>", "a.html"),
        (PNG + b"<script>alert(1)</script>", "a.html"),
        (b"GIF89a/*<html>*/=1;alert(1)", "a.js"),
        (b"%PDF-1.7 <html><script>alert(1)</script>", "a.html"),
        (b"#!/bin/sh\nrm -rf /", "a.sh"),
    ],
)
async def test_a_file_that_is_two_things_is_never_served_as_one_that_runs(
    api: Api, member: Person, data: bytes, name: str
) -> None:
    response = await upload(Talk(api, member), data, name, "application/octet-stream")
    if response.status_code == 400:
        return
    file = await member.client.get(f"{CHATS}/files/{response.json()['id']}")
    assert file.headers["content-type"].partition(";")[0] in file_types.ALLOWED
    assert file.headers["x-content-type-options"] == "nosniff"
    if file.headers["content-type"].startswith("application/pdf"):
        assert file.headers["content-disposition"].startswith("attachment")


async def test_an_agent_that_says_too_much_at_once_is_cut_off(
    database: Database, settings: Settings, seed: World
) -> None:
    process = await Process(settings).start()
    try:
        place = await furnish(database, seed.owner_id, seed.organization_id)
        headers = {"Coder-Session-Token": place.token}
        address = f"ws://{process.address}{AGENTS}/connect"
        async with asyncio.timeout(PATIENCE), connect(address, additional_headers=headers, proxy=None) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.send("x" * (LARGEST_FRAME + 1))
                while True:
                    await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        async with httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(f"http://{process.address}/healthz")).status_code == 200
    finally:
        await process.stop()
