"""How long a turn tries, on the server that skips time: minutes of back-off pass in a moment."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from models.steps import TurnInput
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour
from tests.temporal import skipping_program
from workflows.client import Temporal, workflow_id
from workflows.turn import ChatTurn

BACK_OFFS = sum(min(2**failed, 60) for failed in range(24))  # seconds between 25 attempts


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=skipping_program()
    ) as environment:
        yield environment


async def test_a_step_is_attempted_twenty_five_times_and_then_fails_visibly(
    stack: Stack, skipping: WorkflowEnvironment
) -> None:
    address = skipping.client.service_client.config.target_host
    chosen = stack.settings.model_copy(
        update={
            "temporal_address": address,
            "retry_base": timedelta(seconds=1),
            "retry_cap": timedelta(seconds=60),
        }
    )
    mine = replace(stack, settings=chosen, temporal=await Temporal.connect(chosen))
    mine.fake.script(*[Behaviour(status=503)] * 25)
    async with worker(mine):
        begun = await skipping.get_current_time()
        chat_id = await mine.create("hello", signal="")
        # This server knows no signal-with-start for a workflow that does not run yet.
        await skipping.client.execute_workflow(
            ChatTurn.run, TurnInput(chat_id, 1), id=workflow_id(chat_id), task_queue=chosen.task_queue
        )
        waited = await skipping.get_current_time() - begun
        chat = await mine.rest(chat_id)
    assert chat.status == "error"
    assert chat.last_error is not None
    assert (chat.last_error["kind"], chat.last_error["status_code"]) == ("timeout", 503)
    assert len(mine.fake.received) == 25
    assert waited >= timedelta(seconds=BACK_OFFS)
