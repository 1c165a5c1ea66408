"""The laws of a build's run: it ends with its effect, and a signal makes whoever performs it look."""

import asyncio
import contextlib
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client

from models.steps import BuildReply, BuildRequest, Built
from tests.workflows.performers import Script, worker
from workflows.build import WorkspaceBuild

REQUEST = BuildRequest(uuid4(), uuid4())


async def _asked_to_stop(began: asyncio.Event) -> None:
    """Work until Temporal asks to stop."""
    began.set()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)


async def test_a_run_ends_with_what_its_build_came_to(temporal: Client, task_queue: str) -> None:
    script = Script()
    async with worker(temporal, task_queue, script):
        done = await temporal.execute_workflow(WorkspaceBuild.run, REQUEST, id=f"b-{uuid4()}", task_queue=task_queue)
    assert done == "succeeded"
    assert script.calls == ["build"]


async def test_a_signal_reaches_who_performs_and_what_they_answer_counts(temporal: Client, task_queue: str) -> None:
    began = asyncio.Event()

    async def stopped() -> BuildReply:
        await _asked_to_stop(began)
        return BuildReply(Built.CANCELED)

    async with worker(temporal, task_queue, Script(build=[stopped])):
        handle = await temporal.start_workflow(WorkspaceBuild.run, REQUEST, id=f"b-{uuid4()}", task_queue=task_queue)
        await began.wait()
        await handle.signal(WorkspaceBuild.cancel)
        assert await handle.result() == "canceled"


async def test_a_signal_that_comes_before_anybody_has_begun_is_not_the_end(temporal: Client, task_queue: str) -> None:
    script = Script()
    async with worker(temporal, task_queue, script, tools=False):
        handle = await temporal.start_workflow(WorkspaceBuild.run, REQUEST, id=f"b-{uuid4()}", task_queue=task_queue)
        while not (await handle.describe()).raw_description.pending_activities:
            await asyncio.sleep(0.02)
        await handle.signal(WorkspaceBuild.cancel)
        while not any(
            event.HasField("activity_task_canceled_event_attributes") for event in (await handle.fetch_history()).events
        ):
            await asyncio.sleep(0.02)
    async with worker(temporal, task_queue, script):
        assert await handle.result() == "succeeded"


async def test_who_dies_of_being_asked_to_stop_is_replaced(temporal: Client, task_queue: str) -> None:
    """Temporal tries an activity whose cancellation is asked for no second time."""
    began = asyncio.Event()

    async def dies() -> BuildReply:
        await _asked_to_stop(began)
        raise RuntimeError

    script = Script(build=[dies])
    async with worker(temporal, task_queue, script):
        handle = await temporal.start_workflow(WorkspaceBuild.run, REQUEST, id=f"b-{uuid4()}", task_queue=task_queue)
        await began.wait()
        await handle.signal(WorkspaceBuild.cancel)
        assert await handle.result() == "succeeded"
    assert script.calls == ["build", "build"]
