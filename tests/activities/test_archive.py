"""Archiving a chat at work, on a real worker: the stream ends at once, the partial answer stays, nothing runs on."""

import asyncio
from uuid import UUID

import pytest

from models.store import moves
from models.store.database import fetch
from models.tables.chats import Chat
from tests.activities.stack import Stack, words_of, worker
from tests.fakes.behaviour import Behaviour

LONG = Behaviour(tokens=2000, interval_ms=10)


async def archive(stack: Stack, chat_id: UUID, *, nudged: bool = True) -> None:
    async with stack.database.begin() as session:
        moved = await moves.archive(session, chat_id)
    for each in moved:
        if nudged and each.nudge:
            await stack.nudge(each, "interrupt_requested")


async def at_rest(stack: Stack, chat_id: UUID) -> Chat:
    return await stack.until(chat_id, lambda chat: chat.archived and chat.status == "waiting")


@pytest.mark.parametrize("nudged", [True, False], ids=["nudged", "nudge lost"])
async def test_archiving_cuts_the_stream_keeps_the_partial_and_promotes_nothing(stack: Stack, nudged: bool) -> None:
    stack.fake.script(LONG, Behaviour(text="never said"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id, 3)
        await stack.send(chat_id, "queued")
        await archive(stack, chat_id, nudged=nudged)
        await at_rest(stack, chat_id)
        await asyncio.wait_for(stack.fake.received[0].ended.wait(), 60)
    assert stack.fake.received[0].closed_by_client_at is not None
    assert len(stack.fake.received) == 1
    [_, partial] = await stack.messages(chat_id)
    assert 0 < len(words_of(partial.content).split()) < 2000


async def test_what_was_queued_runs_when_the_chat_is_back_and_spoken_to(stack: Stack) -> None:
    stack.fake.script(LONG, Behaviour(text="second"), Behaviour(text="third"))
    async with worker(stack):
        chat_id = await stack.create("one")
        await stack.streaming(chat_id)
        await stack.send(chat_id, "two")
        await archive(stack, chat_id)
        await at_rest(stack, chat_id)
        async with stack.database.begin() as session:
            await moves.unarchive(session, chat_id)
        assert (await stack.chat(chat_id)).status == "waiting"
        await stack.send(chat_id, "three", signal="woken")
        await stack.rest(chat_id)
    assert (await stack.said(chat_id))[2:] == [
        ("user", "two"),
        ("assistant", "second"),
        ("user", "three"),
        ("assistant", "third"),
    ]


async def test_a_family_at_work_stops_together(stack: Stack) -> None:
    stack.fake.script(LONG, LONG)
    async with worker(stack):
        root, child = await stack.create("root"), await stack.create("child")
        async with stack.database.begin() as session:
            await fetch(
                session,
                "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(child)s",
                {"root": root, "child": child},
            )
        for chat_id in (root, child):
            await stack.streaming(chat_id, 2)
        await archive(stack, root)
        for chat_id in (root, child):
            await at_rest(stack, chat_id)
    for chat_id in (root, child):
        assert [role for role, _ in await stack.said(chat_id)] == ["user", "assistant"]


async def test_archiving_during_the_back_off_ends_it(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=429, retry_after="600"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.until(chat_id, lambda chat: chat.retry_state is not None)
        await archive(stack, chat_id)
        chat = await at_rest(stack, chat_id)
    assert chat.retry_state is None
    assert len(stack.fake.received) == 1
