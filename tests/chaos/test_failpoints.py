"""A process dies at the worst places there are; what it had accepted or finished is neither lost nor done twice."""

from uuid import uuid4

import httpx
import pytest

from tests.chaos.api import CHATS
from tests.chaos.stack import CHAOS, LITELLM, Stack, ask, content, said, words
from tests.chaos.watcher import Watcher

pytestmark = CHAOS


async def test_the_sweep_runs_what_was_committed_and_never_nudged(stack: Stack) -> None:
    text = ask("hello", tokens=5)
    dying = await stack.api_that_dies(failpoint="api.before_nudge")
    request = {
        "json": content(text) | {"organization_id": stack.facts["organization_id"]},
        "headers": {"Coder-Session-Token": stack.facts["admin_token"], "Idempotency-Key": str(uuid4())},
    }
    async with httpx.AsyncClient(timeout=30) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(f"{dying}{CHATS}", **request)  # type: ignore[arg-type]
        again = await client.post(f"{stack.facts['api_url']}{CHATS}", **request)  # type: ignore[arg-type]
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (201, "true")
    messages = await stack.rest(again.json()["id"])
    assert (said(messages, "user"), said(messages)) == ([text], [words(5)])
    asked = "SELECT DISTINCT chat_id FROM chat_messages WHERE role = 'user' AND content->0->>'text' = %(text)s"
    found = await stack.query(asked, text=text)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("failpoint", "requests", "reading"),
    [
        ("worker.after_open", 1, {}),
        ("worker.before_commit", 2, {}),
        ("worker.before_commit", 2, LITELLM),
        ("worker.after_commit", 1, {}),
    ],
)
async def test_a_step_that_dies_around_its_commit_is_answered_once(
    stack: Stack, failpoint: str, requests: int, reading: dict[str, str]
) -> None:
    text, queued = ask("count", tokens=20, interval_ms=20), ask("queued", tokens=3)
    async with stack.only_worker(failpoint=failpoint, **reading) as armed:
        chat_id = await stack.create(text)
        assert await armed.wait() == -9
    await stack.send(chat_id, queued)
    messages = await stack.rest(chat_id)
    assert said(messages, "user") == [text, queued]
    assert said(messages) == [words(20), words(3)]
    assert len(stack.requests(text)) == requests


@pytest.mark.parametrize("reading", [{}, LITELLM], ids=["read by us", "read by litellm"])
async def test_an_interruption_that_dies_before_its_commit_keeps_what_was_streamed(
    stack: Stack, reading: dict[str, str]
) -> None:
    text, queued = ask("count", tokens=400, interval_ms=20), ask("queued", tokens=3)
    async with stack.only_worker(failpoint="worker.before_interrupt_commit", **reading) as armed:
        chat_id = await stack.create(text)
        async with Watcher(stack, chat_id, "websocket") as watcher:
            await watcher.shows(20)
            async with stack.api() as api:
                await api.post(f"{CHATS}/{chat_id}/messages", content(queued) | {"busy_behavior": "interrupt"})
            assert await armed.wait() == -9
            [shown] = watcher.episodes().values()
    messages = await stack.rest(chat_id)
    assert said(messages, "user") == [text, queued]
    partial, answer = said(messages)
    assert answer == words(3)
    assert partial.startswith("".join(shown))
    assert words(400).startswith(partial)
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert len(stack.requests(text)) == 1
