"""The laws of MCP servers' tools in turns, with real servers: used as offered, never twice, never a turn's end."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from models.rules import mcp, tool_results
from models.store import mcp_servers, moves
from models.store.secrets import Cipher
from tests.activities.mcp_place import HERE, serve
from tests.activities.stack import Stack, doomed, words_of, worker
from tests.fakes.behaviour import Behaviour
from tests.fakes.mcp_server import PIXEL, Transport, running

ROOT = Path(__file__).parents[2]


def calling(*calls: tuple[str, dict[str, Any]]) -> Behaviour:
    asked = [{"id": f"c{place}", "name": name, "arguments": given} for place, (name, given) in enumerate(calls)]
    return Behaviour(tokens=1, tool_calls=asked)


def offered(stack: Stack, request: int = -1) -> set[str]:
    """The names of servers' tools that a request to the model offered."""
    tools = stack.fake.received[request].body.get("tools") or ()
    return {name for tool in tools if "__" in (name := tool["function"]["name"])}


@pytest.mark.parametrize("transport", ["streamable_http", "sse"])
async def test_a_turn_uses_the_tools_of_a_server(stack: Stack, tmp_path: Path, transport: Transport) -> None:
    asked = [("echo", {"words": "hi"}), ("look", {}), ("fail", {}), ("draw", {}), ("echo", {})]
    stack.fake.script(calling(*((f"fake__{name}", given) for name, given in asked)), Behaviour(text="Done."))
    async with running(tmp_path, transport) as server:
        server_id = await serve(stack, server.url, transport=transport, forward_coder_headers=True)
        async with worker(stack):
            chat_id = await stack.create("work", mcp_server_ids=[server_id])
            await stack.rest(chat_id)
        entries = server.entries()
    _, call, *results, answer = await stack.messages(chat_id)
    assert words_of(answer.content) == "Done."
    parts = [part for part in call.content if part["type"] == "tool-call"] + [each.content[0] for each in results]
    assert {part["mcp_server_config_id"] for part in parts} == {str(server_id)}
    echoed, seen, failed, drawn, wrong = (each.content[0] for each in results)
    assert echoed["result"] == {"output": "hi"}
    assert seen["result"] == {"seen": ["a", "b"]}
    assert failed["is_error"]
    assert "the printer is on fire" in failed["result"]["error"]
    assert drawn["is_media"]
    assert drawn["result"]["mime_type"] == "image/png"
    assert len(drawn["result"]["data"]) >= len(PIXEL)
    assert wrong["is_error"]
    assert sorted(each["tool"] for each in entries) == ["draw", "echo", "fail", "look"]
    assert all(each["headers"]["x-coder-chat-id"] == str(chat_id) for each in entries)
    assert all("x-coder-subchat-id" not in each["headers"] for each in entries)
    assert len({each["meta"]["turnstone/idempotency-key"] for each in entries}) == len(entries)


async def test_what_a_model_is_offered_follows_from_chat_and_configuration(stack: Stack, tmp_path: Path) -> None:
    every = {"fake__act", "fake__draw", "fake__echo", "fake__fail", "fake__learn", "fake__look", "fake__ponder"}
    async with running(tmp_path) as server:
        server_id = await serve(stack, server.url)
        cipher, owner = Cipher(stack.settings.secret_keys.get_secret_value()), stack.world.owner_id
        chat: dict[str, Any] = {
            "id": server_id, "owner_id": owner, "mcp_server_ids": [], "mode": None, "plan_mode": None,
            "parent_chat_id": None, "root_chat_id": None, "workspace_id": None,
        }  # fmt: skip
        here = {"mcp_server_ids": [server_id]}
        child = {"parent_chat_id": owner, "root_chat_id": owner}
        cases: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
            ({}, {}, set()),
            (here, {}, every),
            (here | child, {}, every),
            (here | {"plan_mode": "plan"}, {}, set()),
            (here | {"plan_mode": "plan"}, {"allow_in_plan_mode": True}, every),
            (here | child | {"plan_mode": "plan"}, {}, set()),
            ({}, {"availability": "force_on"}, every),
            ({"mode": "explore"}, {}, set()),
            (here | {"mode": "explore"}, {}, every),
            (here, {"tool_allow_list": ["echo", "look"]}, {"fake__echo", "fake__look"}),
            (here, {"tool_deny_list": ["look"]}, {"fake__echo"}),
            (here, {"tool_allow_list": [], "tool_deny_list": ["act", "nothing"]}, every - {"fake__act"}),
            (here, {"slug": "other"}, {name.replace("fake", "other") for name in every} - {"other__act"}),
            (here, {"enabled": False}, set()),
        ]
        async with worker(stack) as resources:
            for of_chat, change, names in cases:
                if change:
                    async with stack.database.begin() as session:
                        await mcp_servers.change(session, cipher, server_id, change, owner)
                    resources.servers.forget()
                offer = await resources.servers.offered(chat | of_chat)
                assert set(offer.tools) == names, (of_chat, change)
                assert offer.absent == ()


@pytest.mark.parametrize(
    ("tool", "trusted", "calls", "told"),
    [
        ("act", False, 1, {"error": tool_results.UNKNOWN_AFTER_CRASH, "outcome": "unknown"}),
        ("ponder", True, 2, {"output": "pondered"}),
    ],
)
async def test_a_call_that_a_worker_died_in_is_made_again_only_if_it_is_trusted_to_change_nothing(
    stack: Stack, tmp_path: Path, tool: str, trusted: bool, calls: int, told: dict[str, str]
) -> None:
    stack.fake.script(calling((f"fake__{tool}", {})), Behaviour(text="I see."))
    async with running(tmp_path) as server:
        server_id = await serve(stack, server.url, trust_annotations=trusted)
        dying = await doomed(stack, TURNSTONE_MCP_ALLOWED_NETWORKS=",".join(HERE))
        try:
            chat_id = await stack.create("act", mcp_server_ids=[server_id])
            await server.until_called(tool)
        finally:
            dying.kill()
            await dying.wait()
        async with worker(stack):
            await stack.rest(chat_id)
        entries = server.entries(tool)
    assert len(entries) == calls
    assert len({each["meta"]["turnstone/idempotency-key"] for each in entries}) == 1
    *_, result, answer = await stack.messages(chat_id)
    assert words_of(answer.content) == "I see."
    assert result.content[0]["result"] == told
    assert result.content[0]["mcp_server_config_id"] == str(server_id)


async def test_a_stop_ends_the_call_and_nobody_claims_to_know_what_it_did(stack: Stack, tmp_path: Path) -> None:
    stack.fake.script(calling(("fake__act", {})))
    async with running(tmp_path) as server:
        server_id = await serve(stack, server.url)
        async with worker(stack) as resources:
            chat_id = await stack.create("act", mcp_server_ids=[server_id])
            await server.until_called("act")
            await stack.move(chat_id, moves.interrupt, signal="interrupt_requested")
            await stack.rest(chat_id)
            async with asyncio.timeout(60):
                while resources.servers.sessions.open:
                    await asyncio.sleep(0.02)
    *_, result = await stack.messages(chat_id)
    assert result.content[0]["result"]["outcome"] == "unknown"


async def test_servers_that_cannot_be_asked_fail_nothing_and_the_model_is_told_which(stack: Stack) -> None:
    stack.fake.script(calling(("gone__echo", {"words": "x"})), Behaviour(text="Without it, then."))
    nobody = "http://127.0.0.1:9/mcp"
    gone = await serve(stack, nobody, slug="gone", display_name="Tracker")
    inside = await serve(stack, "http://169.254.169.254/mcp", slug="inside", display_name="Metadata")
    alone = await serve(stack, nobody, slug="alone", display_name="Mail", auth_type="oauth2")
    async with worker(stack):
        chat_id = await stack.create("work", mcp_server_ids=[gone, inside, alone])
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    *_, result, answer = await stack.messages(chat_id)
    assert words_of(answer.content) == "Without it, then."
    assert result.content[0]["result"] == {"error": "Tool not found: gone__echo"}
    told = json.dumps(stack.fake.received[0].body["messages"])
    for line in (
        "- Tracker: it could not be reached",
        "- Metadata: The host 169.254.169.254 is not on the public internet",
        "- Mail: the user has not signed in there",
    ):
        assert told.count(line) == 1


async def test_a_tool_that_a_server_learns_is_offered_in_the_next_step_and_a_call_says_what_it_is_for(
    stack: Stack, tmp_path: Path
) -> None:
    stack.fake.script(
        calling(("fake__learn", {"name": "dance", mcp.INTENT: "to learn"}), ("fake__echo", {"words": "aimless"})),
        calling(("fake__dance", {mcp.INTENT: "to dance"})),
        Behaviour(text="Tired."),
    )
    async with running(tmp_path, "sse") as server:  # over which servers tell at once that their tools have changed
        server_id = await serve(stack, server.url, transport="sse", model_intent=True, availability="force_on")
        async with worker(stack):
            chat_id = await stack.create("work", dynamic_tools=[{"name": "fake__echo"}, {"name": "own"}])
            await stack.rest(chat_id)
        assert server.entries("echo") == []
        [learnt] = server.entries("learn")
        assert learnt["arguments"] == {"name": "dance"}, "what it is for is not the server's business"
    assert "fake__dance" not in offered(stack, 0)
    assert "fake__dance" in offered(stack, 1)
    names = [tool["function"]["name"] for tool in stack.fake.received[0].body["tools"]]
    assert names.count("fake__echo") == names.count("own") == 1
    results = [each.content[0] for each in await stack.messages(chat_id) if each.role == "tool"]
    assert [each["result"] for each in results] == [
        {"output": "learnt"},
        {"error": f"Invalid arguments: {mcp.INTENT}: say what the call is for"},
        {"output": "I am dance"},
    ]
    assert results[0]["mcp_server_config_id"] == str(server_id)
