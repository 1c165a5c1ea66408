"""What meets a worker that stops, or a chat that somebody else holds: the turn goes on, once."""

import asyncio

from models.store import moves
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour


async def test_a_turn_that_finishes_just_as_its_worker_stops_is_followed_by_its_successor(stack: Stack) -> None:
    second = Behaviour(text="to the second")  # may be begun by the worker that stops, and again by the next
    stack.fake.script(Behaviour(tokens=20, interval_ms=10), second, second)
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.streaming(chat_id)
        await stack.send(chat_id, "second")
        while len(await stack.messages(chat_id)) < 2:
            await asyncio.sleep(0.001)
        # The first answer has just been committed; the worker is stopped on its way to the second one.
    async with worker(stack):
        chat = await stack.rest(chat_id)
    said = await stack.said(chat_id)
    assert (chat.status, [role for role, _ in said]) == ("waiting", ["user", "assistant", "user", "assistant"])
    assert [words for role, words in said if role == "user"] == ["first", "second"]
    assert said[-1] == ("assistant", "to the second")


async def test_a_chat_whose_row_is_held_is_waited_for_and_not_skipped(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="here"))
    chat_id = await stack.create("hello", signal="")
    async with worker(stack):
        async with stack.database.begin() as session:
            locked = await moves.lock(session, chat_id)
            chat = locked.chat
            await stack.temporal.nudge(chat["id"], chat["owner_id"], chat["snapshot_version"])
            await asyncio.sleep(0.5)  # the step is waiting for the row by now
            assert stack.fake.received == []
        assert (await stack.rest(chat_id)).status == "waiting"
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "here")]
