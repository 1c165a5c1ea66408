"""A worker that dies while it summarises a chat leaves one summary, and the chat where it should be."""

import pytest

from models.rules import compaction
from tests.chaos.api import CHATS
from tests.chaos.stack import CHAOS, Stack, ask, last_user_text, said, words

pytestmark = CHAOS


@pytest.mark.parametrize("failpoint", ["worker.after_open", "worker.before_commit", "worker.after_commit"])
async def test_a_summary_whose_worker_dies_is_committed_once(stack: Stack, failpoint: str) -> None:
    first, second = ask("first", tokens=4), ask("second", tokens=5)
    chat_id = await stack.create(first)
    await stack.rest(chat_id)
    async with stack.only_worker(failpoint=failpoint) as armed:
        async with stack.api() as api:
            await api.post(f"{CHATS}/{chat_id}/compact", {})
        assert await armed.wait() == -9
    await stack.rest(chat_id)
    summaries = "SELECT role, visibility FROM chat_messages WHERE chat_id = %(chat)s AND compressed ORDER BY id"
    rows = await stack.query(summaries, chat=chat_id)
    assert [(row["role"], row["visibility"]) for row in rows] == [
        ("user", "model"),
        ("assistant", "user"),
        ("tool", "both"),
    ]
    await stack.send(chat_id, second)
    messages = await stack.rest(chat_id)
    assert said(messages, "user") == [first, second]
    assert said(messages)[-1] == words(5)
    [request] = [each for each in stack.fake.received if last_user_text(each.body).endswith(second)]
    told = "\n".join(str(each["content"]) for each in request.body["messages"])
    assert compaction.PREFIX + words(8).strip() in told
    assert first not in told
