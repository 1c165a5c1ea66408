"""What a turn costs, from the provider's own count of tokens to the owner's running total."""

from typing import Any

import orjson

from models.store import usage
from models.store.database import Database, fetch
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour

PRICES = {
    "input_price_per_million_tokens": "3",
    "output_price_per_million_tokens": "15",
    "cache_read_price_per_million_tokens": "0.3",
    "cache_write_price_per_million_tokens": "3.75",
}


async def price(database: Database, options: str) -> None:
    async with database.begin() as session:
        await fetch(session, "UPDATE chat_model_configs SET options = %(options)s::jsonb", {"options": options})


async def spent(stack: Stack) -> list[dict[str, Any]]:
    async with stack.database.read() as session:
        return await fetch(
            session,
            "SELECT owner_id, organization_id, day = (now() AT TIME ZONE 'UTC')::date AS today, "
            "spent_micros FROM chat_spend",
        )


async def test_a_turn_is_paid_for_by_category_and_added_to_its_owners_total(stack: Stack) -> None:
    await price(stack.database, orjson.dumps({"cost": PRICES}).decode())
    stack.fake.script(Behaviour(tokens=5, reasoning=3, cached_tokens=4, reasoning_tokens=3), Behaviour(tokens=1))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
        await stack.send(chat_id, "and again")
        await stack.rest(chat_id)
    first, second = [message for message in await stack.messages(chat_id) if message.role == "assistant"]
    counts = (first.input_tokens, first.output_tokens, first.cache_read_tokens, first.reasoning_tokens)
    assert counts == (20, 8, 4, 3)
    # 20 x 3 + 8 x 15 + 4 x 0.3 = 181.2, and the three of reasoning are among the eight
    assert first.total_cost_micros == 182
    assert second.total_cost_micros
    assert await spent(stack) == [
        {
            "owner_id": stack.world.owner_id,
            "organization_id": stack.world.organization_id,
            "today": True,
            "spent_micros": 182 + second.total_cost_micros,
        }
    ]


async def test_a_model_without_prices_costs_nothing_that_is_known(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=5))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
    answer = (await stack.messages(chat_id))[-1]
    assert answer.input_tokens
    assert answer.total_cost_micros is None
    assert await spent(stack) == []


async def test_an_answer_that_says_nothing_is_paid_for_and_not_seen(stack: Stack) -> None:
    await price(stack.database, orjson.dumps({"cost": PRICES}).decode())
    stack.fake.script(Behaviour(empty=True))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
    assert [message.role for message in await stack.messages(chat_id)] == ["user"]
    async with stack.database.read() as session:
        cost = await usage.of_chat(session, chat_id)
    [total] = await spent(stack)
    # 20 tokens of input
    assert cost["total_cost_micros"] == total["spent_micros"] == 60
