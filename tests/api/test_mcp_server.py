"""The tools of `/mcp` over the real application, driven by the official client: rights, names and refusals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from models.store import build_logs, organizations
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.mcp_client import HANDSHAKE, LATER, called, refused
from tests.api.talk import Talk
from tests.api.test_limits import set_limit
from tests.places import ended

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
