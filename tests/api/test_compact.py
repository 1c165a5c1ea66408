"""Having a chat summarised, and how full its context may become: a person's own choice."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from models.errors import FenceLost
from models.store import moves
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said

THRESHOLDS = f"{CHATS}/config/user-compaction-thresholds"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def compact(talk: Talk, chat: UUID, **headers: str) -> httpx.Response:
    return await talk.client.post(f"{CHATS}/{chat}/compact", headers=headers)


async def summarised(talk: Talk, chat: UUID, *more: StepRow) -> None:
    """A worker commits the summary."""
    fence = await talk.begin(chat)
    call = {"type": "tool-call", "tool_call_id": "chat_summarized_1", "tool_name": "chat_summarized", "args": {}}
    result = {"type": "tool-result", "tool_call_id": "chat_summarized_1", "tool_name": "chat_summarized", "result": {}}
    rows = [
        StepRow("user", said("all so far"), visibility="model", compressed=True),
        StepRow("assistant", [call], visibility="user", compressed=True),
        StepRow("tool", [result], compressed=True),
        *more,
    ]
    async with talk.api.resources.database.begin() as session:
        await moves.commit_compaction(session, fence, rows)


async def test_an_idle_chat_is_summarised_and_idle_again(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    response = await compact(talk, chat)
    assert response.status_code == 200, response.text
    assert (response.json()["id"], response.json()["status"]) == (str(chat), "pending")
    await summarised(talk, chat)
    assert (await talk.get(chat))["status"] == "waiting"
    history = (await talk.history(chat))["messages"]
    assert [message["role"] for message in history] == ["tool", "assistant", "assistant", "user"], "no summary row"
    assert "all so far" not in str(history)


async def test_there_is_nothing_to_summarise_twice(talk: Talk) -> None:
    chat = await talk.start()
    await talk.fail(chat)
    before = await talk.get(chat)
    refused = await compact(talk, chat)
    assert refused.status_code == 409
    assert refused.json()["message"] == "There is nothing to compact."
    assert await talk.get(chat) == before, "a refusal changes nothing"
    await talk.say(chat, "again")
    await talk.answer(chat)
    assert (await compact(talk, chat)).status_code == 200
    await summarised(talk, chat)
    assert (await compact(talk, chat)).status_code == 409
    await talk.say(chat, "more")
    await talk.answer(chat)
    assert (await compact(talk, chat)).status_code == 200


async def test_a_running_chat_is_not_summarised(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await talk.say(chat, "more")
    assert (await compact(talk, chat)).status_code == 409
    await talk.begin(chat)
    assert (await compact(talk, chat)).status_code == 409


async def test_an_archived_chat_is_not_summarised(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await talk.archive(chat)
    refused = await compact(talk, chat)
    assert (refused.status_code, refused.json()["message"]) == (400, "Cannot compact an archived chat.")


async def test_only_the_owner_has_a_chat_summarised(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    response = await owner.client.post(f"{CHATS}/{chat}/compact")
    assert (response.status_code, response.json()["message"]) == (403, "Only the chat owner may compact a chat.")


async def test_a_repeated_request_is_one_summary(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    key = {"Idempotency-Key": "once"}
    first = await compact(talk, chat, **key)
    assert (await compact(talk, chat, **key)).json() == first.json()
    await summarised(talk, chat)
    assert (await compact(talk, chat, **key)).json() == first.json()
    assert (await talk.get(chat))["status"] == "waiting"


async def test_a_chat_that_failed_goes_on_to_answer_after_its_summary(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await talk.say(chat, "unanswered")
    await talk.fail(chat)
    shown = (await compact(talk, chat)).json()
    assert "last_error" not in shown
    await summarised(talk, chat, StepRow("user", said("unanswered"), visibility="model"))
    assert (await talk.get(chat))["status"] == "running"
    await talk.answer(chat, "after all")
    history = (await talk.history(chat))["messages"]
    assert [part.get("text") for message in history for part in message["content"]].count("unanswered") == 1


async def test_an_open_call_of_a_failed_turn_is_answered_before_the_summary(talk: Talk) -> None:
    """Otherwise the tools would run first, and the request would be forgotten."""
    chat = await talk.start()
    fence = await talk.begin(chat)
    call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "current_time", "args": {}}
    async with talk.api.resources.database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", [call])])
    await talk.fail(chat)
    assert (await compact(talk, chat)).status_code == 200
    result = (await talk.history(chat))["messages"][0]["content"][0]
    assert (result["tool_call_id"], result["is_error"]) == ("c1", True)
    await summarised(talk, chat)


async def test_an_old_attempt_cannot_commit_into_a_summary(talk: Talk) -> None:
    """The request changes no message, yet it ends the epoch of whoever worked before it."""
    chat = await talk.start()
    fence = await talk.begin(chat)
    async with talk.api.resources.database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", said("done"))])
    late = moves.Fence(chat, (await versions(talk, chat))["history_version"], 1)
    assert (await compact(talk, chat)).status_code == 200
    await talk.begin(chat)
    with pytest.raises(FenceLost):
        async with talk.api.resources.database.begin() as session:
            await moves.commit_step(session, late, [StepRow("assistant", said("a zombie's"))])


async def versions(talk: Talk, chat: UUID) -> dict[str, Any]:
    async with talk.api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat})
    return row


async def a_model(talk: Talk) -> str:
    response = await talk.client.get(f"{CHATS}/model-configs")
    found: str = response.json()[0]["id"]
    return found


async def test_a_threshold_is_set_replaced_and_removed(talk: Talk, owner: Person) -> None:
    model = await a_model(talk)
    assert (await talk.client.get(THRESHOLDS)).json() == {"thresholds": []}
    for percent in (50, 0, 100):
        response = await talk.client.put(f"{THRESHOLDS}/{model}", json={"threshold_percent": percent})
        assert response.status_code == 200, response.text
        assert response.json() == {"model_config_id": model, "threshold_percent": percent}
        assert (await talk.client.get(THRESHOLDS)).json() == {"thresholds": [response.json()]}
    assert (await owner.client.get(THRESHOLDS)).json() == {"thresholds": []}, "it is one's own"
    for _ in range(2):
        assert (await talk.client.delete(f"{THRESHOLDS}/{model}")).status_code == 204
    assert (await talk.client.get(THRESHOLDS)).json() == {"thresholds": []}


@pytest.mark.parametrize("given", [-1, 101, 1.5, "much", None])
async def test_a_threshold_is_a_whole_percentage(talk: Talk, given: object) -> None:
    response = await talk.client.put(f"{THRESHOLDS}/{await a_model(talk)}", json={"threshold_percent": given})
    assert response.status_code == 400
    assert response.json()["validations"][0]["field"] == "threshold_percent"


async def test_a_threshold_is_of_a_model_that_can_be_used(talk: Talk) -> None:
    body = {"threshold_percent": 50}
    nowhere = await talk.client.put(f"{THRESHOLDS}/{uuid4()}", json=body)
    assert nowhere.status_code == 404
    for verb in ("put", "delete"):
        nonsense = await talk.client.request(verb, f"{THRESHOLDS}/gpt", json=body)
        assert (nonsense.status_code, nonsense.json()["message"]) == (400, "Invalid chat model config ID.")
    model = await a_model(talk)
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "UPDATE chat_model_configs SET enabled = false")
    disabled = await talk.client.put(f"{THRESHOLDS}/{model}", json=body)
    assert (disabled.status_code, disabled.json()["message"]) == (400, "Model config is disabled.")


async def test_stored_thresholds_that_make_no_sense_are_not_shown(talk: Talk) -> None:
    async with talk.api.resources.database.begin() as session:
        for model, value in ((uuid4(), "much"), (uuid4(), "400"), ("no-model", "50")):
            await fetch(
                session,
                "INSERT INTO user_configs (user_id, key, value) VALUES (%(user)s, %(key)s, %(value)s)",
                {"user": talk.person.id, "key": f"chat_compaction_threshold_pct:{model}", "value": value},
            )
    assert (await talk.client.get(THRESHOLDS)).json() == {"thresholds": []}
