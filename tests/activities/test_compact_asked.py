"""The laws of summaries that people ask for, stop, edit away or watch."""

import asyncio

from activities.interrupt import rebuilt
from models.parts import text
from models.rules import compaction
from models.store.database import fetch
from tests.activities.compacting import FULL, asked, compact, configured, say, settled, shape, told
from tests.activities.stack import Stack, words_of, worker
from tests.fakes.behaviour import Behaviour


async def test_a_chat_at_rest_is_summarised_on_request_and_rests_again(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        before = await stack.rest(chat_id)
        await compact(stack, chat_id)
        chat = await settled(stack, chat_id, before.snapshot_version + 1)
        assert (chat.status, chat.last_error, chat.compaction_requested_at) == ("waiting", None, None)
        await say(stack, chat_id, "second")
    messages = await stack.messages(chat_id)
    assert shape(messages) == ["user", "assistant", "user/model*", "assistant/user*", "tool*", "user", "assistant"]
    assert messages[3].content[0]["args"]["source"] == "manual"
    assert asked(stack, 2) == compaction.PREFIX + "sum\n\nsecond"


async def test_a_chat_that_failed_is_summarised_on_request_and_goes_on_to_answer(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(status=401), Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        failed = await say(stack, chat_id, "second")
        assert failed.status == "error"
        await compact(stack, chat_id)
        chat = await settled(stack, chat_id, failed.snapshot_version + 1)
    assert (chat.status, chat.last_error) == ("waiting", None)
    assert words_of((await stack.messages(chat_id))[-1].content) == "two"


async def test_a_chat_that_was_stopped_is_summarised_on_request_without_an_answer(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(slow_first_token_ms=60_000), Behaviour(text="sum"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        await stack.send(chat_id, "second")
        while len(stack.fake.received) < 2:
            await asyncio.sleep(0.01)
        await stack.interrupt(chat_id)
        before = await stack.until(chat_id, lambda chat: chat.status == "waiting")
        await compact(stack, chat_id)
        chat = await settled(stack, chat_id, before.snapshot_version + 1)
    assert chat.status == "waiting"
    assert shape(await stack.messages(chat_id))[-4:] == ["user/model*", "assistant/user*", "tool*", "user/model"]
    assert len([request for request in stack.fake.received if request.finished]) == 2


async def test_what_is_queued_runs_after_a_summary_that_was_asked_for(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(text="sum", slow_first_token_ms=300), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        await compact(stack, chat_id)
        await stack.until(chat_id, lambda chat: chat.status == "running")
        chat = await say(stack, chat_id, "second")
    assert chat.status == "waiting"
    assert shape(await stack.messages(chat_id))[2:] == ["user/model*", "assistant/user*", "tool*", "user", "assistant"]


async def test_a_stop_during_a_summary_leaves_no_trace_of_it(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL), Behaviour(tokens=2_000, interval_ms=10))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await stack.until_logged(chat_id, moved.chat["history_version"])
        await stack.interrupt(chat_id)
        chat = await stack.until(chat_id, lambda chat: chat.status == "waiting")
        await asyncio.wait_for(stack.fake.received[1].ended.wait(), 60)
    assert chat.last_error is None
    assert shape(await stack.messages(chat_id)) == ["user", "assistant", "user"]
    assert stack.fake.received[1].closed_by_client_at is not None


async def test_an_edit_during_a_summary_voids_it(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(
        Behaviour(text="one", input_tokens=FULL), Behaviour(tokens=2_000, interval_ms=10), Behaviour(text="anew")
    )
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await stack.until_logged(chat_id, moved.chat["history_version"])
        [first, *_] = await stack.messages(chat_id)
        edited = await stack.edit(chat_id, first.id, "other words")
        await settled(stack, chat_id, edited.chat["snapshot_version"])
    assert await stack.said(chat_id) == [("user", "other words"), ("assistant", "anew")]


async def test_a_dead_workers_half_summary_is_not_rebuilt() -> None:
    call = compaction.call("chat_summarized_1", automatic=True, percent=70, created_at="2026-01-01T00:00:00Z")
    assert rebuilt([("assistant", call), ("assistant", text("so far"))])[0].content == [text("so far")]
    assert rebuilt([("assistant", call)]) == []


async def test_a_worker_that_stops_hands_its_summary_over_and_one_is_committed(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(
        Behaviour(text="one", input_tokens=FULL),
        Behaviour(tokens=2_000, interval_ms=10),
        Behaviour(text="sum"),
        Behaviour(text="two"),
    )
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await stack.until_logged(chat_id, moved.chat["history_version"])
    async with worker(stack):
        await settled(stack, chat_id, moved.chat["snapshot_version"])
    assert shape(await stack.messages(chat_id)).count("tool*") == 1
    assert words_of((await stack.messages(chat_id))[-1].content) == "two"


async def test_an_edit_of_what_was_summarised_takes_the_summary_back(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="one"), Behaviour(text="sum"), Behaviour(text="anew"))
    async with worker(stack):
        chat_id = await stack.create("first")
        before = await stack.rest(chat_id)
        await compact(stack, chat_id)
        await settled(stack, chat_id, before.snapshot_version + 1)
        [first, *_] = await stack.messages(chat_id)
        moved = await stack.edit(chat_id, first.id, "other words")
        await settled(stack, chat_id, moved.chat["snapshot_version"])
    assert await stack.said(chat_id) == [("user", "other words"), ("assistant", "anew")]
    assert told(stack, 2) == [("user", "other words")]


async def test_watchers_see_a_summary_begin_and_end(stack: Stack) -> None:
    await configured(stack)
    stack.fake.script(Behaviour(text="one", input_tokens=FULL), Behaviour(text="sum"), Behaviour(text="two"))
    async with worker(stack):
        chat_id = await stack.create("first")
        await stack.rest(chat_id)
        moved = await stack.send(chat_id, "second")
        await settled(stack, chat_id, moved.chat["snapshot_version"])
    async with stack.database.read() as session:
        rows = await fetch(
            session,
            "SELECT role, part FROM stream_log WHERE chat_id = %(chat)s AND history_version = %(version)s ORDER BY seq",
            {"chat": chat_id, "version": moved.chat["history_version"]},
        )
    assert [(row["role"], row["part"]["type"]) for row in rows] == [("assistant", "tool-call"), ("tool", "tool-result")]
    assert {row["part"]["tool_name"] for row in rows} == {"chat_summarized"}
