"""A turn of hundreds of steps stays one readable run, far from Temporal's limits."""

import pytest

from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour
from workflows.client import workflow_id

STEPS = 300
CALL = {"name": "current_time", "arguments": {"timezone": "Europe/Berlin"}}


@pytest.mark.timeout(300)
async def test_three_hundred_steps_with_tools_stay_within_the_history_budget(stack: Stack) -> None:
    stack.fake.script(*[Behaviour(tokens=2, tool_calls=[CALL])] * (STEPS - 1), Behaviour(text="done at last"))
    async with worker(stack):
        chat_id = await stack.create("work for a long time")
        chat = await stack.rest(chat_id)
        described = await stack.temporal.client.get_workflow_handle(workflow_id(chat_id)).describe()
    assert (chat.status, chat.last_error) == ("waiting", None)
    said = await stack.said(chat_id)
    assert [role for role, _ in said].count("assistant") == STEPS
    assert said[-1] == ("assistant", "done at last")
    assert described.history_length < 5_000
    assert described.raw_description.workflow_execution_info.history_size_bytes < 1_000_000
