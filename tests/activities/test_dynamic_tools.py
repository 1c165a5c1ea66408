"""The laws of tools that the chat's client runs: how the model is told of them, and how a turn waits and goes on."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities import client_tools
from activities.draft import Draft
from activities.providers.provider import ToolCallDelta
from activities.sweep import Sweeping
from activities.tools.registry import TOOLS
from models.parts import to_rest, wire
from models.rules import history
from models.store import moves
from models.store.database import fetch
from models.store.moves import ClientResult
from models.tables.messages import Message
from tests.activities.stack import Stack, words_of, worker
from tests.activities.test_ahead import follower
from tests.fakes.behaviour import Behaviour
from workflows.client import workflow_id

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def calls(*names_and_arguments: tuple[str, Any], **more: Any) -> Behaviour:
    made = [
        {"id": f"c{place}", "name": name, "arguments": arguments}
        for place, (name, arguments) in enumerate(names_and_arguments)
    ]
    return Behaviour(tokens=1, tool_calls=made, **more)


async def create(stack: Stack, *tools: dict[str, Any], **more: Any) -> UUID:
    return await stack.create("what is the weather?", dynamic_tools=to_rest(list(tools or (WEATHER,))), **more)


async def asked(stack: Stack, chat_id: UUID) -> Any:
    return await stack.until(chat_id, lambda chat: chat.status == "requires_action")


async def submit(stack: Stack, chat_id: UUID, *results: ClientResult) -> None:
    await stack.move(chat_id, moves.complete_action, signal="tool_results_submitted", results=results)


def results_in(messages: Sequence[Message]) -> list[tuple[str, Any]]:
    return [(row.content[0]["tool_call_id"], row.content[0]["result"]) for row in messages if row.role == "tool"]


def offered(stack: Stack, place: int = 0) -> list[str]:
    """The names of the client's tools that the model was told of in this request."""
    ours = {tool.name for tool in TOOLS}
    told = [tool["function"]["name"] for tool in stack.fake.received[place].body.get("tools") or ()]
    assert [name in ours for name in told] == sorted((name in ours for name in told), reverse=True), "ours first"
    return [name for name in told if name not in ours]


async def test_a_call_of_the_clients_tool_waits_for_its_result_and_nothing_is_kept_open(stack: Stack) -> None:
    stack.fake.script(calls(("get_weather", {"city": "Köln"})), Behaviour(text="It rains."))
    async with worker(stack):
        chat_id = await create(stack)
        chat = await asked(stack, chat_id)
        assert chat.requires_action_deadline_at is not None
        while chat_id in await stack.temporal.running_chats():
            await asyncio.sleep(0.02)
        await submit(stack, chat_id, ClientResult("c0", {"sky": "grey"}))
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    _, call, result, answer = await stack.messages(chat_id)
    assert call.content[-1]["args"] == {"city": "Köln"}
    assert history.is_dynamic(call.content[-1])
    assert "provider_metadata" not in wire(call.content)[-1]
    assert result.content[0]["result"] == {"sky": "grey"}
    assert words_of(answer.content) == "It rains."
    first, second = stack.fake.received
    [told] = [tool["function"] for tool in first.body["tools"] if tool["function"]["name"] == "get_weather"]
    assert told == {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": WEATHER["input_schema"],
    }
    assert [message["role"] for message in second.body["messages"]][-3:] == ["user", "assistant", "tool"]
    assert json.loads(second.body["messages"][-1]["content"]) == {"sky": "grey"}


async def test_our_own_calls_of_the_step_are_run_and_committed_first(stack: Stack) -> None:
    stack.fake.script(
        calls(("get_weather", {}), ("current_time", {}), ("get_weather", {"city": "Bonn"})), Behaviour(text="done")
    )
    async with worker(stack):
        chat_id = await create(stack)
        await asked(stack, chat_id)
        assert [call_id for call_id, _ in results_in(await stack.messages(chat_id))] == ["c1"]
        await submit(stack, chat_id, ClientResult("c2", "b"), ClientResult("c0", "a"))
        await stack.rest(chat_id)
    assert [call_id for call_id, _ in results_in(await stack.messages(chat_id))] == ["c1", "c0", "c2"]
    last = stack.fake.received[-1].body["messages"][-3:]
    assert [message["tool_call_id"] for message in last] == ["c0", "c1", "c2"], "the model reads them in call order"


async def test_a_call_whose_arguments_are_no_json_is_answered_here_and_the_client_asked_for_the_rest(
    stack: Stack,
) -> None:
    stack.fake.script(
        calls(("get_weather", "{not json"), ("get_weather", "")),
        calls(("get_weather", "{not json")),
        Behaviour(text="I give up."),
    )
    async with worker(stack):
        chat_id = await create(stack)
        await asked(stack, chat_id)
        [(call_id, refused)] = results_in(await stack.messages(chat_id))
        assert (call_id, refused["error"][:18]) == ("c0", "Invalid arguments:")
        async with stack.database.read() as session:
            locked = await moves.lock(session, chat_id)
        assert [call["tool_call_id"] for call in locked.open_calls] == ["c1"]
        await submit(stack, chat_id, ClientResult("c1", None))
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert len(stack.fake.received) == 3


async def test_a_tool_of_ours_wins_its_name(stack: Stack) -> None:
    stack.fake.script(calls(("current_time", {})), Behaviour(text="done"))
    async with worker(stack):
        chat_id = await create(stack, {"name": "current_time"}, WEATHER)
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert offered(stack) == ["get_weather"]
    [(_, result)] = results_in(await stack.messages(chat_id))
    assert result["timezone"] == "UTC"


async def test_names_that_no_provider_takes_are_told_otherwise_and_given_back(stack: Stack) -> None:
    long = "x" * 70
    stack.fake.script(calls(("see_the_sky_", {})), Behaviour(text="done"))
    async with worker(stack):
        chat_id = await create(stack, {"name": "see the sky\x00"}, {"name": "see the sky?"}, {"name": long})
        await asked(stack, chat_id)
    assert offered(stack) == ["see_the_sky_", "x" * 64]
    call = wire((await stack.messages(chat_id))[1].content)[-1]
    assert (call["tool_name"], call["tool_call_id"]) == ("see the sky\x00", "c0")


@pytest.mark.parametrize("column", ["plan_mode = 'plan'", "mode = 'explore'"])
async def test_a_client_is_not_asked_while_the_chat_plans_or_explores(stack: Stack, column: str) -> None:
    stack.fake.script(calls(("get_weather", {})), Behaviour(text="as you wish"))
    chat_id = await create(stack, signal="")
    async with stack.database.begin() as session:
        await fetch(session, f"UPDATE chats SET {column} WHERE id = %(id)s", {"id": chat_id})
    async with worker(stack) as resources:
        await Sweeping(resources).sweep("test")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert offered(stack) == []
    [(_, result)] = results_in(await stack.messages(chat_id))
    assert result == {"error": "Tool not active in this turn: get_weather"}


async def test_a_client_that_is_late_is_answered_for_by_the_sweep_and_the_turn_goes_on(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"requires_action_timeout": timedelta(hours=1)})
    stack.fake.script(calls(("get_weather", {})), Behaviour(text="Nobody knows."))
    async with worker(stack) as resources:
        chat_id = await create(stack)
        await asked(stack, chat_id)
        assert (await Sweeping(resources).sweep("test")).expired == 0
        async with stack.database.begin() as session:
            late = "requires_action_deadline_at = requires_action_deadline_at - interval '1 hour'"
            await fetch(session, f"UPDATE chats SET {late} WHERE id = %(id)s", {"id": chat_id})
        swept = await asyncio.gather(Sweeping(resources).sweep("one"), Sweeping(resources).sweep("two"))
        chat = await stack.rest(chat_id)
    assert sum(each.expired for each in swept) == 1
    assert chat.status == "waiting"
    assert results_in(await stack.messages(chat_id)) == [("c0", {"error": history.CANCELLED_TIMEOUT})]
    assert (await stack.said(chat_id))[-1] == ("assistant", "Nobody knows.")


async def test_results_whose_nudge_was_lost_are_taken_up(stack: Stack) -> None:
    stack.fake.script(calls(("get_weather", {})), Behaviour(text="It rains."))
    # A worker that begins by itself what it hears of would need no nudge.
    async with worker(follower(stack)) as resources:
        chat_id = await create(stack)
        await asked(stack, chat_id)
        await stack.temporal.client.get_workflow_handle(workflow_id(chat_id)).result()
        while chat_id in await stack.temporal.running_chats():
            await asyncio.sleep(0.02)
        await stack.move(chat_id, moves.complete_action, signal="", results=[ClientResult("c0", 1)])
        assert (await Sweeping(resources).sweep("test")).nudged == 1
        await stack.rest(chat_id)
    assert (await stack.said(chat_id))[-1] == ("assistant", "It rains.")


async def test_results_that_come_while_the_run_still_closes_are_looked_at(stack: Stack) -> None:
    """A client that answers within the same moment, again and again: no answer waits for the sweep."""
    rounds = 12
    stack.fake.script(*[calls(("get_weather", {})) for _ in range(rounds)], Behaviour(text="enough"))
    async with worker(stack):
        chat_id = await create(stack)
        for _ in range(rounds):
            await asked(stack, chat_id)
            async with stack.database.read() as session:
                [call] = (await moves.lock(session, chat_id)).open_calls
            await submit(stack, chat_id, ClientResult(call["tool_call_id"], "again"))
        await stack.rest(chat_id)
    assert len(results_in(await stack.messages(chat_id))) == rounds
    assert (await stack.said(chat_id))[-1] == ("assistant", "enough")


async def test_a_stop_while_the_client_is_asked_runs_what_is_queued(stack: Stack) -> None:
    stack.fake.script(calls(("get_weather", {})), Behaviour(text="Hello."))
    async with worker(stack):
        chat_id = await create(stack)
        await asked(stack, chat_id)
        await stack.send(chat_id, "never mind, say hello")
        assert (await stack.chat(chat_id)).status == "requires_action"
        await stack.interrupt(chat_id, signal="queue_changed")
        await stack.rest(chat_id)
    assert results_in(await stack.messages(chat_id)) == [("c0", {"error": history.CANCELLED_BY_USER})]
    assert [role for role, _ in await stack.said(chat_id)] == ["user", "assistant", "tool", "user", "assistant"]


async def test_a_message_that_interrupts_the_waiting_is_answered_after_the_turn_has_ended(stack: Stack) -> None:
    stack.fake.script(calls(("get_weather", {})), Behaviour(text="Then not."), Behaviour(text="Hello."))
    async with worker(stack):
        chat_id = await create(stack)
        await asked(stack, chat_id)
        await stack.send(chat_id, "say hello", interrupt=True)
        await stack.rest(chat_id)
    assert [said for said in await stack.said(chat_id) if said[0] != "tool"][2:] == [
        ("assistant", "Then not."),
        ("user", "say hello"),
        ("assistant", "Hello."),
    ]


async def test_archiving_while_the_client_is_asked_leaves_no_call_open(stack: Stack) -> None:
    stack.fake.script(calls(("get_weather", {})))
    async with worker(stack) as resources:
        chat_id = await create(stack)
        await asked(stack, chat_id)
        async with stack.database.begin() as session:
            [moved] = await moves.archive(session, chat_id)
        await resources.temporal.nudge(
            chat_id, moved.chat["owner_id"], moved.chat["snapshot_version"], signal="interrupt_requested"
        )
        chat = await stack.rest(chat_id)
    assert (chat.status, chat.archived) == ("waiting", True)
    assert results_in(await stack.messages(chat_id)) == [("c0", {"error": history.CANCELLED_BEFORE_RESULT})]


def test_a_schema_that_is_none_is_told_as_no_arguments() -> None:
    chat = {"id": uuid4(), "plan_mode": None, "mode": None}
    told = client_tools.offered(
        {**chat, "dynamic_tools": [{"name": "a"}, {"name": "b", "input_schema": "x"}]}, lambda _: False
    )
    empty = {"type": "object", "properties": {}}
    assert [each["function"] for each in told.declarations] == [
        {"name": "a", "parameters": empty},
        {"name": "b", "parameters": empty},
    ]
    assert client_tools.offered({**chat, "dynamic_tools": None}, lambda _: False).declarations == ()


def test_a_call_of_the_clients_tool_is_shown_and_marked_as_the_clients_and_no_other_is() -> None:
    draft = Draft(client_tools={"see_the_sky_": "see the sky?"})
    pieces = [
        draft.add(ToolCallDelta(0, "a", "see_the_sky_", "")),
        draft.add(ToolCallDelta(0, arguments='{"now": true}')),
        draft.add(ToolCallDelta(1, "b", "see_the_sky_", "{cut")),
        draft.add(ToolCallDelta(2, "c", "current_time", "{}")),
    ]
    assert [piece["tool_name"] for piece in pieces if piece] == ["see the sky?"] * 3 + ["current_time"]
    draft.close()
    calls = draft.parts()
    assert [history.is_dynamic(call) for call in calls] == [True, False, False]
    assert [call["tool_call_id"] for call in history.local(calls)] == ["b", "c"]
