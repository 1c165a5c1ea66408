"""The laws of the tools step: side by side, one result a call, in call order, failures are results."""

import asyncio
import re
from typing import Any

import pytest
from pydantic import BaseModel

from activities.tools import results
from activities.tools.current_time import current_time
from activities.tools.registry import TOOLS, Toolbox
from activities.tools.tool import Tool, ToolContext, ToolFailed
from models.rules.history import CANCELLED_BEFORE_RESULT
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
        self.tool = Tool("wait", Wait, self.run)

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
    assert [tool["function"]["name"] for tool in first.body["tools"]] == ["current_time"]
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
    assert parts[0]["result"] == {"error": CANCELLED_BEFORE_RESULT}


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


@pytest.mark.parametrize(
    ("outcome", "stored"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("plain words", {"output": "plain words"}),
        (b"\xff raw", {"output": "\ufffd raw"}),
        ({"a": 1}, {"a": 1}),
        ("", {"output": ""}),
    ],
)
def test_outcomes_are_stored_as_json(outcome: Any, stored: Any) -> None:
    assert results.normalised(outcome) == stored


async def test_the_clock_knows_time_zones_and_refuses_others() -> None:
    context = ToolContext.__new__(ToolContext)
    told = await current_time.run(current_time.arguments(timezone="Europe/Berlin"), context)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00", told["time"])
    for wrong in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ToolFailed):
            await current_time.run(current_time.arguments(timezone=wrong), context)


def test_a_tool_is_declared_by_its_modules_name_and_its_arguments_words() -> None:
    [declaration] = Toolbox(TOOLS).declarations
    function = declaration["function"]
    assert function["name"] == "current_time"
    assert function["description"].startswith("Tell the current date and time.")
    assert function["parameters"]["properties"]["timezone"]["description"]
    assert "required" not in function["parameters"], "some providers refuse an empty list"
