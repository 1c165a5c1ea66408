"""A worker dies in a tools step; another one takes the batch up, and each call has one result, in call order."""

import pytest

from tests.chaos.stack import CHAOS, Stack, ask, said, words

pytestmark = CHAOS


@pytest.mark.parametrize("failpoint", ["worker.after_claim", "worker.after_effect"])
async def test_a_batch_whose_worker_dies_is_taken_up_and_answered_once(stack: Stack, failpoint: str) -> None:
    calls = [  # a step of their own: one of them is not quick
        {"name": "current_time", "arguments": {"timezone": "Asia/Tokyo"}, "id": "call_time"},
        {"name": "fetch_url", "arguments": {"url": f"{stack.fake.root_url}/inside"}, "id": "call_fetch"},
    ]
    text = ask("what time is it", tool_calls=calls, tokens=0, then={"tokens": 5})
    async with stack.only_worker(failpoint=failpoint) as armed:
        chat_id = await stack.create(text)
        assert await armed.wait() == -9
    messages = await stack.rest(chat_id)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    results = [message["content"][0] for message in messages if message["role"] == "tool"]
    assert [part["tool_call_id"] for part in results] == ["call_time", "call_fetch"]
    assert results[0]["result"]["timezone"] == "Asia/Tokyo"
    assert results[1]["is_error"], results[1]
    assert said(messages)[-1] == words(5)
    assert len(stack.requests(text)) == 2
