"""The laws of a round of housekeeping: every job, one moment, and no job that keeps another from being done."""

from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError

from models.steps import Job
from tests.temporal import Server
from tests.workflows.performers import Script, worker
from tests.workflows.test_client import settings_for
from workflows.client import HOUSEKEEPING, Temporal
from workflows.housekeeping import Housekeeping


async def test_a_round_does_every_job_in_order_and_by_one_moment(temporal: Client, task_queue: str) -> None:
    script = Script()
    async with worker(temporal, task_queue, script):
        done = await temporal.execute_workflow(Housekeeping.run, "test", id=f"h-{uuid4()}", task_queue=task_queue)
    assert [each.job for each in script.rounds] == list(Job)
    assert len({each.at for each in script.rounds}) == 1
    assert script.rounds[0].at.utcoffset() == timedelta()
    assert done == {job.value: 1 for job in Job}


async def test_what_a_round_archives_is_not_deleted_in_it() -> None:
    assert list(Job).index(Job.CHATS) < list(Job).index(Job.ARCHIVE)


async def test_a_job_that_fails_keeps_no_other_from_being_done_and_is_named(temporal: Client, task_queue: str) -> None:
    script = Script(broken=(Job.CHATS, Job.DEBUG))
    async with worker(temporal, task_queue, script):
        with pytest.raises(WorkflowFailureError) as failed:
            await temporal.execute_workflow(Housekeeping.run, "test", id=f"h-{uuid4()}", task_queue=task_queue)
    assert [each.job for each in script.rounds] == list(Job)
    assert str(failed.value.cause) == "HousekeepingFailed: failed: delete archived chats, forget debug runs"


async def test_the_schedule_is_made_once_and_follows_the_setting(temporal_server: Server, task_queue: str) -> None:
    settings = settings_for(temporal_server.address, task_queue)
    ours = await Temporal.connect(settings)
    handle = ours.client.get_schedule_handle(HOUSEKEEPING)
    await ours.ensure_housekeeping()
    try:
        await ours.ensure_housekeeping()
        spec = (await handle.describe()).schedule.spec
        assert ([each.every for each in spec.intervals], spec.jitter) == (
            [settings.housekeeping_interval],
            settings.housekeeping_interval / 10,
        )
        changed = settings.model_copy(update={"housekeeping_interval": timedelta(hours=1)})
        await (await Temporal.connect(changed)).ensure_housekeeping()
        described = await handle.describe()
        assert [each.every for each in described.schedule.spec.intervals] == [timedelta(hours=1)]
        assert described.schedule.policy.overlap.name == "SKIP"
    finally:
        await handle.delete()
