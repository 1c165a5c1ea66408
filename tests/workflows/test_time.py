"""Long waits, on the server that skips time."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from temporalio.testing import WorkflowEnvironment

from models.steps import Note, StepReply, Then, TurnInput
from tests.temporal import skipping_program
from tests.workflows.performers import Script, rest, worker
from workflows.turn import ChatTurn


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=skipping_program()
    ) as environment:
        yield environment


async def test_a_back_off_of_an_hour_is_waited_for_and_then_tried_again(
    skipping: WorkflowEnvironment, task_queue: str
) -> None:
    script = Script(generate=[StepReply(Then.BACK_OFF, 3, 3600, Note.RATE_LIMIT), rest(5)])
    async with worker(skipping.client, task_queue, script):
        begun = await skipping.get_current_time()
        handle = await skipping.client.start_workflow(
            ChatTurn.run, TurnInput(uuid4(), 1), id=f"chat-{uuid4()}", task_queue=task_queue
        )
        assert await handle.result() == "turn finished"
        waited = await skipping.get_current_time() - begun
    assert waited.total_seconds() >= 3600
    assert script.calls == ["generate", "generate"]
