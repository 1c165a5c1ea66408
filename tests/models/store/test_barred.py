"""Whoever is suspended or gone has no turn begin or go on; what they had queued is there when they are back."""

from typing import Any
from uuid import UUID

import pytest

from models.parts import text
from models.rules.states import State, classify
from models.steps import Then
from models.store import moves
from models.store.database import Database, fetch
from tests.models.store.chats import chat_in, opened, send, snapshot
from tests.seeds import World

WITH_QUEUE = (State.R1, State.I1, State.A1)


async def bar(database: Database, world: World, what: str = "status = 'suspended'") -> None:
    async with database.begin() as session:
        await fetch(session, f"UPDATE users SET {what} WHERE id = %(id)s", {"id": world.owner_id})


async def state_of(database: Database, chat_id: UUID) -> tuple[State, list[Any], int]:
    chat, messages, queue = await snapshot(database, chat_id)
    return classify(chat["status"], chat["archived"], bool(queue)), [row["content"] for row in queue], len(messages)


async def stop(database: Database, chat_id: UUID) -> None:
    """As the sweep does, and then the worker that hears of it."""
    async with database.begin() as session:
        await moves.stop_barred(session, chat_id)
    async with database.begin() as session:
        await moves.finish_interruption(session, chat_id, [], episode=None)


@pytest.mark.parametrize("what", ["status = 'suspended'", "deleted = true"])
@pytest.mark.parametrize("state", [State.R0, State.A0, *WITH_QUEUE])
async def test_what_was_at_work_comes_to_rest_and_its_queue_is_kept(
    database: Database, seed: World, state: State, what: str
) -> None:
    chat_id = await chat_in(database, seed, state)
    _, queued, before = await state_of(database, chat_id)
    await bar(database, seed, what)
    await stop(database, chat_id)
    landed, kept, after = await state_of(database, chat_id)
    assert (landed, kept) == (State.W1 if state in WITH_QUEUE else State.W, queued)
    assert after - before == (state in (State.A0, State.A1)), "only what a client was asked for has got an answer"


@pytest.mark.parametrize("state", [State.R0, State.R1])
async def test_no_step_begins_and_the_one_that_runs_may_end_and_promotes_nothing(
    database: Database, seed: World, state: State
) -> None:
    late, running = await chat_in(database, seed, state), await chat_in(database, seed, state)
    fence = (await opened(database, running)).fence
    await bar(database, seed)
    found = await opened(database, late)
    assert found.reply is not None
    assert found.reply.then is Then.INTERRUPT
    async with database.begin() as session:
        reply = await moves.commit_step(session, fence, [moves.StepRow("assistant", [text("the end")])])
    assert reply.then is Then.REST
    assert (await state_of(database, running))[0] is (State.W1 if state is State.R1 else State.W)


async def test_who_comes_back_finds_chats_as_they_were_and_goes_on_where_the_queue_begins(
    database: Database, seed: World
) -> None:
    chat_id, at_rest = await chat_in(database, seed, State.R1), await chat_in(database, seed, State.E1)
    before = await snapshot(database, at_rest)
    await bar(database, seed)
    for each in (chat_id, at_rest):
        await stop(database, each)
    await bar(database, seed, "status = 'active'")
    assert await snapshot(database, at_rest) == before
    assert (await state_of(database, chat_id))[0] is State.W1
    moved = await send(database, seed, chat_id, "and more")
    assert moved.state is State.R1
    assert [row["content"][0]["text"] for row in moved.messages] == ["queued"]
    assert (await opened(database, chat_id)).reply is None


async def test_of_anybody_else_nothing_is_stopped(database: Database, seed: World) -> None:
    for state in (State.R0, State.R1, State.A0, State.W):
        chat_id = await chat_in(database, seed, state)
        before = await snapshot(database, chat_id)
        async with database.begin() as session:
            await moves.stop_barred(session, chat_id)
        assert await snapshot(database, chat_id) == before
