"""Reading, sending and editing messages."""

from uuid import UUID, uuid4

import pytest

from models.store import moves
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.trips import trips


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def test_a_page_runs_backwards_but_forwards_with_after_id_alone(talk: Talk) -> None:
    chat = await talk.start("one")
    await talk.answer(chat, "two")
    for words in ("three", "five"):
        await talk.say(chat, words)
        await talk.answer(chat)
    everything = await talk.history(chat)
    ids = [message["id"] for message in everything["messages"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 6
    assert not everything["has_more"]

    async def page(**query: int) -> tuple[list[int], bool]:
        found = await talk.history(chat, **query)
        return [message["id"] for message in found["messages"]], found["has_more"]

    first, second, third, fourth, fifth, sixth = sorted(ids)
    assert await page(limit=2) == ([sixth, fifth], True)
    assert await page(limit=6) == (ids, False)
    assert await page(before_id=fifth, limit=2) == ([fourth, third], True)
    assert await page(before_id=third) == ([second, first], False)
    assert await page(after_id=second, limit=2) == ([third, fourth], True)
    assert await page(after_id=0) == (sorted(ids), False)
    assert await page(after_id=sixth) == ([], False)
    assert await page(after_id=first, before_id=fifth, limit=2) == ([fourth, third], True)
    assert await page(after_id=first, before_id=fourth) == ([third, second], False)


async def test_the_queue_comes_with_the_page_without_a_cursor_only(talk: Talk) -> None:
    chat = await talk.start()
    await talk.say(chat, "first")
    await talk.say(chat, "second")
    queued = (await talk.history(chat))["queued_messages"]
    assert [row["content"] for row in queued] == [said("first"), said("second")]
    assert set(queued[0]) == {"id", "chat_id", "model_config_id", "content", "created_at"}
    assert (await talk.history(chat, after_id=0))["queued_messages"] == []
    assert (await talk.history(chat, before_id=99))["queued_messages"] == []


async def test_wrong_page_parameters_are_refused_in_the_documented_words(talk: Talk) -> None:
    chat = await talk.start()
    for query, message in (
        ({"limit": 0}, "Invalid limit parameter (1-200)."),
        ({"limit": 201}, "Invalid limit parameter (1-200)."),
        ({"before_id": 3, "after_id": 3}, "after_id must be less than before_id."),
        ({"before_id": "x"}, "Query parameters have invalid values."),
        ({"after_id": -1}, "Query parameters have invalid values."),
        ({"before_id": 2**63}, "Query parameters have invalid values."),
    ):
        response = await talk.client.get(f"{CHATS}/{chat}/messages", params=query)
        assert (response.status_code, response.json()["message"]) == (400, message), query


async def test_an_answer_shows_known_usage_only_and_no_internal_keys(talk: Talk) -> None:
    chat = await talk.start()
    fence = await talk.begin(chat)
    row = StepRow(
        "assistant",
        [{"type": "text", "text": "yes", "provider_metadata": {"secret": 1}}],
        usage={"input_tokens": 12, "output_tokens": 3, "cache_read_tokens": 0},
        context_limit=1000,
        runtime_ms=5,
    )
    async with talk.api.resources.database.begin() as session:
        await moves.commit_step(session, fence, [row])
    answer, question = (await talk.history(chat))["messages"]
    assert answer["content"] == said("yes")
    assert answer["usage"] == {"input_tokens": 12, "output_tokens": 3, "context_limit": 1000}
    assert set(answer) == {"id", "chat_id", "created_at", "role", "content", "usage"}
    assert set(question) == {"id", "chat_id", "created_by", "model_config_id", "created_at", "role", "content"}


async def test_a_message_to_an_idle_chat_is_stored_and_the_chat_pending(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    sent = await talk.say(chat, " again ")
    assert set(sent) == {"message", "queued"}
    assert sent["queued"] is False
    assert sent["message"]["content"] == said("again")
    assert sent["message"]["created_by"] == str(talk.person.id)
    assert sent["message"] == (await talk.history(chat))["messages"][0]
    assert (await talk.get(chat))["status"] == "pending"


async def test_a_message_to_a_busy_chat_is_queued(talk: Talk) -> None:
    chat = await talk.start()
    sent = await talk.say(chat, "wait")
    assert set(sent) == {"queued_message", "queued"}
    assert sent["queued"] is True
    assert sent["queued_message"] == (await talk.history(chat))["queued_messages"][0]
    assert (await talk.get(chat))["status"] == "pending"


async def test_an_interrupting_message_is_queued_and_stops_the_turn(talk: Talk) -> None:
    chat = await talk.start()
    await talk.begin(chat)
    sent = await talk.say(chat, "stop and do this", busy_behavior="interrupt")
    assert sent["queued"] is True
    assert (await talk.get(chat))["status"] == "interrupting"


async def test_a_message_after_an_error_runs_the_backlog_first(talk: Talk) -> None:
    chat = await talk.start()
    await talk.say(chat, "a")
    await talk.fail(chat)
    sent = await talk.say(chat, "b")
    assert sent["queued_message"]["content"] == said("b")
    page = await talk.history(chat)
    assert page["messages"][0]["content"] == said("a")
    assert [row["content"] for row in page["queued_messages"]] == [said("b")]
    shown = await talk.get(chat)
    assert shown["status"] == "pending"
    assert "last_error" not in shown


async def test_the_queue_is_bounded_and_says_so(talk: Talk) -> None:
    chat = await talk.start()
    for number in range(20):
        await talk.say(chat, f"message {number}")
    response = await talk.client.post(f"{CHATS}/{chat}/messages", json={"content": said("one too many")})
    assert response.status_code == 429
    assert response.json() == {"message": "Message queue is full.", "detail": "Maximum 20 messages can be queued."}
    assert int(response.headers["retry-after"]) >= 1
    assert len((await talk.history(chat))["queued_messages"]) == 20


async def test_plan_mode_is_the_chats_and_applies_at_once_also_when_queued(talk: Talk) -> None:
    chat = await talk.start()
    await talk.say(chat, "plan it", plan_mode="plan")
    assert (await talk.get(chat))["plan_mode"] == "plan"
    await talk.say(chat, "go on")
    assert (await talk.get(chat))["plan_mode"] == "plan"
    await talk.say(chat, "do it", plan_mode="", mcp_server_ids=[])
    assert "plan_mode" not in await talk.get(chat)


async def test_the_model_is_the_requested_one_else_the_chats_last(talk: Talk) -> None:
    chat = await talk.start()
    async with talk.api.resources.database.begin() as session:
        other, last = uuid4(), (await talk.get(chat))["last_model_config_id"]
        await fetch(
            session,
            """INSERT INTO chat_model_configs (id, ai_provider_id, model, context_limit)
               SELECT %(other)s, ai_provider_id, 'demo-other', 1000 FROM chat_model_configs WHERE is_default""",
            {"other": other},
        )
    await talk.answer(chat)
    assert (await talk.say(chat, "a"))["message"]["model_config_id"] == last
    await talk.answer(chat)
    assert (await talk.say(chat, "b", model_config_id=str(other)))["message"]["model_config_id"] == str(other)
    assert (await talk.get(chat))["last_model_config_id"] == str(other)
    assert (await talk.say(chat, "c"))["queued_message"]["model_config_id"] == str(other)


async def test_checks_of_a_message_come_in_the_documented_order(talk: Talk, owner: Person) -> None:
    chat, unknown = await talk.start(), str(uuid4())
    send = f"{CHATS}/{chat}/messages"
    wrong = {
        "content": [],
        "mcp_server_ids": [unknown],
        "plan_mode": "x",
        "busy_behavior": "x",
        "model_config_id": unknown,
    }
    cases = [
        ({}, "Content is required."),
        ({"content": [{"type": "text", "text": ""}]}, "Invalid input part."),
        ({"content": said("a")}, "One or more MCP server IDs are invalid."),
        ({"mcp_server_ids": []}, "Invalid plan_mode value."),
        ({"plan_mode": "plan"}, "Invalid busy_behavior value."),
        ({"busy_behavior": "queue"}, "Invalid model config ID."),
    ]
    for fixed, message in cases:
        wrong |= fixed
        response = await talk.client.post(send, json=wrong)
        assert (response.status_code, response.json()["message"]) == (400, message)
    response = await talk.client.post(send, content="{")
    assert (response.status_code, response.json()["message"]) == (400, "Request body must be valid JSON.")
    response = await owner.client.post(send, content="{")
    assert (response.status_code, response.json()["message"]) == (403, "Only the chat owner may send messages.")
    await talk.archive(chat)
    response = await talk.client.post(send, content="{")
    assert (response.status_code, response.json()) == (400, {"message": "Cannot send messages to an archived chat."})
    assert (await talk.history(chat))["queued_messages"] == []


async def test_a_body_that_is_missing_or_of_another_shape_is_refused(talk: Talk) -> None:
    chat = await talk.start()
    send = f"{CHATS}/{chat}/messages"
    for body in (b"", b"[]", b"null", b'{"content": "text"}', b'{"content": [1]}', b'{"content": [{"type": 1}]}'):
        response = await talk.client.post(send, content=body)
        assert response.status_code == 400, body
    assert (await talk.history(chat))["queued_messages"] == []


async def test_an_edit_replaces_the_message_and_all_that_followed(talk: Talk) -> None:
    chat = await talk.start("first")
    await talk.answer(chat)
    sent = await talk.say(chat, "second")
    await talk.answer(chat)
    await talk.say(chat, "third")
    await talk.say(chat, "queued")
    edit = f"{CHATS}/{chat}/messages/{sent['message']['id']}"
    response = await talk.client.patch(edit, json={"content": said(" better ")})
    assert response.status_code == 200
    assert set(response.json()) == {"message"}
    message = response.json()["message"]
    assert message["id"] > sent["message"]["id"]
    assert message["content"] == said("better")
    assert message["model_config_id"] == sent["message"]["model_config_id"]
    page = await talk.history(chat)
    assert [row["content"] for row in page["messages"]] == [said("better"), said("indeed"), said("first")]
    assert page["queued_messages"] == []
    assert (await talk.get(chat))["status"] == "pending"
    again = await talk.client.patch(edit, json={"content": said("twice")})
    assert again.status_code == 404


async def test_checks_of_an_edit_come_in_the_documented_order(talk: Talk, owner: Person) -> None:
    chat, other = await talk.start(), await talk.start()
    await talk.answer(chat)
    answer, question = (await talk.history(chat))["messages"]
    [foreign] = (await talk.history(other))["messages"]
    good = {"content": said("x")}
    gone = {"message": "Chat message not found.", "detail": "Message does not belong to this chat."}
    bad_id = {"message": "Invalid chat message ID.", "detail": "Message ID must be a positive integer."}
    for message, body, status, answered in (
        ("x", {}, 400, bad_id),
        ("0", good, 400, bad_id),
        (str(2**63), good, 400, bad_id),
        (question["id"], {}, 400, {"message": "Content is required.", "detail": "Content cannot be empty."}),
        (foreign["id"], good, 404, gone),
        (999999, good, 404, gone),
        (answer["id"], good, 400, {"message": "Only user messages can be edited."}),
    ):
        response = await talk.client.patch(f"{CHATS}/{chat}/messages/{message}", json=body)
        assert (response.status_code, response.json()) == (status, answered)
    edit = f"{CHATS}/{chat}/messages/{question['id']}"
    response = await talk.client.patch(edit, json=good | {"model_config_id": str(UUID(int=5))})
    assert (response.status_code, response.json()["message"]) == (400, "Invalid model config ID.")
    response = await owner.client.patch(edit, json={})
    assert (response.status_code, response.json()["message"]) == (403, "Only the chat owner may edit messages.")
    await talk.archive(chat)
    response = await talk.client.patch(edit, json={})
    assert response.json() == {"message": "Cannot edit messages in an archived chat."}
    assert len((await talk.history(chat))["messages"]) == 2


async def test_hot_requests_take_few_round_trips(talk: Talk) -> None:
    chat = await talk.start()
    await talk.history(chat)
    with trips(talk.api.resources.database) as read:
        await talk.history(chat)
    assert read.count == 1
    with trips(talk.api.resources.database) as sent:
        await talk.say(chat, "more")
    # lock and look, write, commit
    assert sent.count == 3
    with trips(talk.api.resources.database) as created:
        await talk.start()
    # the default model, write, commit
    assert created.count == 3
