"""`/mcp` over the real application, driven by the official client: rights, names, refusals, and what is no MCP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from models.settings import Settings
from models.store import build_logs, organizations, people
from models.store.database import Database, fetch
from tests.api.conftest import Api, Person
from tests.api.live_stage import Process, Stage, staged
from tests.api.talk import Talk
from tests.api.test_limits import set_limit
from tests.places import ended

HANDSHAKE, LATER = "legacy", "auto"  # the protocol's versions with a handshake, and those without
ALL_SCOPES = {
    "chat:create": {"create_chat"},
    "chat:read": {"list_chats", "read_chat", "wait_for_chat"},
    "chat:update": {"send_message", "interrupt_chat"},
}
TOOLS = {
    *(name for names in ALL_SCOPES.values() for name in names),
    "archive_chat",
    *("list_templates", "read_template", "create_workspace", "list_workspaces", "build_workspace", "read_build"),
}


@asynccontextmanager
async def connected(api: Api, token: str, mode: Any = LATER) -> AsyncIterator[Client]:
    transport = httpx2.ASGITransport(api, client=("127.0.0.1", 40000))
    async with (
        httpx2.AsyncClient(transport=transport, headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client("http://turnstone.test/mcp", http_client=http), mode=mode, cache=None) as client,
    ):
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    """What the tool answers; it must not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert orjson.loads(result.content[0].text) == result.structured_content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What the tool is refused with; it must be."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    error: dict[str, Any] = result.structured_content["error"]
    assert result.content[0].text.startswith(f"{error['status']}: {error['message']}")
    return error


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


_CHATS = {name for names in ALL_SCOPES.values() for name in names}
SHOWN: tuple[tuple[tuple[str, ...], set[str]], ...] = (
    ((), TOOLS),
    (("chat:*",), {*_CHATS, "archive_chat"}),
    (("chat:read", "chat:update"), ALL_SCOPES["chat:read"] | ALL_SCOPES["chat:update"] | {"archive_chat"}),
    *(((scope,), names) for scope, names in ALL_SCOPES.items()),
    (("chat:share",), set()),
)


async def test_a_token_is_shown_and_given_the_tools_that_its_scopes_allow(talk: Talk) -> None:
    chat = await talk.start()
    for scopes, shown in SHOWN:
        person = await talk.api.sign_in(talk.person.id, talk.person.username, scopes)
        async with connected(talk.api, person.token, HANDSHAKE if len(scopes) == 1 else LATER) as client:
            assert {each.name for each in (await client.list_tools()).tools} == shown
            assert bool((await client.list_resources()).resources) == ("list_chats" in shown)
            for tool in sorted(TOOLS - shown):
                with pytest.raises(MCPError, match="its scopes lack"):
                    await client.call_tool(tool, {"chat_id": str(chat), "text": "no"})
    assert len((await talk.history(chat))["messages"]) == 1


async def test_tools_say_what_they_do_and_what_they_take(talk: Talk) -> None:
    async with connected(talk.api, talk.person.token) as client:
        tools = {each.name: each for each in (await client.list_tools()).tools}
    for tool in tools.values():
        assert tool.description
        assert tool.title
        assert tool.input_schema["additionalProperties"] is False
        assert all(each.get("type") or each.get("anyOf") for each in tool.input_schema["properties"].values())
    reading = {name for name, each in tools.items() if each.annotations and each.annotations.read_only_hint}
    assert reading == {name for name in TOOLS if name.split("_")[0] in ("list", "read", "wait")}
    destroying = {name for name, each in tools.items() if each.annotations and each.annotations.destructive_hint}
    assert destroying == {"archive_chat", "build_workspace"}


async def test_what_is_not_ones_own_is_not_there(talk: Talk) -> None:
    chat = str(await talk.start())
    async with talk.api.resources.database.begin() as session:
        elsewhere = (await organizations.create(session, name="elsewhere"))["id"]
    other = await talk.api.person("other", org_roles=("agents-access",))
    foreigner = await talk.api.person("foreigner", org_roles=("agents-access",), organization_id=elsewhere)
    before = await talk.get(chat), await talk.history(chat)
    for person in (other, foreigner):
        async with connected(talk.api, person.token) as client:
            for tool in ("read_chat", "wait_for_chat", "interrupt_chat", "archive_chat"):
                assert (await refused(client, tool, chat_id=chat))["status"] == 404, tool
            assert (await refused(client, "send_message", chat_id=chat, text="hi"))["status"] == 404
            assert (await called(client, "list_chats"))["chats"] == []
    async with connected(talk.api, foreigner.token) as client:
        error = await refused(client, "create_chat", prompt="hi", organization=str(talk.api.organization_id))
        assert error["status"] == 403
    assert (await talk.get(chat), await talk.history(chat)) == before


async def test_a_call_that_is_repeated_under_its_key_is_carried_out_once(talk: Talk) -> None:
    async with connected(talk.api, talk.person.token) as client:
        once = {"prompt": "hello", "idempotency_key": "a"}
        first, again = [await called(client, "create_chat", **once) for _ in range(2)]
        assert first == again
        beside = [
            (await client.call_tool("create_chat", {"prompt": "hello"}, meta={"turnstone/idempotency-key": "b"}))
            for _ in range(2)
        ]
        assert beside[0].structured_content == beside[1].structured_content != first
        assert (await refused(client, "create_chat", prompt="bye", idempotency_key="a"))["status"] == 422
        assert len((await called(client, "list_chats"))["chats"]) == 2


async def test_pages_of_chats_and_of_messages_hold_everything_once(talk: Talk) -> None:
    chats = [str(await talk.start(f"chat {number}")) for number in range(5)]
    async with connected(talk.api, talk.person.token) as client:
        found, cursor = [], ""
        while True:
            page = await called(client, "list_chats", limit=2, cursor=cursor)
            found += [each["id"] for each in page["chats"]]
            if not (cursor := page.get("next_cursor", "")):
                break
        assert sorted(found) == sorted(chats)
        for number in range(4):
            await talk.answer(chats[0], f"answer {number} " + "x" * 300)
            if number < 3:
                await talk.say(chats[0], f"and {number}?")
        whole = (await called(client, "read_chat", chat_id=chats[0]))["messages"]
        assert len(whole) == 8
        for start, turn in (({"after_id": 0}, "before_id"), ({"after_id": whole[0]["id"] - 1}, "after_id")):
            read: list[Any] = []
            asked: dict[str, Any] = start
            while asked:
                page = await called(client, "read_chat", chat_id=chats[0], max_chars=700, limit=3, **asked)
                assert sum(len(each["text"]) for each in page["messages"]) <= 700
                read = [*page["messages"], *read] if turn == "before_id" else [*read, *page["messages"]]
                asked = page.get("more", {})
            assert read == whole, turn
        [cut] = (await called(client, "read_chat", chat_id=chats[0], max_chars=200, limit=1))["messages"]
        assert "more characters]" in cut["text"]


async def test_names_are_found_and_those_that_are_not_are_told_with_what_there_is(talk: Talk) -> None:
    async with talk.api.resources.database.begin() as session:
        second = (await organizations.create(session, name="second"))["id"]
        await organizations.add(session, second, talk.person.id, ("agents-access",))
        [model] = await fetch(session, "SELECT model FROM chat_model_configs WHERE is_default")
    async with connected(talk.api, talk.person.token) as client:
        error = await refused(client, "create_chat", prompt="hi")
        assert (error["status"], error["message"]) == (400, "Name the organization.")
        assert "second" in error["detail"]
        made = await called(client, "create_chat", prompt="hi", organization="second", model=model["model"])
        assert made["chat"]["organization_id"] == str(second)
        error = await refused(client, "create_chat", prompt="hi", organization="second", model="no-such")
        assert model["model"] in error["detail"]
        for name in ("no-such", "../users", "default/templates", "a\nb"):
            assert (await refused(client, "create_chat", prompt="hi", organization=name))["status"] == 404
            assert (await refused(client, "build_workspace", workspace=name, transition="stop"))["status"] == 404


WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("read_chat", {}, "chat_id"),
    ("read_chat", {"chat_id": "x"}, "chat_id"),
    ("read_chat", {"chat_id": str(uuid4()), "limit": 1000}, "limit"),
    ("wait_for_chat", {"chat_id": str(uuid4()), "seconds": 100_000}, "seconds"),
    ("send_message", {"chat_id": str(uuid4()), "text": "hi", "busy": "never"}, "busy"),
    ("create_chat", {"prompt": "hi", "colour": "red"}, "colour"),
    ("create_chat", {"prompt": ["hi"]}, "prompt"),
)


async def test_a_chat_is_also_a_resource_for_whoever_may_read_it(talk: Talk) -> None:
    chats = [str(await talk.start(f"chat {number}")) for number in range(25)]
    other = await talk.api.person("other", org_roles=("agents-access",))
    async with connected(talk.api, talk.person.token) as client:
        page = await client.list_resources()
        rest = await client.list_resources(cursor=page.next_cursor)
        assert {each.uri for each in (*page.resources, *rest.resources)} == {f"chat://{chat}" for chat in chats}
        assert len(page.resources) + len(rest.resources) == len(chats)
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "chat://{chat_id}"
        [content] = (await client.read_resource(f"chat://{chats[0]}")).contents
        assert orjson.loads(content.text) == await called(client, "read_chat", chat_id=chats[0])
        for uri in ("chat://nobody", f"chat://{uuid4()}", "file:///etc/passwd"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
    async with connected(talk.api, other.token, HANDSHAKE) as client:
        assert (await client.list_resources()).resources == []
        with pytest.raises(MCPError, match="not found"):
            await client.read_resource(f"chat://{chats[0]}")


async def test_wrong_arguments_are_named(talk: Talk) -> None:
    async with connected(talk.api, talk.person.token) as client:
        for tool, arguments, named in WRONG:
            error = await refused(client, tool, **arguments)
            assert (error["status"], [each["field"] for each in error["validations"]]) == (400, [named])


async def test_what_a_tool_does_is_told_in_the_audit_log_as_a_requests_deed(talk: Talk, owner: Person) -> None:
    async with connected(talk.api, talk.person.token) as client:
        chat = (await called(client, "create_chat", prompt="hi"))["chat"]["id"]
        await called(client, "archive_chat", chat_id=chat)
    entries = (await owner.client.get("/api/v2/audit", params={"q": "username:member", "limit": 10})).json()
    told = [(each["action"], each["resource_type"], each["resource_id"]) for each in entries["audit_logs"]]
    assert sorted(told) == [("create", "chat", chat), ("write", "chat", chat)]


SIZE = {"name": "size", "type": "number", "required": True, "validation_min": 1, "validation_max": 8, "mutable": True}
PRESET = {"name": "Small", "parameters": [{"name": "size", "value": "2"}]}


async def test_a_workspace_is_made_of_a_template_with_a_preset_and_built_again(
    api: Api, owner: Person, member: Person
) -> None:
    version = {"rich_parameters": [SIZE], "presets": [PRESET], "readme": "# Python"}
    body = {"name": "python", "provisioner": "local", "version": version}
    answered = await owner.client.post(f"/api/v2/organizations/{api.organization_id}/templates", json=body)
    assert answered.status_code == 201, answered.text

    async def chosen(build: str) -> Any:
        async with api.resources.database.read() as session:
            [row] = await fetch(
                session, "SELECT preset_id, transition FROM workspace_builds WHERE id = %(id)s", {"id": UUID(build)}
            )
        return row

    async with connected(api, member.token) as client:
        [listed] = (await called(client, "list_templates"))["templates"]
        assert (listed["name"], listed["provisioner"]) == ("python", "local")
        read = await called(client, "read_template", template="Python")
        [parameter], [preset] = read["parameters"], read["presets"]
        assert (parameter["name"], parameter["validation_max"], read["readme"]) == ("size", 8, "# Python")
        assert (preset["name"], preset["parameters"]) == ("Small", [{"name": "size", "value": "2"}])

        error = await refused(client, "create_workspace", template="python", name="mine", parameters={"size": "9"})
        assert (error["status"], [each["field"] for each in error["validations"]]) == (400, ["size"])
        error = await refused(client, "create_workspace", template="python", name="mine", preset="Large")
        assert "Small" in error["detail"]
        made = (await called(client, "create_workspace", template="python", name="mine", preset="Small"))["workspace"]
        first = made["latest_build"]["id"]
        assert str((await chosen(first))["preset_id"]) == preset["id"]
        async with api.resources.database.begin() as session:
            lines = [("info", "making", f"line {number}") for number in range(30)]
            await build_logs.write(session, UUID(first), lines)
            await ended(session, UUID(first))
        log = await called(client, "read_build", build_id=first, lines=2)
        assert log["log"] == ["[making] line 28", "[making] line 29"]
        assert log["build"]["status"] == "running"
        assert (await called(client, "read_build", build_id=first, after=log["last_line"]))["log"] == []
        [seen] = (await called(client, "list_workspaces", q="owner:me"))["workspaces"]
        assert (seen["name"], seen["status"]) == ("mine", "running")

        asked = {"workspace": "mine", "transition": "stop"}
        stopping = (await called(client, "build_workspace", **asked))["build"]
        assert (stopping["transition"], stopping["build_number"]) == ("stop", 2)
        assert (await called(client, "build_workspace", **asked))["build"]["id"] == stopping["id"]
        assert (await chosen(stopping["id"]))["transition"] == "stop"
        chat = (await called(client, "create_chat", prompt="look around", workspace="mine"))["chat"]
        assert chat["workspace_id"] == made["id"]
        assert (await refused(client, "read_build", build_id=str(uuid4())))["status"] == 404


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


async def test_calls_have_the_limits_of_requests(api: Api, member: Person, talk: Talk) -> None:
    chat = str(await talk.start())
    set_limit(api, "writes", 1)
    async with connected(api, member.token) as client:
        for _ in range(5):
            await client.list_tools()
            await called(client, "read_chat", chat_id=chat)
        await called(client, "send_message", chat_id=chat, text="one")
        error = await refused(client, "send_message", chat_id=chat, text="two")
        assert error["status"] == 429
        assert error["retry_after_seconds"] > 0
