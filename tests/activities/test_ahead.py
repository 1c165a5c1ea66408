"""Head starts: an answer begins before its run does, once, and whoever comes to it finds it under way or over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from uuid import UUID

from activities.drive import Generation
from activities.resources import Resources, open_resources
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour
from workflows.client import Temporal, workflow_id

SLOW = Behaviour(tokens=40, interval_ms=20)


@asynccontextmanager
async def starter(stack: Stack) -> AsyncIterator[Resources]:
    """A worker that begins what it hears of, and takes nothing from Temporal."""
    async with AsyncExitStack() as opened:
        temporal = await Temporal.connect(stack.settings)
        resources = await opened.enter_async_context(open_resources(stack.settings, temporal))
        resources.ahead.begin_with(Generation(resources).begin)
        await resources.control.listening()
        yield resources


def follower(stack: Stack) -> Stack:
    """The same stack for a worker that begins nothing by itself."""
    return replace(stack, settings=stack.settings.model_copy(update={"head_starts": False}))


async def acquainted(one: Resources, other: Resources) -> None:
    """Return when `one` has heard of `other`."""
    while other.ahead.worker not in one.ahead.living():
        await asyncio.sleep(0.02)


async def results(stack: Stack, chat_id: UUID) -> list[str]:
    """What the chat's runs said at their ends, oldest first."""
    query = f"WorkflowId = '{workflow_id(chat_id)}'"
    while True:
        runs = [run async for run in stack.temporal.client.list_workflows(query)]
        if runs and all(run.close_time for run in runs):
            break
        await asyncio.sleep(0.05)
    runs.sort(key=lambda run: run.start_time)
    return [str(run.status.name) for run in runs if run.status]


async def test_an_answer_begins_without_being_asked_for_and_has_its_run(stack: Stack) -> None:
    stack.fake.script(Behaviour(text="at once"))
    async with worker(stack):
        chat_id = await stack.create("hello", signal="")
        assert (await stack.rest(chat_id)).status == "waiting"
        assert await results(stack, chat_id) == ["COMPLETED"]
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "at once")]


async def test_a_run_adopts_what_its_worker_has_begun(stack: Stack) -> None:
    stack.fake.script(SLOW)
    async with worker(stack) as resources:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        assert resources.ahead.adopt(chat_id) is not None
        chat = await stack.rest(chat_id)
        assert await results(stack, chat_id) == ["COMPLETED"]
    assert (chat.status, len(stack.fake.received)) == ("waiting", 1)


async def test_a_run_waits_for_what_another_worker_has_begun(stack: Stack) -> None:
    stack.fake.script(SLOW)
    async with starter(stack) as first, worker(follower(stack)) as second:
        await acquainted(second, first)
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
        assert await results(stack, chat_id) == ["COMPLETED"]
    assert (chat.status, len(stack.fake.received)) == ("waiting", 1)
    assert len(await stack.said(chat_id)) == 2


async def test_what_a_leaving_worker_has_begun_is_taken_over(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=400, interval_ms=20), Behaviour(text="from another"))
    async with worker(follower(stack)) as second:
        async with starter(stack) as first:
            await acquainted(second, first)
            chat_id = await stack.create("hello")
            await stack.streaming(chat_id)
        chat = await stack.rest(chat_id)
    assert (chat.status, await stack.said(chat_id)) == ("waiting", [("user", "hello"), ("assistant", "from another")])


async def test_a_stop_reaches_the_worker_that_began_and_its_partial_stays(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=400, interval_ms=10))
    async with starter(stack) as first, worker(follower(stack)) as second:
        await acquainted(second, first)
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id, parts=3)
        await stack.interrupt(chat_id)
        chat = await stack.rest(chat_id)
        assert await results(stack, chat_id) == ["COMPLETED"]
    [_, (role, words)] = await stack.said(chat_id)
    assert (chat.status, role, bool(words)) == ("waiting", "assistant", True)
    assert len(stack.fake.received) == 1


async def test_a_failure_ahead_of_the_run_is_backed_off_by_the_run(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=503), Behaviour(text="second try"))
    async with starter(stack) as first, worker(follower(stack)) as second:
        await acquainted(second, first)
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "second try")]
    assert len(stack.fake.received) == 2


async def test_what_is_queued_behind_another_workers_answer_is_a_run_of_its_own(stack: Stack) -> None:
    stack.fake.script(SLOW, Behaviour(text="and this"))
    async with starter(stack) as first, worker(follower(stack)) as second:
        await acquainted(second, first)
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        await stack.send(chat_id, "more")
        while len(await stack.said(chat_id)) < 4:
            await asyncio.sleep(0.02)
        await stack.rest(chat_id)
        # Where Temporal is late by more than RUN_PATIENCE, the run comes when both answers are there, and just ends.
        assert await results(stack, chat_id) in (["CONTINUED_AS_NEW", "COMPLETED"], ["COMPLETED"])
    assert len(stack.fake.received) == 2


async def test_of_many_workers_one_begins_and_each_answer_is_asked_for_once(stack: Stack) -> None:
    async with worker(stack) as one, worker(stack) as two, starter(stack) as three:
        for each in (one, two, three):
            for other in (one, two, three):
                if each is not other:
                    await acquainted(each, other)
        chats = await asyncio.gather(*(stack.create(f"number {number}") for number in range(12)))
        for chat_id in chats:
            assert (await stack.rest(chat_id)).status == "waiting"
    assert len(stack.fake.received) == len(chats)


async def test_a_worker_without_room_begins_nothing(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"model_slots": 1})
    stack.fake.script(SLOW, Behaviour(text="later"))
    async with worker(stack):
        busy = await stack.create("hello", signal="")
        await stack.streaming(busy)
        waiting = await stack.create("and I", signal="")
        await stack.rest(busy)
        assert (await stack.chat(waiting)).status == "pending"


async def test_a_deployment_may_begin_nothing_ahead(stack: Stack) -> None:
    async with worker(follower(stack)):
        chat_id = await stack.create("hello", signal="")
        await asyncio.sleep(0.3)
        assert ((await stack.chat(chat_id)).status, stack.fake.received) == ("pending", [])


async def test_quick_tools_are_run_where_their_model_was_asked(stack: Stack) -> None:
    asks = Behaviour(tool_calls=[{"name": "current_time", "arguments": {}}])
    stack.fake.script(asks, asks, Behaviour(text="late"))
    async with worker(follower(stack)):
        chat_id = await stack.create("what time is it?")
        assert (await stack.rest(chat_id)).status == "waiting"
        await results(stack, chat_id)
    history = await stack.temporal.client.get_workflow_handle(workflow_id(chat_id)).fetch_history()
    asked = [event for event in history.events if event.HasField("activity_task_scheduled_event_attributes")]
    roles = [role for role, _ in await stack.said(chat_id)]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert len(asked) == 1
