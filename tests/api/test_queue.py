"""Dropping a queued message, and running one next."""

from typing import Any
from uuid import UUID

import pytest

from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def queued(talk: Talk, chat: UUID, *words: str) -> list[int]:
    return [(await talk.say(chat, each))["queued_message"]["id"] for each in words]


async def waiting(talk: Talk, chat: UUID) -> list[Any]:
    return [row["content"] for row in (await talk.history(chat))["queued_messages"]]


async def test_a_deleted_message_never_runs_and_deleting_is_idempotent(talk: Talk) -> None:
    chat = await talk.start()
    first, _ = await queued(talk, chat, "a", "b")
    for _ in range(2):
        response = await talk.client.delete(f"{CHATS}/{chat}/queue/{first}")
        assert (response.status_code, response.content) == (204, b"")
    assert await waiting(talk, chat) == [said("b")]
    await talk.answer(chat)
    assert (await talk.history(chat))["messages"][0]["content"] == said("b")


async def test_promotion_while_running_moves_to_the_head_and_stops_the_turn(talk: Talk) -> None:
    chat = await talk.start()
    await talk.begin(chat)
    _, second = await queued(talk, chat, "a", "b")
    response = await talk.client.post(f"{CHATS}/{chat}/queue/{second}/promote")
    assert (response.status_code, response.json()) == (202, {"message": "Queued message promotion accepted."})
    assert await waiting(talk, chat) == [said("b"), said("a")]
    assert (await talk.get(chat))["status"] == "interrupting"


async def test_promotion_after_an_error_runs_the_message_now(talk: Talk) -> None:
    chat = await talk.start()
    _, second = await queued(talk, chat, "a", "b")
    await talk.fail(chat)
    response = await talk.client.post(f"{CHATS}/{chat}/queue/{second}/promote")
    assert response.status_code == 202
    assert (await talk.history(chat))["messages"][0]["content"] == said("b")
    assert await waiting(talk, chat) == [said("a")]
    assert (await talk.get(chat))["status"] == "pending"


async def test_checks_of_the_queue_come_in_the_documented_order(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    [queued_id] = await queued(talk, chat, "a")
    promote = f"{CHATS}/{chat}/queue/{queued_id}/promote"
    for response in (
        await talk.client.delete(f"{CHATS}/{chat}/queue/x"),
        await talk.client.post(f"{CHATS}/{chat}/queue/x/promote"),
        await talk.client.post(f"{CHATS}/{chat}/queue/{2**63}/promote"),
    ):
        assert (response.status_code, response.json()["message"]) == (400, "Invalid queued message ID.")
        assert "invalid syntax" in response.json()["detail"]
    response = await talk.client.post(f"{CHATS}/{chat}/queue/{queued_id + 1}/promote")
    assert response.status_code == 404
    assert response.json() == {"message": "Failed to promote queued message.", "detail": "queued message not found"}
    response = await owner.client.post(f"{CHATS}/{chat}/queue/x/promote")
    assert (response.status_code, response.json()["message"]) == (
        403,
        "Only the chat owner may promote queued messages.",
    )
    await talk.fail(chat)
    await talk.archive(chat)
    response = await talk.client.post(f"{CHATS}/{chat}/queue/x/promote")
    assert response.json() == {"message": "Cannot promote queued messages in an archived chat."}
    assert (await talk.client.post(promote)).status_code == 400
    assert (await talk.client.delete(f"{CHATS}/{chat}/queue/{queued_id}")).status_code == 409
    assert await waiting(talk, chat) == [said("a")]


async def test_an_administrator_may_drop_a_message_but_not_run_one(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    [queued_id] = await queued(talk, chat, "a")
    assert (await owner.client.delete(f"{CHATS}/{chat}/queue/{queued_id}")).status_code == 204
    assert await waiting(talk, chat) == []
