"""After a commit the chat's workflow hears of it, by the signal that fits, once; refusals and replays are silent."""

from uuid import UUID

import pytest
from temporalio.client import Client

from models.settings import Settings
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.temporal import Server, task_queue, temporal, temporal_server
from workflows.client import workflow_id

__all__ = ["task_queue", "temporal", "temporal_server"]


@pytest.fixture
def settings(settings: Settings, temporal_server: Server, task_queue: str) -> Settings:
    """With a real Temporal; nobody polls the queue, so runs stay as they were started."""
    return settings.model_copy(update={"temporal_address": temporal_server.address, "task_queue": task_queue})


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def heard(talk: Talk, temporal: Client, chat: UUID) -> list[str]:
    """The signals in the history of the chat's workflow."""
    await talk.api.resources.errands.drain()
    history = await temporal.get_workflow_handle(workflow_id(chat)).fetch_history()
    return [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]


async def test_each_move_tells_the_workflow_what_kind_it_was(talk: Talk, temporal: Client) -> None:
    chat = await talk.start()
    assert await heard(talk, temporal, chat) == ["woken"]
    # A running turn finds what is queued by itself.
    queued = (await talk.say(chat, "a"))["queued_message"]["id"]
    assert await heard(talk, temporal, chat) == ["woken"]
    await talk.say(chat, "b", busy_behavior="interrupt")
    assert await heard(talk, temporal, chat) == ["woken", "interrupt_requested"]
    await talk.client.delete(f"{CHATS}/{chat}/queue/{queued}")
    [question] = (await talk.history(chat))["messages"]
    edited = await talk.client.patch(f"{CHATS}/{chat}/messages/{question['id']}", json={"content": said("c")})
    assert edited.status_code == 200
    assert await heard(talk, temporal, chat) == ["woken", "interrupt_requested", "history_edited"]
    await talk.client.post(f"{CHATS}/{chat}/interrupt")
    assert (await heard(talk, temporal, chat))[3:] == ["interrupt_requested"]


async def test_what_changes_nothing_is_not_told(talk: Talk, temporal: Client) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await talk.client.post(f"{CHATS}/{chat}/interrupt")
    await talk.client.post(f"{CHATS}/{chat}/messages", json={"content": []})
    await talk.client.delete(f"{CHATS}/{chat}/queue/1")
    for _ in range(2):
        body = {"content": said("x")}
        sent = await talk.client.post(f"{CHATS}/{chat}/messages", json=body, headers={"Idempotency-Key": "k"})
        assert sent.status_code == 200
    assert await heard(talk, temporal, chat) == ["woken", "woken"]


async def test_a_promotion_after_an_error_wakes_the_chat(talk: Talk, temporal: Client) -> None:
    chat = await talk.start()
    queued = (await talk.say(chat, "a"))["queued_message"]["id"]
    await talk.fail(chat)
    await talk.client.post(f"{CHATS}/{chat}/queue/{queued}/promote")
    assert await heard(talk, temporal, chat) == ["woken", "queue_changed"]


async def test_explain_shows_the_run_that_drives_the_chat(talk: Talk) -> None:
    chat = await talk.start()
    await talk.api.resources.errands.drain()
    workflow = (await talk.client.get(f"{CHATS}/{chat}/explain")).json()["workflow"]
    assert (workflow["available"], workflow["running"], workflow["workflow_id"]) == (True, True, f"chat-{chat}")
    assert workflow["run_id"]
