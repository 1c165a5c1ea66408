"""The laws of the sweep: what nobody drives is nudged, what has expired is purged."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

from temporalio.client import ScheduleActionExecutionStartWorkflow
from temporalio.service import RPCError

from activities.sweep import Sweeping
from models.store import moves, stream
from models.store.database import fetch
from tests.activities.stack import Stack, worker
from tests.activities.test_deliver import endpoint, settled, suspend
from tests.fakes.behaviour import Behaviour
from tests.fakes.receiver import Receiver
from workflows.client import SWEEP


async def test_a_chat_whose_nudge_was_lost_is_run(stack: Stack) -> None:
    chat_id = await stack.create("hello", signal="")
    async with worker(stack) as resources:
        reply = await Sweeping(resources).sweep("test")
        await stack.rest(chat_id)
    assert (reply.looked_at, reply.nudged) == (1, 1)
    assert [role for role, _ in await stack.said(chat_id)] == ["user", "assistant"]


async def test_an_event_that_was_committed_and_not_begun_is_delivered(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"webhooks_allow_private": True})
    async with Receiver() as receiver, worker(stack) as resources:
        endpoint_id, _ = await endpoint(stack, receiver.url, events=("chat.created",))
        chat_id = await stack.create("hello", signal="")  # by a process that nobody hears of any more
        await Sweeping(resources).sweep("test")
        [row] = await settled(stack, endpoint_id, 1)
        await stack.rest(chat_id)
    assert (row["status"], row["chat_id"], len(receiver.received)) == ("delivered", chat_id, 1)


async def test_a_chat_that_is_driven_is_left_alone(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=500, interval_ms=10))
    async with worker(stack) as resources:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        while chat_id not in await stack.temporal.running_chats():
            await asyncio.sleep(0.02)
        reply = await Sweeping(resources).sweep("test")
        await stack.interrupt(chat_id)
        await stack.rest(chat_id)
    assert (reply.looked_at, reply.nudged) == (1, 0)


async def test_a_lost_stop_is_found_too_also_of_an_archived_chat(stack: Stack) -> None:
    chat_id = await stack.create("hello", signal="")
    async with stack.database.begin() as session:
        await moves.open_attempt(session, chat_id, max_attempts=9, max_steps=9)
    await stack.interrupt(chat_id, signal="")
    async with stack.database.begin() as session:
        await fetch(session, "UPDATE chats SET archived = true WHERE id = %(id)s", {"id": chat_id})
    async with worker(stack) as resources:
        reply = await Sweeping(resources).sweep("test")
        chat = await stack.rest(chat_id)
    assert reply.nudged == 1
    assert (chat.status, chat.archived) == ("waiting", True)


async def test_the_running_turn_of_whoever_is_suspended_is_stopped_and_their_queue_kept(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=6000, interval_ms=10))
    async with worker(stack) as resources:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        await stack.send(chat_id, "and then")
        await suspend(stack, "suspended")
        await Sweeping(resources).sweep("test")
        chat = await stack.until(chat_id, lambda chat: chat.status == "waiting")
        await asyncio.wait_for(stack.fake.received[0].ended.wait(), 60)
        await suspend(stack, "active")
        stack.fake.script(Behaviour(text="at last"), Behaviour(text="and so on"))
        await stack.send(chat_id, "I am back")
        await stack.until(chat_id, lambda now: now.status == "waiting" and now.history_version > chat.history_version)
    said = await stack.said(chat_id)
    assert [words for role, words in said if role == "user"] == ["hello", "and then", "I am back"]
    assert said[-1] == ("assistant", "and so on")


async def test_resting_chats_are_not_looked_at(stack: Stack) -> None:
    async with worker(stack) as resources:
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
        reply = await Sweeping(resources).sweep("test")
    assert reply.looked_at == 0


async def test_old_stream_parts_and_answers_are_purged_and_young_ones_kept(stack: Stack) -> None:
    async with stack.database.begin() as session:
        for age in ("1 hour", "1 second"):
            await fetch(
                session,
                "INSERT INTO stream_log (chat_id, history_version, generation_attempt, seq, role, part, created_at) "
                "VALUES (%(chat)s, 1, 1, 1, 'assistant', '{}', now() - %(age)s::interval)",
                {"chat": uuid4(), "age": age},
            )
    async with worker(stack) as resources:
        reply = await Sweeping(resources).sweep("test")
    assert reply.purged == 1


async def test_one_sweep_purges_more_than_one_batch(stack: Stack) -> None:
    more = stream.PURGE_BATCH + 1
    async with stack.database.begin() as session:
        await fetch(
            session,
            "INSERT INTO stream_log (chat_id, history_version, generation_attempt, seq, role, part, created_at) "
            "SELECT %(chat)s, 1, 1, n, 'assistant', '{}', now() - interval '1 hour' "
            "FROM generate_series(1, %(more)s) AS n",
            {"chat": uuid4(), "more": more},
        )
    async with worker(stack) as resources:
        assert (await Sweeping(resources).sweep("test")).purged == more


async def test_messages_are_read_for_the_full_text_search(stack: Stack) -> None:
    async with worker(stack) as resources:
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
        for _ in range(2):
            await Sweeping(resources).sweep("test")
    async with stack.database.read() as session:
        rows = await fetch(
            session,
            "SELECT m.role, w.words @@ 'hello'::tsquery AS found FROM chat_message_words w "
            "JOIN chat_messages m ON m.id = w.message_id ORDER BY m.id",
        )
    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert rows[0]["found"]


async def forget_schedule(stack: Stack) -> None:
    """Workers of other tests leave their schedule on the shared server, and sweeps that nobody performs any more."""
    client = stack.temporal.client
    with suppress(RPCError):
        await client.get_schedule_handle(SWEEP).delete()
    async for found in client.list_workflows("WorkflowType = 'Sweep' AND ExecutionStatus = 'Running'"):
        with suppress(RPCError):
            await client.get_workflow_handle(found.id, run_id=found.run_id).terminate()


async def test_the_schedule_sweeps_and_is_made_only_once(stack: Stack) -> None:
    await forget_schedule(stack)
    stack.settings = stack.settings.model_copy(update={"sweep_interval": timedelta(seconds=1)})
    chat_id = await stack.create("hello", signal="")
    async with worker(stack) as resources:
        await resources.temporal.ensure_schedule()
        await resources.temporal.ensure_schedule(now=False)
        await stack.rest(chat_id)
        handle = resources.temporal.client.get_schedule_handle(SWEEP)
        described = await handle.describe()
        await handle.delete()
    assert [each.every for each in described.schedule.spec.intervals] == [timedelta(seconds=1)]
    assert all(isinstance(each.action, ScheduleActionExecutionStartWorkflow) for each in described.info.recent_actions)


async def test_a_stop_whose_nudge_was_lost_during_a_back_off_is_taken_up(stack: Stack) -> None:
    """The run is there, so nobody starts it, and it sleeps until the provider's own time has come."""
    stack.fake.script(Behaviour(status=429, retry_after="600"))
    async with worker(stack) as resources:
        chat_id = await stack.create("hello")
        await stack.until(chat_id, lambda chat: chat.retry_state is not None)
        await stack.interrupt(chat_id, signal="")
        async with stack.database.begin() as session:
            await fetch(
                session, "UPDATE chats SET updated_at = now() - interval '30 s' WHERE id = %(id)s", {"id": chat_id}
            )
        while chat_id not in await stack.temporal.running_chats():
            await asyncio.sleep(0.02)
        reply = await Sweeping(resources).sweep("test")
        chat = await stack.rest(chat_id)
    assert reply.nudged == 1
    assert chat.status == "waiting"
