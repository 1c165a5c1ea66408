"""The laws of advice that is cut off by a stop, a kill or a lost fence: nothing stays reserved, none is paid twice."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest

from activities.attempt import Attempt
from activities.resources import open_resources
from activities.use_tools import ToolsStep
from models.failpoints import Failpoints
from models.parts import tool_result_delta
from models.rules import history
from models.steps import Then
from models.store import advice, moves
from models.store.moves import StepRow
from models.store.stream import Episode, LogRow, write
from tests.activities.advised import DONE, asks, configure, nested, query, results
from tests.activities.stack import Stack, worker
from tests.activities.test_budgets import budget, priced, standing
from tests.activities.test_ledger_kills import Killed
from tests.activities.test_tool_kills import doomed
from tests.fakes.behaviour import Behaviour
from tests.models.store.chats import born, opened

ENDLESS = Behaviour(tokens=30_000, interval_ms=20)  # longer than any test, on a busy machine as well


async def test_a_stop_while_it_thinks_closes_its_stream_and_settles_what_was_reserved(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 10_000_000)
    await configure(stack)
    stack.fake.script(asks("why?"), ENDLESS)
    async with worker(stack):
        chat_id = await stack.create("go")
        while len(nested(stack)) < 1 or not await shown(stack, chat_id):
            await asyncio.sleep(0.02)
        await stack.interrupt(chat_id)
        chat = await stack.rest(chat_id)
        received = stack.fake.received[-1]
        await received.ended.wait()
    assert chat.status == "waiting"
    assert received.tokens_sent < ENDLESS.tokens
    assert await results(stack, chat_id) == [{"error": history.CANCELLED_BEFORE_RESULT}]
    found = await standing(stack)
    assert found["reserved_micros"] == 0
    assert found["settled_micros"] == found["paid"] + found["estimated_micros"]
    assert found["estimated_micros"] > 0, "what it had said was not for nothing"
    [kept] = await query(stack.database, "SELECT state FROM tool_executions")
    assert kept["state"] == "failed", "nothing can have happened"


async def shown(stack: Stack, chat_id: UUID) -> bool:
    """Has the advisor been heard?"""
    statement = "SELECT FROM stream_log WHERE chat_id = %(id)s AND part ? 'result_delta'"
    return bool(await query(stack.database, statement, id=chat_id))


async def test_a_worker_killed_while_it_thinks_costs_no_use_and_leaves_nothing_reserved(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 10_000_000)
    await configure(stack, max_uses_per_run=1)
    stack.fake.script(asks("why?"), ENDLESS, Behaviour(text="Because."), DONE)
    process = await doomed(stack)
    try:
        chat_id = await stack.create("go")
        while len(nested(stack)) < 1 or not await shown(stack, chat_id):
            await asyncio.sleep(0.02)
    finally:
        process.kill()
        await process.wait()
    async with worker(stack):
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    [told] = await results(stack, chat_id)
    assert (told["type"], told["advice"], told["remaining_uses"]) == ("advice", "Because.", 0)
    found = await standing(stack)
    assert found["reserved_micros"] == 0
    assert found["settled_micros"] == found["paid"] + found["estimated_micros"]
    assert found["estimated_micros"] > 0


async def test_a_stop_after_its_worker_died_makes_no_result_of_half_a_piece_of_advice(stack: Stack) -> None:
    chat_id = await asked_for(stack)
    attempt = await opened(stack.database, chat_id)
    fence, call = attempt.fence, {"tool_call_id": "a0", "tool_name": "advisor"}
    episode = Episode(fence.history_version, fence.generation_attempt)
    connection = await stack.database.connect()
    await write(connection, [LogRow(chat_id, episode, 1, "tool", orjson.dumps(tool_result_delta(call, "Beca")))])
    await connection.close()
    await stack.interrupt(chat_id)
    async with worker(stack):
        await stack.rest(chat_id)
    assert await results(stack, chat_id) == [{"error": history.CANCELLED_BEFORE_RESULT}]


async def asked_for(stack: Stack) -> UUID:
    """A chat whose model has just called the tool."""
    chat_id = await born(stack.database, stack.world)
    attempt = await opened(stack.database, chat_id)
    call = {"type": "tool-call", "tool_call_id": "a0", "tool_name": "advisor", "args": {"question": "why?"}}
    async with stack.database.begin() as session:
        await moves.commit_step(session, attempt.fence, [StepRow("assistant", [call])])
    return chat_id


class Once(Failpoints):
    """Kills once, at a named boundary."""

    def __init__(self, name: str) -> None:
        super().__init__(frozenset())
        self._name = name

    def hit(self, name: str) -> None:
        if name == self._name:
            self._name = ""
            raise Killed(name)


@pytest.mark.parametrize("boundary", ["worker.after_claim", "worker.after_effect", "worker.after_result"])
async def test_advice_that_was_paid_for_is_neither_asked_nor_charged_again(stack: Stack, boundary: str) -> None:
    await priced(stack)
    await configure(stack, max_uses_per_run=3)
    stack.fake.script(Behaviour(tokens=7))
    chat_id = await asked_for(stack)
    async with open_resources(stack.settings, stack.temporal) as resources:
        mortal = replace(resources, failpoints=Once(boundary))
        with pytest.raises(Killed):
            await Attempt(mortal, chat_id, Then.USE_TOOLS, ToolsStep(mortal)).run()
        reply = await Attempt(mortal, chat_id, Then.USE_TOOLS, ToolsStep(mortal)).run()
    assert reply.then is Then.GENERATE
    [told] = await results(stack, chat_id)
    assert (told["type"], told["remaining_uses"]) == ("advice", 2)
    assert len(stack.fake.received) == 1
    hidden = await query(stack.database, "SELECT total_cost_micros FROM chat_messages WHERE deleted")
    assert [row["total_cost_micros"] for row in hidden] == [told["usage"]["total_cost_micros"]]


async def test_a_payment_that_is_kept_twice_is_charged_once(stack: Stack) -> None:
    chat_id = await born(stack.database, stack.world)
    paid_as, row = uuid4(), StepRow("assistant", [], visibility="model", total_cost_micros=7)
    for _ in range(2):
        async with stack.database.begin() as session:
            chat = (await moves.lock(session, chat_id)).chat
            await advice.keep(session, chat, (1, "a0"), {"type": "advice"}, row, paid_as=paid_as)
    assert (await query(stack.database, "SELECT spent_micros FROM chats"))[0]["spent_micros"] == 7


async def test_an_answer_under_a_fence_that_was_lost_is_no_result(stack: Stack) -> None:
    """Its reservation is refused, and nothing is said of the call: who holds it now does that."""
    await priced(stack)
    await budget(stack, 10_000_000)
    await configure(stack)
    chat_id = await asked_for(stack)

    class Overtaken(Failpoints):
        def hit(self, name: str) -> None:
            if name == "worker.after_claim":
                with psycopg.connect(stack.settings.database_url, autocommit=True) as connection:
                    connection.execute("UPDATE chats SET generation_attempt = generation_attempt + 1")

    async with open_resources(stack.settings, stack.temporal) as resources:
        late = replace(resources, failpoints=Overtaken(frozenset()))
        await Attempt(late, chat_id, Then.USE_TOOLS, ToolsStep(late)).run()
    assert stack.fake.received == []
    [kept] = await query(stack.database, "SELECT state FROM tool_executions")
    assert kept["state"] == "claimed"
