"""A turn's calls under budgets: reserved before, settled after, shortened or refused where there is no room."""

import asyncio
import os
from typing import Any
from uuid import UUID

import orjson

from models.store.database import Row, fetch
from models.tables.budgets import Budget
from tests.activities.stack import Stack, worker
from tests.activities.test_cost import PRICES
from tests.activities.test_title import sought, unnamed
from tests.fakes.behaviour import Behaviour
from tests.models.store.test_reserving import AT_ONCE, GUARD, GUARDED, left, release
from tests.seeds import insert

SENDS = int(os.environ.get("TURNSTONE_TEST_SENDS", "120")) // 10
LONGEST = 4000  # tokens: 60,000 micro-dollars


async def priced(stack: Stack) -> None:
    options = orjson.dumps({"cost": PRICES, "max_output_tokens": LONGEST}).decode()
    async with stack.database.begin() as session:
        await fetch(session, "UPDATE chat_model_configs SET options = %(o)s::jsonb", {"o": options})


async def budget(stack: Stack, limit: int, scope: str = "organization", scope_id: UUID | None = None) -> None:
    organization = stack.world.organization_id
    made = Budget(organization_id=organization, scope=scope, scope_id=scope_id or organization, limit_micros=limit)
    made.warn_percents = []
    async with stack.database.begin() as session:
        await insert(session, made)


async def standing(stack: Stack) -> Row:
    """The organization's budget, and what its chats' calls have cost."""
    async with stack.database.read() as session:
        rows = await fetch(
            session,
            "SELECT s.*, b.limit_micros, "
            "(SELECT coalesce(sum(total_cost_micros), 0)::bigint FROM chat_messages) AS paid "
            "FROM budget_periods s JOIN budgets b ON b.id = s.budget_id WHERE b.scope = 'organization'",
        )
    return rows[0]


def asked(stack: Stack) -> list[Any]:
    """The bodies of the calls for an answer; those for titles have no tools."""
    return [each.body for each in stack.fake.received if each.body.get("tools")]


async def test_a_turn_with_tools_and_its_title_settle_exactly_what_they_cost(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 10_000_000)
    call = {"name": "current_time", "arguments": {}}
    async with worker(stack):
        titled = await unnamed(stack)
        await stack.rest(titled)
        reply = await sought(stack, titled)
        stack.fake.script(Behaviour(tool_calls=[call]), Behaviour(tokens=5))
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
    assert reply.charged
    found = await standing(stack)
    assert found["paid"] > 0
    assert (found["settled_micros"], found["estimated_micros"]) == (found["paid"], 0)
    assert (found["reserved_micros"], found["overrun_micros"]) == (0, 0)
    assert all(body["max_tokens"] == LONGEST for body in asked(stack))


async def test_an_answer_is_shortened_to_what_the_budget_has_left(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 90_000)  # an answer of LONGEST, and less than what goes before it
    stack.fake.script(Behaviour(tokens=5))
    async with worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    [body] = asked(stack)
    assert 1024 <= body["max_tokens"] < LONGEST
    assert 15 * body["max_tokens"] + 3 * len(orjson.dumps([body["messages"], body["tools"]])) <= 90_000


async def test_a_call_that_does_not_fit_is_not_made_and_the_turn_ends_visibly(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 15_000)  # 1000 tokens: less than the shortest answer worth its prompt
    async with worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert asked(stack) == []
    assert chat.status == "error"
    assert chat.last_error is not None
    assert (chat.last_error["kind"], chat.last_error["retryable"]) == ("usage_limit", False)
    assert await stack.said(chat_id) == [("user", "hello")]
    found = await standing(stack)
    assert (found["settled_micros"], found["reserved_micros"]) == (0, 0)


async def test_a_refusal_costs_nothing_and_a_cut_answer_is_estimated(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 10_000_000)
    stack.fake.script(Behaviour(status=500), Behaviour(tokens=40, cut_after=20), Behaviour(tokens=5))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
    found = await standing(stack)
    assert found["reserved_micros"] == 0
    assert found["settled_micros"] == found["paid"] + found["estimated_micros"]
    assert found["estimated_micros"] > 0


async def test_sends_that_race_through_workers_that_stop_exceed_no_budget(stack: Stack) -> None:
    await priced(stack)
    async with stack.database.begin() as session:
        await fetch(session, GUARD)
        await fetch(session, GUARDED)
    await budget(stack, SENDS * 8_000 + 60_000)
    await budget(stack, SENDS * 7_000 + 60_000, "user", stack.world.owner_id)
    room = asyncio.Semaphore(AT_ONCE)

    async def create() -> UUID:
        async with room:
            return await stack.create('hello @fake {"tokens": 30, "interval_ms": 5}')

    async with worker(stack):
        first = await asyncio.gather(*(create() for _ in range(SENDS // 2)))
        await stack.until(first[0], lambda chat: chat.status != "pending")
    async with worker(stack):  # the first one's turns are taken over
        second = await asyncio.gather(*(create() for _ in range(SENDS - SENDS // 2)))
        chats = [await stack.rest(chat_id) for chat_id in (*first, *second)]
    for chat in chats:
        said = await stack.said(chat.id)
        if chat.status == "error":
            assert chat.last_error is not None
            assert chat.last_error["kind"] == "usage_limit"
        else:
            assert [role for role, _ in said] == ["user", "assistant"]
    await release(stack.database)
    assert await left(stack.database) == []
    found = await standing(stack)
    assert found["reserved_micros"] == 0
    assert found["settled_micros"] <= found["limit_micros"]
    assert found["settled_micros"] - found["estimated_micros"] == found["paid"]
