"""The laws of the advisor, end to end: what it is asked, what it costs, and that it never fails a turn."""

import asyncio
import json
from typing import Any
from uuid import UUID

import orjson

from models.parts import to_rest
from models.rules import advisor
from models.store import usage
from models.tables.catalog import ModelConfig
from tests.activities.advised import DONE, asks, configure, nested, query, results
from tests.activities.stack import Stack, worker
from tests.activities.test_budgets import budget, priced, standing
from tests.activities.test_meters import value
from tests.activities.test_prompting import use_anthropic
from tests.activities.test_recorder import recording_worker, runs
from tests.fakes.behaviour import Behaviour
from tests.seeds import insert

TIME = {"id": "t0", "name": "current_time", "arguments": {}}


def system_of(body: Any) -> str:
    told = body.get("system") or [each for each in body["messages"] if each["role"] == "system"]
    return json.dumps(told)


def offers(body: Any) -> bool:
    return any("advisor" in (each.get("name"), each.get("function", {}).get("name")) for each in body.get("tools", ()))


async def test_advice_comes_from_a_call_without_tools_that_sees_the_newest_of_the_talk(stack: Stack) -> None:
    await configure(stack, max_uses_per_run=2)
    look = Behaviour(text="I look.", tool_calls=[TIME])
    stack.fake.script(look, asks("  Which way?  "), Behaviour(text="The left one."), DONE)
    async with worker(stack):
        chat_id = await stack.create("left or right?", system=["Be brief."])
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    time, result = await results(stack, chat_id)
    assert result.pop("usage")["input_tokens"] == 20
    assert result == {
        "type": "advice",
        "advice": "The left one.",
        "advisor_model": "openai-compat/fake-model",
        "remaining_uses": 1,
    }
    before, [asked], after = stack.fake.received[1].body, nested(stack), stack.fake.received[3].body
    assert offers(before)
    assert "tools" not in asked
    assert asked["max_tokens"] == 16_384
    system, *talk = asked["messages"]
    assert system["content"] == f"Be brief.\n\n{advisor.INSTRUCTIONS}"
    assert [each["content"] for each in talk] == [
        "left or right?",
        "I look.\n[called current_time with {}]",
        f"[current_time came to {json.dumps(time, separators=(',', ':'))}]",
        "w0 ",
        "<question>\nWhich way?\n</question>",
    ]
    assert before["messages"][0] == after["messages"][0]
    assert before["messages"][0]["content"] == f"Be brief.\n\n{advisor.GUIDANCE}"


async def test_each_kind_of_turn_is_offered_the_tool_where_it_is_told_of_it(stack: Stack) -> None:
    await configure(stack)
    kinds = [
        "plan_mode = 'plan'",
        "mode = 'explore'",
        "parent_chat_id = %(root)s, root_chat_id = %(root)s",
        "title = 'x'",
    ]
    bodies = []
    async with worker(stack):
        root = await stack.create("hello")
        await stack.rest(root)
        for kind in kinds:
            chat_id = await stack.create("hello")
            await stack.rest(chat_id)
            await query(stack.database, f"UPDATE chats SET {kind} WHERE id = %(id)s", id=chat_id, root=root)
            await stack.send(chat_id, "again")
            await stack.rest(chat_id)
            bodies.append(stack.fake.received[-1].body)
        await configure(stack, enabled=False)
        await stack.send(root, "again")
        await stack.rest(root)
        bodies.append(stack.fake.received[-1].body)
    assert [offers(body) for body in bodies] == [False, False, False, True, False]
    assert ["<advisor-guidance>" in system_of(body) for body in bodies] == [offers(body) for body in bodies]


async def test_uses_are_counted_a_turn_refunded_when_they_fail_and_end_in_a_limit(stack: Stack) -> None:
    await configure(stack, max_uses_per_run=1, max_output_tokens=99)
    stack.fake.script(
        asks("one?"),
        Behaviour(status=400, message="I refuse."),
        asks("two?"),
        Behaviour(empty=True),
        asks("   "),
        asks("three?"),
        Behaviour(text="Yes."),
        asks("four?"),
        DONE,
        asks("five?"),
        Behaviour(text="Sure."),
        DONE,
    )
    async with worker(stack) as resources:
        chat_id = await stack.create("go")
        assert (await stack.rest(chat_id)).status == "waiting"
        await stack.send(chat_id, "again")
        assert (await stack.rest(chat_id)).status == "waiting"
    told = await results(stack, chat_id)
    assert [(each["type"], each["remaining_uses"]) for each in told] == [
        ("error", 1),
        ("error", 1),
        ("error", 1),
        ("advice", 0),
        ("limit_reached", 0),
        ("advice", 0),
    ]
    assert "I refuse" not in told[0]["error"], "in our own words"
    assert [each["error"] for each in told[1:3]] == [advisor.NOTHING_SAID, advisor.NO_QUESTION]
    parts = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [part.get("is_error", False) for part in parts] == [True] * 3 + [False] * 3
    assert [body["max_tokens"] for body in nested(stack)] == [99] * 4
    meters = resources.meters
    for outcome in ("succeeded", "failed"):
        assert value(meters, "turnstone_tool_calls_total", tool="advisor", outcome=outcome) == 3


async def test_without_a_limit_the_steps_of_the_turn_are_the_limit(stack: Stack) -> None:
    await configure(stack)
    stack.fake.script(asks("one?"), Behaviour(text="Yes."), DONE)
    async with worker(stack):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    [told] = await results(stack, chat_id)
    assert told["remaining_uses"] == stack.settings.max_steps - 1


async def test_beside_a_call_of_ours_or_of_the_client_nothing_runs_and_the_turn_goes_on(stack: Stack) -> None:
    await configure(stack)
    weather = {"id": "w0", "name": "get_weather", "arguments": {}}
    ask = {"id": "a0", "name": "advisor", "arguments": {"question": "why?"}}
    stack.fake.script(
        Behaviour(tokens=1, tool_calls=[weather, ask, TIME]),
        Behaviour(tokens=1, tool_calls=[{**ask, "id": "a1"}, {**ask, "id": "a2"}]),
        DONE,
    )
    client_tools = [{"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}]
    async with worker(stack):
        chat_id = await stack.create("go", dynamic_tools=to_rest(client_tools))
        chat = await stack.until(chat_id, lambda chat: chat.status in ("waiting", "error", "requires_action"))
    assert chat.status == "waiting", "nobody was asked for a result"
    alone, skipped = "advisor must be called alone", "skipped because advisor must run alone"
    assert [each["error"] for each in await results(stack, chat_id)] == [skipped, alone, skipped, alone, alone]
    assert nested(stack) == []


async def test_what_it_says_is_streamed_as_part_of_the_call_and_a_retry_takes_it_back(stack: Stack) -> None:
    await configure(stack)
    stack.fake.script(asks("why?"), Behaviour(tokens=40, cut_after=3), Behaviour(text="Because."), DONE)
    async with worker(stack):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    [told] = await results(stack, chat_id)
    assert told["advice"] == "Because."
    rows = await query(
        stack.database,
        "SELECT part FROM stream_log WHERE chat_id = %(id)s AND part ->> 'type' = 'tool-result' "
        "ORDER BY history_version, generation_attempt, seq",
        id=chat_id,
    )
    shown = ""
    said = []
    for part in [row["part"] for row in rows]:
        assert (part["tool_call_id"], part["tool_name"]) == ("a0", "advisor")
        if part.get("result_reset"):
            said.append(shown)
            shown = ""
        shown += part.get("result_delta", "")
    assert said == ["w0 w1 w2 "]
    assert shown == "Because."
    assert rows[-1]["part"]["result"] == told


async def other_model(stack: Stack, name: str, **columns: Any) -> UUID:
    async with stack.database.begin() as session:
        config = ModelConfig(
            ai_provider_id=stack.world.provider_id, model=name, context_limit=50_000, is_default=False, options={}
        )
        for column, given in columns.items():
            setattr(config, column, given)
        await insert(session, config)
        return config.id


async def test_the_administrators_model_is_asked_and_the_chats_own_where_that_cannot_be(stack: Stack) -> None:
    chosen = await other_model(stack, "wise-model")
    await configure(stack, model_config_id=chosen)
    stack.fake.script(asks("one?"), Behaviour(text="Yes."), DONE, asks("two?"), Behaviour(text="No."), DONE)
    async with worker(stack) as resources:
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
        await query(stack.database, "UPDATE chat_model_configs SET enabled = false WHERE id = %(id)s", id=chosen)
        resources.catalog.forget()
        await stack.send(chat_id, "again")
        await stack.rest(chat_id)
    assert [body["model"] for body in nested(stack)] == ["wise-model", "fake-model"]
    told = [each["advisor_model"] for each in await results(stack, chat_id)]
    assert told == ["openai-compat/wise-model", "openai-compat/fake-model"]
    charged = await query(stack.database, "SELECT model_config_id FROM chat_messages WHERE deleted ORDER BY id")
    assert [row["model_config_id"] for row in charged] == [chosen, stack.world.model_config_id]


async def test_a_changed_setting_acts_on_the_next_turn_and_not_within_one(stack: Stack) -> None:
    await configure(stack, max_uses_per_run=1)
    stack.fake.script(Behaviour(tokens=60, interval_ms=20, tool_calls=[TIME]), asks("one?"), Behaviour(text="Yes."))
    async with worker(stack):
        chat_id = await stack.create("go")
        await stack.streaming(chat_id)
        await configure(stack, enabled=False)
        await stack.rest(chat_id)
        await stack.send(chat_id, "again")
        await stack.rest(chat_id)
    assert [offers(each.body) for each in stack.fake.received] == [True, True, False, True, False]
    assert [each["type"] for each in await results(stack, chat_id) if "type" in each] == ["advice"]


async def test_a_provider_that_refuses_calls_without_tools_is_shown_them_in_words(stack: Stack) -> None:
    await use_anthropic(stack, thinking={"budget_tokens": 1024})
    await configure(stack)
    look = Behaviour(reasoning=2, text="I look.", tool_calls=[TIME])
    stack.fake.script(look, asks("why?"), Behaviour(text="So."), DONE)
    async with worker(stack):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    assert (await results(stack, chat_id))[-1]["advice"] == "So."
    [body] = nested(stack)
    kinds = {block["type"] for each in body["messages"] for block in each["content"]}
    assert kinds == {"text"}
    assert "tools" not in body


async def test_what_is_paid_for_advice_is_in_the_cost_of_the_chat_and_of_its_budgets_to_the_micro(
    stack: Stack,
) -> None:
    await priced(stack)
    await budget(stack, 10_000_000)
    await configure(stack)
    stack.fake.script(
        asks("one?"),
        Behaviour(tokens=7, input_tokens=31),
        asks("two?"),
        Behaviour(empty=True, input_tokens=11),
        asks("three?"),
        Behaviour(status=400),
        DONE,
    )
    async with worker(stack) as resources:
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
    first, second, third = await results(stack, chat_id)
    assert first["usage"]["total_cost_micros"] == 31 * 3 + 7 * 15
    assert second["usage"]["total_cost_micros"] == 11 * 3
    assert "usage" not in third
    hidden = await query(stack.database, "SELECT * FROM chat_messages WHERE deleted ORDER BY id")
    assert [row["total_cost_micros"] for row in hidden] == [198, 33]
    assert all((row["role"], row["visibility"]) == ("assistant", "model") for row in hidden)
    assert all(row["runtime_ms"] is not None for row in hidden)
    answers = [row.total_cost_micros or 0 for row in await stack.messages(chat_id)]
    async with stack.database.read() as session:
        cost = await usage.of_chat(session, chat_id)
    assert cost["total_cost_micros"] == sum(answers) + 198 + 33
    [total] = await query(stack.database, "SELECT spent_micros FROM chat_spend")
    found = await standing(stack)
    assert total["spent_micros"] == found["settled_micros"] == cost["total_cost_micros"]
    assert (found["reserved_micros"], found["estimated_micros"]) == (0, 0)
    assert value(resources.meters, "turnstone_cost_micros_total", purpose="advisor") == 198 + 33
    counted = {"provider": "openai-compat", "purpose": "advisor"}
    assert value(resources.meters, "turnstone_tokens_total", type="input", **counted) == 31 + 11
    assert value(resources.meters, "turnstone_cost_micros_total", purpose="chat_turn") == sum(answers)


async def test_a_call_for_advice_is_recorded_like_others(stack: Stack) -> None:
    await configure(stack)
    stack.fake.script(asks("why?"), Behaviour(text="Because."), DONE)
    async with recording_worker(stack):
        chat_id = await stack.create("go")
        await stack.rest(chat_id)
        while not (kept := [each for each in await runs(stack, chat_id) if each["status"] == "completed"][1:]):
            await asyncio.sleep(0.02)
    [run] = [each for each in kept if each["kind"] == "quickgen"]
    [step] = run["steps"]
    assert "tools" not in step["normalized_request"]
    assert step["normalized_response"]["content"] == [{"type": "text", "text": "Because."}]


async def test_without_money_for_it_there_is_no_advice_and_the_turn_decides_for_itself(stack: Stack) -> None:
    dear = orjson.dumps({"cost": {"output_price_per_million_tokens": "1000"}}).decode()
    chosen = await other_model(stack, "dear-model")
    await query(
        stack.database, "UPDATE chat_model_configs SET options = %(o)s::jsonb WHERE id = %(id)s", o=dear, id=chosen
    )
    await budget(stack, 1_000)
    await configure(stack, model_config_id=chosen)
    stack.fake.script(asks("why?"), DONE)
    async with worker(stack):
        chat_id = await stack.create("go")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    [told] = await results(stack, chat_id)
    assert (told["type"], "budget" in told["error"]) == ("error", True)
    assert nested(stack) == []
