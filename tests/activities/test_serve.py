"""The laws of the worker process: it says when it is ready, hands over when stopped, and may die at any point."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.activities.stack import Stack, words_of, worker
from tests.fakes.behaviour import Behaviour
from tests.forge import Forged, spawn

ASKED = "activity_task_cancel_requested_event_attributes"
PUSHED = 3.0  # seconds in which Temporal has told the step, at its next heartbeat at the latest
LONG = Behaviour(tokens=2000, interval_ms=10)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@asynccontextmanager
async def process(stack: Stack, folder: Path, **more: str) -> AsyncIterator[Forged]:
    """`turnstone worker`, ready."""
    settings = stack.settings
    ready = folder / "ready"
    environment = {
        "PATH": os.defpath,
        "TURNSTONE_DATABASE_URL": settings.database_url,
        "TURNSTONE_TEMPORAL_ADDRESS": settings.temporal_address,
        "TURNSTONE_TASK_QUEUE": settings.task_queue,
        "TURNSTONE_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        **more,
    }
    words = ("worker", "--processes", "1", "--ready-path", str(ready))
    started = await spawn("turnstone", *words, env=environment)
    try:
        while not ready.exists():
            assert started.returncode is None, "the worker ended at start"
            await asyncio.sleep(0.05)
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def test_a_stopped_worker_hands_its_step_over_and_ends_well(stack: Stack, tmp_path: Path) -> None:
    stack.fake.script(LONG, Behaviour(text="from another"))
    async with process(stack, tmp_path) as first:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        first.send_signal(signal.SIGTERM)
        assert await first.wait() == 0
    assert (await stack.chat(chat_id)).status == "running"
    async with worker(stack):
        await stack.rest(chat_id)
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "from another")]


async def test_a_killed_workers_step_is_taken_over(stack: Stack, tmp_path: Path) -> None:
    stack.fake.script(LONG, Behaviour(text="from another"))
    async with process(stack, tmp_path) as first:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        first.kill()
        await first.wait()
    async with worker(stack):
        await stack.rest(chat_id)
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "from another")]


async def test_a_worker_that_dies_while_stopping_loses_nothing_that_was_shown(stack: Stack, tmp_path: Path) -> None:
    stack.fake.script(LONG)
    async with process(stack, tmp_path, TURNSTONE_FAILPOINTS="worker.before_interrupt_commit") as first:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id, 5)
        await stack.interrupt(chat_id)
        assert await first.wait() == -signal.SIGKILL
    async with worker(stack):
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    [_, partial] = await stack.messages(chat_id)
    assert words_of(partial.content).split()
    assert len(stack.fake.received) == 1


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_run_outlives_a_worker_that_goes_after_its_step_was_asked_to_stop(
    stack: Stack, tmp_path: Path, end: signal.Signals
) -> None:
    """Temporal tries an activity whose cancellation is asked for no second time, and asks it no second time to stop."""
    stack.fake.script(LONG, Behaviour(text="from another"))
    async with process(stack, tmp_path) as first:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        latest = stack.temporal.client.get_workflow_handle(f"chat-{chat_id}")
        run = stack.temporal.client.get_workflow_handle(latest.id, run_id=(await latest.describe()).run_id)
        # The chat itself knows of no stop, so that the step goes on.
        await stack.temporal.nudge(chat_id, stack.world.owner_id, 2**53, signal="interrupt_requested")
        while not any([event.HasField(ASKED) async for event in run.fetch_history_events()]):
            await asyncio.sleep(0.05)
        await asyncio.sleep(PUSHED)
        first.send_signal(end)
        assert await first.wait() == (0 if end == signal.SIGTERM else -end)
    async with worker(stack):
        await run.result()
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "from another")]
