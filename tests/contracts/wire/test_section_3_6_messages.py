"""wire-api.md 3.6 to 3.9: reading messages, sending, editing, prompts."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.store import moves
from models.store.moves import StepRow
from tests.api.talk import said
from tests.contracts.wire.world import BAD_JSON, BAD_QUERY, NOWHERE, World, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN_MODEL = ("Invalid model config ID.", f"There is no model config {NOWHERE}.")


async def a_long_chat(world: World) -> tuple[UUID, list[int]]:
    """A chat with six visible messages, the last turn at rest; their ids."""
    chat = await world.talk.start("1")
    await world.talk.answer(chat, "2")
    for words in ("3", "5"):
        await world.talk.say(chat, words)
        await world.talk.answer(chat, str(int(words) + 1))
    page = await world.talk.history(chat)
    return chat, sorted(message["id"] for message in page["messages"])


async def test_3_6_pages_run_backwards_but_forwards_with_after_id_alone(world: World) -> None:
    chat, ids = await a_long_chat(world)
    cases: list[tuple[dict[str, int], list[int], bool]] = [
        ({}, ids[::-1], False),
        ({"limit": 4}, ids[:1:-1], True),
        ({"before_id": ids[3]}, ids[2::-1], False),
        ({"before_id": ids[3], "limit": 1}, [ids[2]], True),
        ({"after_id": ids[1]}, ids[2:], False),
        ({"after_id": ids[1], "limit": 2}, ids[2:4], True),
        ({"after_id": ids[0], "before_id": ids[4]}, ids[3:0:-1], False),
        ({"after_id": 0, "limit": 200}, ids, False),
        ({"before_id": ids[0]}, [], False),
    ]
    for query, expected, more in cases:
        page = await world.talk.history(chat, **query)
        assert ([message["id"] for message in page["messages"]], page["has_more"]) == (expected, more), query


async def test_3_6_the_queue_comes_with_the_page_without_cursors(world: World) -> None:
    chat = await world.talk.start()
    queued = (await world.talk.say(chat, "later"))["queued_message"]
    assert (await world.talk.history(chat))["queued_messages"] == [queued]
    for query in ({"after_id": 0}, {"before_id": 2**62}):
        assert (await world.talk.history(chat, **query))["queued_messages"] == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "Invalid limit parameter (1-200)."),
        ("limit=201", "Invalid limit parameter (1-200)."),
        ("after_id=5&before_id=5", "after_id must be less than before_id."),
        ("after_id=6&before_id=5", "after_id must be less than before_id."),
    ],
)
async def test_3_6_a_page_that_cannot_be(world: World, query: str, message: str) -> None:
    refused(await world.ask("GET", f"/{await world.talk.start()}/messages?{query}"), 400, message)


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=-1", "after_id=-1", "before_id=1.5", "before_id=9223372036854775808"]
)
async def test_3_6_a_parameter_that_is_no_number(world: World, query: str) -> None:
    response = await world.ask("GET", f"/{await world.talk.start()}/messages?{query}")
    refused(response, 400, BAD_QUERY, None, "*")
    assert response.json()["validations"][0]["field"] == query.partition("=")[0]


async def test_3_6_what_only_the_model_sees_and_what_was_edited_away_is_not_listed(world: World) -> None:
    chat = await world.talk.start("1")
    await world.commit(
        chat, StepRow("assistant", said("secret"), visibility="model"), StepRow("assistant", said("shown"))
    )
    page = await world.talk.history(chat)
    assert [message["content"] for message in page["messages"]] == [said("shown"), said("1")]
    first = page["messages"][-1]["id"]
    edited = await world.ask("PATCH", f"/{chat}/messages/{first}", {"content": said("1b")})
    assert [message["id"] for message in (await world.talk.history(chat))["messages"]] == [
        edited.json()["message"]["id"]
    ]


async def test_3_7_an_idle_chat_takes_a_message_at_once(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.answer(chat)
    sent = await world.talk.say(chat, " again ")
    assert set(sent) == {"message", "queued"}
    assert (sent["queued"], sent["message"]["content"], sent["message"]["role"]) == (False, said("again"), "user")
    assert sent["message"]["created_by"] == str(world.member.id)
    assert sent["message"]["model_config_id"] == await world.model()
    assert (await world.talk.get(chat))["status"] == "pending"


async def test_3_7_a_busy_chat_queues_and_a_chat_with_a_queue_stays_in_order(world: World) -> None:
    chat = await world.talk.start()
    for status in ("pending", "running"):
        assert (await world.talk.get(chat))["status"] == status
        sent = await world.talk.say(chat, status)
        assert set(sent) == {"queued_message", "queued"}
        assert (sent["queued"], sent["queued_message"]["content"]) == (True, said(status))
        if status == "pending":
            fence = await world.talk.begin(chat)
    async with world.api.resources.database.begin() as session:
        await moves.finish_error(session, fence, {"message": "no", "kind": "auth", "retryable": False})
    assert (await world.talk.get(chat))["status"] == "error"
    assert (await world.talk.say(chat, "behind"))["queued"] is True


async def test_3_7_an_error_is_cleared_by_the_next_message(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.fail(chat)
    assert (await world.talk.get(chat))["last_error"]["kind"] == "auth"
    await world.talk.say(chat, "again")
    shown = await world.talk.get(chat)
    assert (shown["status"], "last_error" in shown) == ("pending", False)


async def test_3_7_an_interrupting_message_waits_its_turn_behind_the_queue(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.begin(chat)
    await world.talk.say(chat, "first", busy_behavior="queue")
    sent = await world.talk.say(chat, "second", busy_behavior="interrupt")
    assert sent["queued"] is True
    queue = (await world.talk.history(chat))["queued_messages"]
    assert [each["content"] for each in queue] == [said("first"), said("second")]


async def test_3_7_plan_mode_is_kept_and_applies_while_queued(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.say(chat, "a", plan_mode="plan")
    assert (await world.talk.get(chat))["plan_mode"] == "plan"
    await world.talk.say(chat, "b")
    assert (await world.talk.get(chat))["plan_mode"] == "plan"
    await world.talk.say(chat, "c", plan_mode="")
    assert "plan_mode" not in await world.talk.get(chat)


FAULTS: tuple[tuple[dict[str, Any], tuple[Any, ...]], ...] = (
    ({"content": []}, ("Content is required.", "Content cannot be empty.")),
    ({"mcp_server_ids": [NOWHERE]}, ("One or more MCP server IDs are invalid.", f"Invalid IDs: {NOWHERE}")),
    ({"plan_mode": "later"}, ("Invalid plan_mode value.",)),
    ({"busy_behavior": "shout"}, ("Invalid busy_behavior value.", 'Must be "queue" or "interrupt".')),
    ({"model_config_id": NOWHERE}, UNKNOWN_MODEL),
)


@pytest.mark.parametrize("place", range(len(FAULTS)))
async def test_3_7_of_several_faults_the_documented_first_is_told(world: World, place: int) -> None:
    chat = await world.talk.start()
    body: dict[str, Any] = {"content": said("x")}
    for change, _ in FAULTS[place:]:
        body |= change
    refused(await world.ask("POST", f"/{chat}/messages", body), 400, *FAULTS[place][1])


async def test_3_7_who_and_whether_come_before_what(world: World) -> None:
    chat = await world.talk.start()
    path = f"/{chat}/messages"
    not_found(await world.ask("POST", path, content=b"{", by=world.other))
    await world.talk.share(chat, world.other)
    not_found(await world.ask("POST", path, content=b"{", by=world.other))
    message = "Only the chat owner may send messages."
    refused(await world.ask("POST", path, content=b"{", by=world.boss), 403, message)
    refused(await world.ask("POST", path, content=b"{"), 400, BAD_JSON, "*")
    await world.talk.archive(chat)
    refused(await world.ask("POST", path, content=b"{"), 400, "Cannot send messages to an archived chat.")
    refused(await world.ask("POST", path, content=b"{", by=world.boss), 403, message)


async def test_3_7_a_full_queue_is_429_and_comes_before_the_model(world: World) -> None:
    chat = await world.talk.start()
    for number in range(20):
        assert (await world.talk.say(chat, str(number)))["queued"] is True
    for body in ({"content": said("x")}, {"content": said("x"), "model_config_id": NOWHERE}):
        response = await world.ask("POST", f"/{chat}/messages", body)
        refused(response, 429, "Message queue is full.", "Maximum 20 messages can be queued.")
    faulty = {"content": said("x"), "busy_behavior": "shout"}
    refused(await world.ask("POST", f"/{chat}/messages", faulty), 400, *FAULTS[3][1])


async def test_3_7_a_model_that_is_not_there_leaves_nothing_behind(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.answer(chat)
    before = await world.talk.get(chat), await world.talk.history(chat)
    body = {"content": said("x"), "model_config_id": NOWHERE, "plan_mode": "plan"}
    refused(await world.ask("POST", f"/{chat}/messages", body), 400, *UNKNOWN_MODEL)
    edited = await world.ask("PATCH", f"/{chat}/messages/{before[1]['messages'][-1]['id']}", body)
    refused(edited, 400, *UNKNOWN_MODEL)
    assert (await world.talk.get(chat), await world.talk.history(chat)) == before


async def test_3_7_over_the_spend_limit_is_409_before_a_full_queue(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.answer(chat, usage={"output_tokens": 1}, total_cost_micros=7)
    await world.talk.say(chat, "go on")
    for number in range(20):
        await world.talk.say(chat, str(number))
    first = (await world.talk.history(chat))["messages"][-1]["id"]
    body = {"content": said("x"), "model_config_id": NOWHERE}
    try:
        limit = {"spend_limit_micros": 1, "period": "month"}
        assert (await world.ask("PUT", "/usage-limits", limit, by=world.owner)).status_code == 200
        for method, path in (("POST", "/messages"), ("PATCH", f"/messages/{first}"), ("PATCH", "/messages/1")):
            response = await world.ask(method, f"/{chat}{path}", body)
            assert (response.status_code, response.json()["message"]) == (409, "Chat usage limit exceeded."), path
            assert response.json()["limit_micros"] == 1
        wrong = await world.ask("POST", f"/{chat}/messages", {"content": []})
        refused(wrong, 400, "Content is required.", "Content cannot be empty.")
    finally:
        cleared = await world.ask("PUT", "/usage-limits", {"spend_limit_micros": None}, by=world.owner)
        assert cleared.status_code == 200


async def test_3_8_an_edit_replaces_the_message_and_all_that_followed(world: World) -> None:
    chat, ids = await a_long_chat(world)
    await world.talk.say(chat, "7")
    await world.talk.say(chat, "queued")
    edited = await world.ask("PATCH", f"/{chat}/messages/{ids[2]}", {"content": said("3b")})
    assert (edited.status_code, set(edited.json())) == (200, {"message"})
    message = edited.json()["message"]
    page = await world.talk.history(chat)
    assert [each["id"] for each in page["messages"]] == [message["id"], ids[1], ids[0]]
    assert message["id"] > ids[-1]
    assert (page["queued_messages"], (await world.talk.get(chat))["status"]) == ([], "pending")


async def test_3_8_faults_of_an_edit_in_the_documented_order(world: World) -> None:
    chat, ids = await a_long_chat(world)
    path = f"/{chat}/messages/"
    foreign = (await world.talk.history(await world.talk.start()))["messages"][0]["id"]
    for bad in ("0", "-1", "x", "9223372036854775808"):
        response = await world.ask("PATCH", path + bad, content=b"{")
        refused(response, 400, "Invalid chat message ID.", "Message ID must be a positive integer.")
    refused(await world.ask("PATCH", path + str(foreign), content=b"{"), 400, BAD_JSON, "*")
    empty = await world.ask("PATCH", path + str(foreign), {"content": []})
    refused(empty, 400, "Content is required.", "Content cannot be empty.")
    body = {"content": said("x"), "model_config_id": NOWHERE}
    for missing in (foreign, 2**62):
        response = await world.ask("PATCH", path + str(missing), body)
        refused(response, 404, "Chat message not found.", "Message does not belong to this chat.")
    refused(await world.ask("PATCH", path + str(ids[1]), body), 400, "Only user messages can be edited.")
    refused(await world.ask("PATCH", path + str(ids[2]), body), 400, *UNKNOWN_MODEL)
    message = "Only the chat owner may edit messages."
    refused(await world.ask("PATCH", path + "x", content=b"{", by=world.boss), 403, message)
    not_found(await world.ask("PATCH", path + "x", content=b"{", by=world.other))
    await world.talk.archive(chat)
    refused(await world.ask("PATCH", path + "x", content=b"{"), 400, "Cannot edit messages in an archived chat.")
    assert sorted(each["id"] for each in (await world.talk.history(chat))["messages"]) == ids


async def test_3_9_prompts_are_the_texts_of_the_users_messages_newest_first(world: World) -> None:
    chat = await world.talk.start("one")
    await world.talk.answer(chat)
    two = [{"type": "text", "text": "a"}, {"type": "file-reference", "file_name": "f"}, {"type": "text", "text": "b"}]
    await world.ask("POST", f"/{chat}/messages", {"content": two})
    await world.talk.answer(chat)
    await world.ask("POST", f"/{chat}/messages", {"content": [two[1]]})
    found = (await world.ask("GET", f"/{chat}/prompts")).json()["prompts"]
    assert [each["text"] for each in found] == ["ab", "one"]
    for query, texts in (("limit=1", ["ab"]), ("limit=0", ["ab", "one"]), ("limit=2000", ["ab", "one"])):
        page = (await world.ask("GET", f"/{chat}/prompts?{query}")).json()["prompts"]
        assert [each["text"] for each in page] == texts


async def test_3_9_wrong_limits_of_prompts(world: World) -> None:
    chat = await world.talk.start()
    refused(await world.ask("GET", f"/{chat}/prompts?limit=2001"), 400, "Invalid limit parameter (0-2000).")
    for query in ("limit=x", "limit=-1"):
        refused(await world.ask("GET", f"/{chat}/prompts?{query}"), 400, BAD_QUERY, None, "*")
    not_found(await world.ask("GET", f"/{uuid4()}/prompts?limit=2001"))
