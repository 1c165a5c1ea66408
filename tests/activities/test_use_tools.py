"""The laws of the tools step: side by side, one result a call, in call order, failures are results."""

import asyncio
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import BaseModel

from activities.tools.current_time import current_time
from activities.tools.endings import ToolFailed
from activities.tools.fetch_url import fetch_url
from activities.tools.registry import TOOLS, Toolbox, configured
from activities.tools.tool import Media, Tool, ToolContext, Where
from models.parts import from_rest
from models.rules import tool_results
from models.rules.executions import Policy
from models.rules.history import CANCELLED_BEFORE_RESULT
from models.settings import Settings
from models.store import moves
from models.store.database import fetch
from tests.activities.stack import Stack, words_of, worker
from tests.fakes.behaviour import Behaviour


class Wait(BaseModel):
    """Wait until told."""

    name: str = ""


class Gate:
    """A tool that waits until the test lets the call of that name go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open: dict[str, asyncio.Event] = {}
        self.tool = Tool("wait", Wait, self.run, Policy.PURE)

    async def run(self, arguments: Wait, _context: ToolContext) -> Any:
        self.begun.append(arguments.name)
        await self.open.setdefault(arguments.name, asyncio.Event()).wait()
        return f"{arguments.name} is done"

    async def all_begun(self, count: int) -> None:
        while len(self.begun) < count:
            await asyncio.sleep(0.01)


async def refuse(_arguments: Wait, _context: ToolContext) -> Any:
    raise ToolFailed("not today")


async def break_down(_arguments: Wait, _context: ToolContext) -> Any:
    raise RuntimeError("a bug")


def calls(*names_and_arguments: tuple[str, Any]) -> Behaviour:
    return Behaviour(
        tokens=1,
        tool_calls=[
            {"id": f"c{place}", "name": name, "arguments": arguments}
            for place, (name, arguments) in enumerate(names_and_arguments)
        ],
    )


async def test_a_call_is_run_and_its_result_goes_back_to_the_model(stack: Stack) -> None:
    stack.fake.script(calls(("current_time", {"timezone": "Asia/Tokyo"})), Behaviour(text="It is late."))
    async with worker(stack):
        chat_id = await stack.create("what time is it?")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    _, asked, result, answer = await stack.messages(chat_id)
    assert asked.content[-1]["args"] == {"timezone": "Asia/Tokyo"}
    assert (result.role, result.content[0]["tool_call_id"], result.content[0]["tool_name"]) == (
        "tool",
        "c0",
        "current_time",
    )
    assert result.content[0]["result"]["timezone"] == "Asia/Tokyo"
    assert words_of(answer.content) == "It is late."
    first, second = stack.fake.received
    unconditional = [tool for tool in TOOLS if not tool.needs_skills and not tool.needs_advisor]
    offered = {tool.name for tool in unconditional if Where.ROOT in tool.offered}
    assert {tool["function"]["name"] for tool in first.body["tools"]} == offered
    assert [message["role"] for message in second.body["messages"]] == ["user", "assistant", "tool"]


async def test_calls_run_side_by_side_and_are_committed_in_call_order(stack: Stack) -> None:
    gate = Gate()
    stack.fake.script(calls(("wait", {"name": "a"}), ("wait", {"name": "b"})), Behaviour(text="both"))
    async with worker(stack, gate.tool):
        chat_id = await stack.create("go")
        await gate.all_begun(2)
        gate.open["b"].set()
        await stack.streaming(chat_id, 2)
        gate.open["a"].set()
        await stack.rest(chat_id)
    results = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [(part["tool_call_id"], part["result"]) for part in results] == [
        ("c0", {"output": "a is done"}),
        ("c1", {"output": "b is done"}),
    ]
    revisions = {row.revision for row in await stack.messages(chat_id) if row.role == "tool"}
    assert len(revisions) == 1, "one commit"


async def test_what_a_tool_cannot_do_is_a_result_and_never_fails_the_turn(stack: Stack) -> None:
    stack.fake.script(
        calls(
            ("refuse", {}),
            ("break_down", {}),
            ("no_such_tool", {}),
            ("wait", {"name": ["not text"]}),
            ("current_time", "{not json"),
        ),
        Behaviour(text="I see."),
    )
    tools = (Tool("refuse", Wait, refuse), Tool("break_down", Wait, break_down), Gate().tool)
    async with worker(stack, *tools):
        chat_id = await stack.create("go")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    parts = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [part.get("is_error", False) for part in parts] == [True] * 5
    errors = [part["result"].get("error", "") for part in parts]
    assert errors[:3] == ["not today", "tool panicked: a bug", "Tool not found: no_such_tool"]
    assert errors[3].startswith("Invalid arguments: name:")
    assert errors[4].startswith("Invalid arguments: they are not valid JSON"), "it did not run with none instead"


async def give_up(_arguments: Wait, _context: ToolContext) -> Any:
    raise asyncio.CancelledError


async def test_a_tool_that_cancels_itself_is_answered_for_and_not_run_again(stack: Stack) -> None:
    stack.fake.script(calls(("give_up", {}), ("current_time", {})), Behaviour(text="I see."))
    async with worker(stack, Tool("give_up", Wait, give_up)):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    parts = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [part["tool_call_id"] for part in parts] == ["c0", "c1"]
    assert parts[0]["result"]["outcome"] == "unknown"


async def test_a_stop_during_tools_keeps_what_is_done_and_answers_the_rest(stack: Stack) -> None:
    gate = Gate()
    stack.fake.script(calls(("wait", {"name": "a"}), ("wait", {"name": "b"})))
    async with worker(stack, gate.tool):
        chat_id = await stack.create("go")
        await gate.all_begun(2)
        before = await stack.chat(chat_id)
        gate.open["b"].set()
        await stack.until_logged(chat_id, before.history_version)
        await stack.interrupt(chat_id)
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    parts = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [(part["tool_call_id"], part["result"]) for part in parts] == [
        ("c0", {"error": CANCELLED_BEFORE_RESULT}),
        ("c1", {"output": "b is done"}),
    ]
    assert len(stack.fake.received) == 1


async def test_a_worker_that_stops_during_tools_hands_them_over(stack: Stack) -> None:
    gate, later = Gate(), Gate()
    stack.fake.script(calls(("wait", {"name": "a"})), Behaviour(text="done"))
    async with worker(stack, gate.tool):
        chat_id = await stack.create("go")
        await gate.all_begun(1)
    later.open["a"] = asyncio.Event()
    later.open["a"].set()
    async with worker(stack, later.tool):
        await stack.rest(chat_id)
    assert [role for role, _ in await stack.said(chat_id)] == ["user", "assistant", "tool", "assistant"]


async def test_the_clock_knows_time_zones_and_refuses_others() -> None:
    context = ToolContext.__new__(ToolContext)
    told = await current_time.run(current_time.arguments(timezone="Europe/Berlin"), context)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00", told["time"])
    for wrong in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ToolFailed):
            await current_time.run(current_time.arguments(timezone=wrong), context)


def test_a_tool_is_declared_by_its_modules_name_and_its_arguments_words() -> None:
    [declaration] = Toolbox([current_time]).offered({"plan_mode": None})
    function = declaration["function"]
    assert function["name"] == "current_time"
    assert function["description"].startswith("Tell the current date and time.")
    assert function["parameters"]["properties"]["timezone"]["description"]
    assert "required" not in function["parameters"], "some providers refuse an empty list"


def test_a_deployment_can_do_without_the_web(settings: Settings) -> None:
    assert configured(settings).find("fetch_url") is fetch_url
    assert configured(settings.model_copy(update={"fetch_url": False})).find("fetch_url") is None


def test_a_tool_that_is_asked_what_happened_needs_something_that_answers() -> None:
    with pytest.raises(TypeError, match="probe"):
        Tool("wait", Wait, refuse, Policy.PROBE)


async def say(arguments: Wait, _context: ToolContext) -> Any:
    return arguments.name


async def test_an_exclusive_tool_among_others_keeps_all_from_running(stack: Stack) -> None:
    stack.fake.script(calls(("alone", {}), ("say", {"name": "a"}), ("current_time", {})), Behaviour(text="I see."))
    async with worker(stack, Tool("alone", Wait, break_down, exclusive=True), Tool("say", Wait, say)):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    parts = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [part["result"]["error"] for part in parts] == [
        "alone must be called alone",
        "skipped because alone must run alone",
        "skipped because alone must run alone",
    ]


async def test_an_exclusive_tool_alone_runs(stack: Stack) -> None:
    stack.fake.script(calls(("alone", {"name": "quiet"})), Behaviour(text="I see."))
    async with worker(stack, Tool("alone", Wait, say, exclusive=True)):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    [part] = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert part["result"] == {"output": "quiet"}


async def test_a_client_that_must_answer_a_call_is_not_asked_when_an_exclusive_tool_rejects_all(stack: Stack) -> None:
    stack.fake.script(calls(("alone", {}), ("theirs", {})), Behaviour(text="I see."))
    declared = [{"name": "theirs", "description": "x", "input_schema": {"type": "object", "properties": {}}}]
    async with worker(stack, Tool("alone", Wait, break_down, exclusive=True)):
        chat_id = await stack.create("go", dynamic_tools=declared)
        await stack.rest(chat_id)
    parts = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [part["result"]["error"] for part in parts][:2] == [
        "alone must be called alone",
        "skipped because alone must run alone",
    ]


async def test_a_tool_that_is_filtered_out_says_so(stack: Stack) -> None:
    stack.fake.script(calls(("say", {"name": "a"}), ("current_time", {})), Behaviour(text="I see."))
    async with worker(stack, Tool("say", Wait, say)):
        chat_id = await stack.create("go", plan_mode="plan")
        await stack.rest(chat_id)
    first, second = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert first["result"] == {"error": "Tool not active in this turn: say"}
    assert not second.get("is_error")
    offered = [tool["function"]["name"] for tool in stack.fake.received[0].body["tools"]]
    assert "say" not in offered


async def test_a_tool_that_takes_too_long_is_cut_short_and_what_may_have_happened_is_said(stack: Stack) -> None:
    gate, slow = Gate(), Gate()
    tools = [
        Tool(name, Wait, each.run, policy, timeout=timedelta(milliseconds=30))
        for name, each, policy in (("look", gate, Policy.PURE), ("act", slow, Policy.ONCE))
    ]
    stack.fake.script(calls(("look", {}), ("act", {})), Behaviour(text="I see."))
    async with worker(stack, *tools):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    looked, acted = [row.content[0]["result"] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert looked == {"error": "The tool call timed out after 0.03 s."}
    assert acted == {
        "error": f"The tool call timed out after 0.03 s. {tool_results.MAY_HAVE_HAPPENED}",
        "outcome": "unknown",
    }


async def paint(_arguments: Wait, _context: ToolContext) -> Any:
    return Media(b"\x89PNG" * 500_000, "image/png", "a picture")


async def flood(_arguments: Wait, _context: ToolContext) -> Any:
    return "äb\x00\n" * 400_000


async def test_a_result_of_two_megabytes_breaks_no_limit(stack: Stack) -> None:
    stack.fake.script(calls(("flood", {}), ("paint", {})), Behaviour(text="That is a lot."))
    async with worker(stack, Tool("flood", Wait, flood), Tool("paint", Wait, paint)):
        chat_id = await stack.create("go")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting", chat.last_error
    *_, text, media, answer = await stack.messages(chat_id)
    assert words_of(answer.content) == "That is a lot."
    output = from_rest(text.content[0]["result"]["output"])
    assert re.search(r"\d+ bytes were removed", output)
    assert len(orjson.dumps(text.content[0]["result"])) <= tool_results.budget(100_000)
    assert output.startswith("äb\x00\n")
    assert media.content[0]["is_media"] is True
    assert len(media.content[0]["result"]["data"]) > 2_000_000, "media is untouched"


async def test_a_stop_is_served_although_tools_hold_every_slot(stack: Stack) -> None:
    gate = Gate()
    stack.settings = stack.settings.model_copy(update={"tool_slots": 1})
    stack.fake.script(calls(("wait", {"name": "a"})))
    async with worker(stack, gate.tool):
        busy = await stack.create("go")
        await gate.all_begun(1)
        stopped = await stack.create("stop me", signal="")
        async with stack.database.begin() as session:
            await moves.open_attempt(session, stopped, max_attempts=25, max_steps=1200)
        await stack.interrupt(stopped, signal="woken")
        assert (await stack.rest(stopped)).status == "waiting"
        assert (await stack.chat(busy)).status == "running"
        gate.open["a"].set()


async def results_of(stack: Stack, chat_id: UUID) -> list[Any]:
    return [row.content[0]["result"] for row in await stack.messages(chat_id) if row.role == "tool"]


async def test_a_stop_during_a_call_that_may_have_happened_says_so(stack: Stack) -> None:
    gate, look = Gate(), Gate()
    stack.fake.script(calls(("act", {"name": "a"}), ("look", {"name": "b"})))
    async with worker(stack, Tool("act", Wait, gate.run), Tool("look", Wait, look.run, Policy.PURE)):
        chat_id = await stack.create("go")
        await gate.all_begun(1)
        await look.all_begun(1)
        await stack.interrupt(chat_id)
        assert (await stack.rest(chat_id)).status == "waiting"
    acted, looked = await results_of(stack, chat_id)
    assert acted == {"error": tool_results.UNKNOWN_AFTER_STOP, "outcome": "unknown"}
    assert looked == {"error": CANCELLED_BEFORE_RESULT}


async def test_what_a_stopping_worker_hands_over_is_taken_up_by_each_tools_policy(stack: Stack) -> None:
    """What was done is not done again, what may have happened is not either, and what bears it is run again."""

    def tools(done: Gate, once: Gate, again: Gate) -> list[Tool]:
        return [
            Tool("done", Wait, done.run),
            Tool("once", Wait, once.run),
            Tool("again", Wait, again.run, Policy.IDEMPOTENT),
        ]

    first, second = [Gate(), Gate(), Gate()], [Gate(), Gate(), Gate()]
    for gate in (first[0], second[2]):
        gate.open["x"] = asyncio.Event()
        gate.open["x"].set()
    stack.fake.script(calls(*((name, {"name": "x"}) for name in ("done", "once", "again"))), Behaviour(text="I see."))
    async with worker(stack, *tools(*first)):
        chat_id = await stack.create("go")
        for gate in first:
            await gate.all_begun(1)
        await succeeded(stack, chat_id)
    async with worker(stack, *tools(*second)) as resources:
        await stack.rest(chat_id)
        unknown = resources.meters.registry.get_sample_value("turnstone_unknown_effects_total", {"tool": "once"})
    done, once, again = await results_of(stack, chat_id)
    assert (done, again) == ({"output": "x is done"}, {"output": "x is done"})
    assert once == {"error": tool_results.UNKNOWN_AFTER_CRASH, "outcome": "unknown"}
    assert [gate.begun for gate in second] == [[], [], ["x"]]
    assert unknown == 1


async def succeeded(stack: Stack, chat_id: UUID) -> None:
    """Wait until the ledger knows of a call that succeeded."""
    query = "SELECT FROM tool_executions WHERE chat_id = %(chat)s AND state = 'succeeded'"
    while True:
        async with stack.database.read() as session:
            if await fetch(session, query, {"chat": chat_id}):
                return
        await asyncio.sleep(0.01)
