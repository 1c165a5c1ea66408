"""The laws of stopping: the stream ends at once, what was said is kept, and nothing else is."""

import asyncio
from dataclasses import replace

import pytest

from activities.interrupt import Interruption, rebuilt
from activities.resources import open_resources
from models.rules.history import CANCELLED_BEFORE_RESULT
from models.rules.states import State
from models.steps import StepRequest, Then
from models.store import moves, stream
from models.store.database import fetch
from models.store.stream import LogRow
from tests.activities.stack import Stack, words_of, worker
from tests.api.trips import trips
from tests.fakes.behaviour import Behaviour
from tests.models.store.chats import chat_in
from tests.models.store.families import child_of

LONG = Behaviour(tokens=6000, interval_ms=10)  # longer than any test, on a busy machine as well


@pytest.mark.parametrize("signal", ["interrupt_requested", ""], ids=["nudged", "nudge lost"])
async def test_a_stop_cuts_the_stream_and_keeps_the_partial(stack: Stack, signal: str) -> None:
    stack.fake.script(LONG)
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id, 3)
        await stack.interrupt(chat_id, signal=signal)
        chat = await stack.rest(chat_id)
        await asyncio.wait_for(stack.fake.received[0].ended.wait(), 60)
    assert chat.status == "waiting"
    [_, partial] = await stack.messages(chat_id)
    words = words_of(partial.content).split()
    assert 0 < len(words) <= stack.fake.received[0].tokens_sent < 2000
    assert stack.fake.received[0].closed_by_client_at is not None
    assert partial.input_tokens is None, "the provider never told"
    assert len(stack.fake.received) == 1


async def test_after_a_stop_the_queue_goes_on(stack: Stack) -> None:
    stack.fake.script(LONG, Behaviour(text="the second answer"))
    async with worker(stack):
        chat_id = await stack.create("one")
        await stack.streaming(chat_id)
        await stack.send(chat_id, "two", interrupt=True)
        await stack.until(chat_id, lambda chat: chat.status == "waiting")
    said = await stack.said(chat_id)
    assert [role for role, _ in said] == ["user", "assistant", "user", "assistant"]
    assert said[2:] == [("user", "two"), ("assistant", "the second answer")]


async def test_a_stop_during_the_back_off_is_at_once(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=429, retry_after="600"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.until(chat_id, lambda chat: chat.retry_state is not None)
        await stack.interrupt(chat_id)
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert len(stack.fake.received) == 1


async def test_a_message_queued_during_the_back_off_does_not_shorten_it(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=429, retry_after="600"))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.until(chat_id, lambda chat: chat.retry_state is not None)
        await stack.send(chat_id, "more")
        await asyncio.sleep(0.5)
        explained = await stack.temporal.explain(chat_id)
        await stack.interrupt(chat_id)
        await stack.until(chat_id, lambda chat: chat.status == "waiting")
    assert "back-off" in explained["state"]["doing"]
    assert [words for role, words in await stack.said(chat_id) if role == "user"] == ["hello", "more"]


async def test_a_stop_of_a_chat_that_no_worker_has_begun_needs_no_model(stack: Stack) -> None:
    chat_id = await stack.create("hello")
    await stack.interrupt(chat_id)
    async with worker(stack):
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert stack.fake.received == []


async def test_a_dead_workers_partial_is_rebuilt_from_the_stream_log(stack: Stack) -> None:
    """The producer died after streaming, before the stop was asked for."""
    chat_id = await stack.create("hello")
    async with stack.database.begin() as session:
        opened = await moves.open_attempt(session, chat_id, max_attempts=9, max_steps=9)
    fence = opened.fence
    episode = stream.Episode(fence.history_version, fence.generation_attempt)
    connection = await stack.database.connect()
    pieces = [b'{"type":"reasoning","text":"hm"}', b'{"type":"text","text":"so "}', b'{"type":"text","text":"far"}']
    pieces.append(b'{"type":"tool-call","tool_call_id":"c1","tool_name":"current_time","args_delta":"{\\"timez"}')
    rows = [LogRow(chat_id, episode, seq, "assistant", piece) for seq, piece in enumerate(pieces, start=1)]
    await stream.write(connection, rows)
    await connection.close()
    await stack.interrupt(chat_id)
    async with worker(stack):
        await stack.rest(chat_id)
    _, partial, result = await stack.messages(chat_id)
    assert [part["type"] for part in partial.content] == ["reasoning", "text", "tool-call"]
    assert words_of(partial.content) == "so far"
    assert "args" not in partial.content[2], "a call that was cut has no arguments"
    assert result.content[0]["result"] == {"error": CANCELLED_BEFORE_RESULT}


async def test_a_stop_just_as_the_answer_is_committed_loses_neither(stack: Stack) -> None:
    """Whichever takes the row lock first wins; either way the answer is there once."""
    stack.fake.script(*[Behaviour(tokens=4, interval_ms=1)] * 12)
    async with worker(stack):
        for delay in range(12):
            chat_id = await stack.create("hello")
            await stack.streaming(chat_id)
            await asyncio.sleep(delay / 1000)
            await stack.interrupt(chat_id)
            chat = await stack.rest(chat_id)
            assert chat.status == "waiting"
            assert [role for role, _ in await stack.said(chat_id)] == ["user", "assistant"]


async def test_a_late_stop_signal_does_not_stop_the_next_turn(stack: Stack) -> None:
    stack.fake.script(LONG, Behaviour(tokens=40, interval_ms=10))
    async with worker(stack):
        chat_id = await stack.create("one")
        await stack.streaming(chat_id)
        stopped = await stack.interrupt(chat_id)
        await stack.rest(chat_id)
        await stack.send(chat_id, "two")
        await stack.until(chat_id, lambda chat: chat.status == "running")
        await stack.nudge(stopped, "interrupt_requested")
        await stack.rest(chat_id)
    assert len((await stack.said(chat_id))[3][1].split()) == 40


async def test_a_cancellation_without_a_stop_in_the_database_is_only_a_hint(stack: Stack) -> None:
    """Somebody signals with a version that never was: the step looks, and streams on."""
    stack.fake.script(Behaviour(tokens=60, interval_ms=10))
    async with worker(stack):
        chat_id = await stack.create("one")
        await stack.streaming(chat_id)
        await stack.temporal.nudge(chat_id, stack.world.owner_id, 10_000, signal="interrupt_requested")
        await stack.rest(chat_id)
    assert len((await stack.said(chat_id))[1][1].split()) == 60
    assert len(stack.fake.received) == 1


async def test_a_lost_control_channel_is_opened_again_and_misses_nothing(stack: Stack) -> None:
    stack.fake.script(LONG)
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        async with stack.database.begin() as session:
            await moves.interrupt(session, await moves.lock(session, chat_id))
            # In the same instant, so that the notice reaches nobody.
            await fetch(
                session,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%%'",
            )
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    assert len(await stack.messages(chat_id)) == 2


async def test_an_archived_chat_that_was_stopped_promotes_nothing(stack: Stack) -> None:
    stack.fake.script(LONG)
    async with worker(stack):
        chat_id = await stack.create("one")
        await stack.streaming(chat_id)
        await stack.send(chat_id, "two")
        async with stack.database.begin() as session:
            await fetch(
                session,
                "WITH c AS (UPDATE chats SET archived = true, status = 'interrupting', "
                "snapshot_version = snapshot_version + 1 WHERE id = %(id)s RETURNING *) "
                "SELECT pg_notify('turnstone_chats', json_build_array(id, owner_id, snapshot_version, history_version,"
                " generation_attempt, status, archived, '[]'::json)::text) FROM c",
                {"id": chat_id},
            )
        chat = await stack.until(chat_id, lambda chat: chat.status == "waiting")
    assert chat.archived
    assert [role for role, _ in await stack.said(chat_id)] == ["user", "assistant"]


async def test_a_stop_waits_for_no_model_slot(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"model_slots": 1})
    stack.fake.script(LONG, LONG)
    async with worker(stack):
        busy = await stack.create("one")
        await stack.streaming(busy)
        waiting = await stack.create("two")
        await stack.interrupt(waiting)
        await stack.rest(waiting)
        assert (await stack.chat(busy)).status == "running", "it did not wait for the slot"
        await stack.interrupt(busy)
        await stack.rest(busy)
    assert len(stack.fake.received) == 1


def test_a_rebuilt_partial_has_the_roles_of_what_was_streamed() -> None:
    logged = [
        ("assistant", {"type": "text", "text": "a"}),
        ("tool", {"type": "tool-result", "tool_call_id": "1", "result": {}}),
        ("tool", {"type": "tool-result", "tool_call_id": "2", "result": {}}),
    ]
    assert [row.role for row in rebuilt(logged)] == ["assistant", "tool", "tool"]
    assert rebuilt([]) == []


async def test_where_a_stop_ends_only_the_parent_of_a_sub_agent_is_looked_for(stack: Stack) -> None:
    root = await chat_in(stack.database, stack.world, State.W)
    child = await child_of(stack.database, stack.world, root)
    asked = {}
    async with open_resources(stack.settings, stack.temporal) as opened:
        stopping = Interruption(replace(opened, database=stack.database))  # which nobody else asks meanwhile
        for chat_id in (root, child):
            with trips(stack.database) as counted:
                assert (await stopping.interrupt(StepRequest(chat_id))).then is Then.REST
            asked[chat_id] = counted.count
    assert asked == {root: 1, child: 2}


async def test_a_whole_answer_that_is_stopped_before_its_commit_keeps_its_usage(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=3, interval_ms=50))
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        async with stack.database.begin() as session:
            locked = await moves.lock(session, chat_id)
            await asyncio.wait_for(stack.fake.received[0].ended.wait(), 60)
            while not await fetch(
                session, "SELECT FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
            ):
                await asyncio.sleep(0.01)  # until the commit waits for our lock
            await moves.interrupt(session, locked)
        await stack.rest(chat_id)
    _, answer = await stack.messages(chat_id)
    assert len(words_of(answer.content).split()) == 3
    assert answer.output_tokens is not None
    assert answer.context_limit == 100_000
