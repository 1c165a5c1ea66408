"""The demo provider does what its docstring says."""

from typing import Any

import pytest

from activities.providers.demo import DemoProvider
from activities.providers.provider import ModelRequest
from tests.activities.providers.asking import CLOCK, answer, calls, failure, text

SHELL = {"type": "function", "function": {"name": "execute", "parameters": {"type": "object"}}}


def say(words: str, *after: dict[str, Any], tools: tuple[dict[str, Any], ...] = ()) -> ModelRequest:
    return ModelRequest("demo", "demo-fast", [{"role": "user", "content": words}, *after], tools=tools)


async def test_it_says_that_it_is_a_demo_and_what_was_said() -> None:
    said = text(await answer(DemoProvider(), say("Hello, turtle!")))
    assert said.startswith("[demo] You said: Hello, turtle!")
    assert "made up by the demo provider" in said


async def test_it_reads_messages_made_of_parts() -> None:
    parts = ModelRequest("demo", "demo-fast", [{"role": "user", "content": [{"type": "text", "text": "Hi part"}]}])
    assert "Hi part" in text(await answer(DemoProvider(), parts))


async def test_long_is_that_many_words() -> None:
    assert len(text(await answer(DemoProvider(), say("long 250"))).split()) == 250


async def test_a_call_may_bring_its_arguments() -> None:
    chunks = await answer(DemoProvider(), say('call execute {"command": "ls {a}"}', tools=(SHELL,)))
    assert [(name, arguments) for _, name, arguments in calls(chunks)] == [("execute", '{"command": "ls {a}"}')]


async def test_arguments_that_are_not_json_are_none() -> None:
    chunks = await answer(DemoProvider(), say("call execute {oops", tools=(SHELL,)))
    assert [(name, arguments) for _, name, arguments in calls(chunks)] == [("execute", "{}")]


async def test_two_calls_are_two_calls() -> None:
    chunks = await answer(DemoProvider(), say("call execute and call current_time", tools=(CLOCK, SHELL)))
    assert [name for _, name, _ in calls(chunks)] == ["execute", "current_time"]
    assert len({call_id for call_id, _, _ in calls(chunks)}) == 2


async def test_a_tool_that_is_not_offered_is_not_called() -> None:
    assert calls(await answer(DemoProvider(), say("call current_time"))) == []


async def test_it_reports_what_the_tool_said() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "current_time", "arguments": "{}"}}
    asked = say(
        "call current_time",
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "noon"},
        tools=(CLOCK,),
    )
    assert "The tool said: noon" in text(await answer(DemoProvider(), asked))


async def test_a_new_question_may_call_again() -> None:
    asked = say(
        "call current_time",
        {"role": "tool", "tool_call_id": "c", "content": "noon"},
        {"role": "assistant", "content": "It is noon."},
        {"role": "user", "content": "call current_time again"},
        tools=(CLOCK,),
    )
    assert len(calls(await answer(DemoProvider(), asked))) == 1


@pytest.mark.parametrize("status", [401, 429, 500, 529])
async def test_it_fails_as_asked(status: int) -> None:
    assert (await failure(DemoProvider(), say(f"please fail {status}"))).status == status


async def test_failing_once_is_over_at_the_second_attempt() -> None:
    demo = DemoProvider()
    assert (await failure(demo, say("fail 500 once"))).status == 500
    assert text(await answer(demo, say("fail 500 once")))


async def test_nothing_said_is_answered_too() -> None:
    assert "nothing" in text(await answer(DemoProvider(), ModelRequest("demo", "demo-fast", [])))
