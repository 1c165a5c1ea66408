"""PATCH of a chat: each field's rules and words, all of a request or nothing of it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said

NO_ID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def patch(talk: Talk, chat: UUID, **body: Any) -> httpx.Response:
    return await talk.client.patch(f"{CHATS}/{chat}", json=body)


async def changed(talk: Talk, chat: UUID, **body: Any) -> dict[str, Any]:
    """The chat after a change that was accepted."""
    response = await patch(talk, chat, **body)
    assert (response.status_code, response.content) == (204, b""), response.text
    return await talk.get(chat)


async def stored(talk: Talk, chat: UUID) -> dict[str, Any]:
    async with talk.api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat})
    return row


async def write(talk: Talk, chat: UUID, assignment: Any, **values: Any) -> None:
    async with talk.api.resources.database.begin() as session:
        await fetch(session, f"UPDATE chats SET {assignment} WHERE id = %(chat)s", {"chat": chat, **values})


async def child(talk: Talk, root: UUID) -> UUID:
    """A chat of a sub-agent, as workspaces will make them."""
    made = await talk.start("sub-agent")
    await write(talk, made, "parent_chat_id = %(root)s, root_chat_id = %(root)s", root=root)
    return made


async def test_a_change_of_nothing_changes_nothing(talk: Talk) -> None:
    chat = await talk.start()
    before = await stored(talk, chat)
    await changed(talk, chat)
    await changed(talk, chat, title=None, labels=None, archived=None, pin_order=None, workspace_id=None, plan_mode=None)
    await changed(talk, chat, workspace_id=NO_ID, unknown="ignored")
    assert await stored(talk, chat) == before


async def test_a_chat_is_renamed_without_moving_in_the_list(talk: Talk) -> None:
    chat = await talk.start()
    before = await stored(talk, chat)
    shown = await changed(talk, chat, title="  žluťoučký kůň 🐴 ")
    assert shown["title"] == "žluťoučký kůň 🐴"
    assert await stored(talk, chat) == before | {"title": "žluťoučký kůň 🐴"}


async def test_two_hundred_characters_are_a_title_and_one_more_is_not(talk: Talk) -> None:
    chat = await talk.start()
    assert (await changed(talk, chat, title="🐴" * 200))["title"] == "🐴" * 200
    for title, message in (
        ("🐴" * 201, "Title must be at most 200 characters."),
        (" \n", "Title cannot be empty."),
        ("", "Title cannot be empty."),
    ):
        refused = await patch(talk, chat, title=title)
        assert (refused.status_code, refused.json()) == (400, {"message": message})
    assert (await talk.get(chat))["title"] == "🐴" * 200


async def test_a_rename_waits_for_a_title_that_is_being_generated_but_not_for_a_dead_one(talk: Talk) -> None:
    chat = await talk.start()
    await write(talk, chat, "title = 'before', title_locked_at = now() - interval '59 seconds'")
    refused = await patch(talk, chat, title="after")
    assert refused.status_code == 409
    assert refused.json() == {"message": "Title regeneration already in progress for this chat."}
    assert (await patch(talk, chat, title=" before ")).status_code == 204
    await write(talk, chat, "title_locked_at = now() - interval '61 seconds'")
    assert (await changed(talk, chat, title="after"))["title"] == "after"
    assert (await stored(talk, chat))["title_locked_at"] is None


async def test_labels_are_replaced_and_count_as_use(talk: Talk) -> None:
    chat = await talk.start(labels={"a": "1", "b": "2"})
    before = await talk.get(chat)
    shown = await changed(talk, chat, labels={"b": "3\x00"})
    assert shown["labels"] == {"b": "3\x00"}
    assert shown["updated_at"] > before["updated_at"]
    assert (await changed(talk, chat, labels={}))["labels"] == {}
    refused = await patch(talk, chat, labels={"": "x", "!": ""})
    assert refused.status_code == 400
    assert refused.json()["message"] == "Invalid labels."
    assert [each["field"] for each in refused.json()["validations"]] == ["labels"] * 3


async def test_plan_mode_goes_on_and_off_without_counting_as_use(talk: Talk) -> None:
    chat = await talk.start()
    before = await talk.get(chat)
    assert await changed(talk, chat, plan_mode="plan") == before | {"plan_mode": "plan"}
    assert await changed(talk, chat, plan_mode="") == before


async def test_a_workspace_that_is_not_there_is_refused(talk: Talk) -> None:
    chat = await talk.start()
    refused = await patch(talk, chat, workspace_id=str(uuid4()))
    assert refused.status_code == 400
    assert refused.json() == {"message": "Workspace not found or you do not have access to this resource"}


async def test_what_is_refused_leaves_nothing_of_the_request_behind(talk: Talk) -> None:
    chat = await talk.start()
    before = await stored(talk, chat)
    good = {"title": "new", "labels": {"a": "b"}, "archived": True, "plan_mode": "plan"}
    for wrong in ({"workspace_id": str(uuid4())}, {"pin_order": 1}, {"pin_order": -1}, {"labels": {"": ""}}):
        assert (await patch(talk, chat, **good | wrong)).status_code == 400, wrong
        assert await stored(talk, chat) == before


async def test_of_several_wrong_fields_the_documented_first_is_named(talk: Talk) -> None:
    chat = await talk.start()
    wrong: dict[str, Any] = {
        "plan_mode": "x",
        "title": " ",
        "labels": {"": "x"},
        "archived": False,
        "pin_order": -1,
        "workspace_id": str(uuid4()),
    }
    messages = []
    while wrong:
        messages.append((await patch(talk, chat, **wrong)).json()["message"])
        del wrong[next(iter(wrong))]
    assert messages == [
        "Invalid plan_mode value.",
        "Title cannot be empty.",
        "Invalid labels.",
        "Chat is already not archived.",
        "Pin order must be non-negative.",
        "Workspace not found or you do not have access to this resource",
    ]


@pytest.mark.parametrize(
    "body", [{"title": 7}, {"pin_order": 2**31}, {"pin_order": "x"}, {"archived": "maybe"}, {"labels": {"a": 1}}]
)
async def test_a_field_of_another_type_is_refused(talk: Talk, body: dict[str, Any]) -> None:
    chat = await talk.start()
    refused = await patch(talk, chat, **body)
    assert refused.status_code == 400
    assert refused.json()["message"] == "Validation failed."


async def test_a_name_that_cannot_be_stored_is_refused(talk: Talk) -> None:
    chat = await talk.start()
    assert (await patch(talk, chat, title="a\x00b")).status_code == 400


async def test_whoever_may_not_change_a_chat_is_not_told_that_it_exists(talk: Talk) -> None:
    chat = await talk.start()
    reader = await talk.api.person("reader", org_roles=("agents-access",))
    await talk.share(chat, reader)
    assert (await reader.client.get(f"{CHATS}/{chat}")).status_code == 200
    for body in ({"title": "mine"}, {"plan_mode": "nonsense"}):
        assert (await reader.client.patch(f"{CHATS}/{chat}", json=body)).status_code == 404
    narrow = await talk.api.sign_in(talk.person.id, "member", ("chat:read",))
    assert (await narrow.client.patch(f"{CHATS}/{chat}", json={"title": "x"})).status_code == 404


async def test_an_administrator_may_tidy_up_and_the_owners_pins_are_meant(talk: Talk) -> None:
    chief = await talk.api.person("chief", org_roles=("organization-admin",))
    first, second = await talk.start(), await talk.start()
    assert (await chief.client.patch(f"{CHATS}/{first}", json={"pin_order": 1, "title": "tidy"})).status_code == 204
    assert (await changed(talk, second, pin_order=1))["pin_order"] == 2
    assert (await talk.get(first))["title"] == "tidy"


async def test_pinned_chats_lead_the_list_in_their_order(talk: Talk) -> None:
    chats = [await talk.start() for _ in range(4)]
    for chat in chats[:3]:
        await changed(talk, chat, pin_order=1)
    await changed(talk, chats[2], pin_order=1)
    listed = (await talk.client.get(CHATS)).json()
    expected = [(chats[2], 1), (chats[0], 2), (chats[1], 3), (chats[3], 0)]
    assert [(UUID(each["id"]), each["pin_order"]) for each in listed] == expected
    await changed(talk, chats[0], pin_order=0)
    listed = (await talk.client.get(CHATS)).json()
    assert [(UUID(each["id"]), each["pin_order"]) for each in listed][:2] == [(chats[2], 1), (chats[1], 2)]


async def test_an_archived_family_leaves_the_list_and_comes_back(talk: Talk) -> None:
    root = await talk.start()
    sub = await child(talk, root)
    await talk.answer(root)
    await changed(talk, root, pin_order=1)
    shown = await changed(talk, root, archived=True)
    assert (shown["archived"], shown["pin_order"], shown["status"]) == (True, 0, "waiting")
    assert [(each["id"], each["status"]) for each in shown["children"]] == [(str(sub), "interrupting")]
    assert (await talk.client.get(CHATS)).json() == []
    refused = await patch(talk, sub, archived=False)
    assert refused.json()["message"].startswith("Cannot unarchive a child chat while its parent is archived.")
    assert not (await changed(talk, root, archived=False))["archived"]
    [listed] = (await talk.client.get(CHATS)).json()
    assert [each["id"] for each in listed["children"]] == [str(sub)]


async def test_a_chat_may_come_back_and_be_pinned_in_one_request(talk: Talk) -> None:
    chat = await talk.start()
    await talk.archive(chat)
    shown = await changed(talk, chat, archived=False, pin_order=1)
    assert (shown["archived"], shown["pin_order"]) == (False, 1)


async def test_an_archived_chat_takes_no_messages_but_is_still_read(talk: Talk) -> None:
    chat = await talk.start()
    message = (await talk.history(chat))["messages"][0]["id"]
    await talk.say(chat, "queued")
    queued = (await talk.history(chat))["queued_messages"][0]["id"]
    await talk.archive(chat)
    address = f"{CHATS}/{chat}"
    refusals = [
        ("POST", "/messages", {"content": said("more")}, "Cannot send messages to an archived chat."),
        ("PATCH", f"/messages/{message}", {"content": said("more")}, "Cannot edit messages in an archived chat."),
        ("POST", f"/queue/{queued}/promote", {}, "Cannot promote queued messages in an archived chat."),
    ]
    before = await stored(talk, chat)
    for method, path, body, said_so in refusals:
        refused = await talk.client.request(method, address + path, json=body)
        assert (refused.status_code, refused.json()["message"]) == (400, said_so)
    assert await stored(talk, chat) == before
    assert (await talk.history(chat))["queued_messages"][0]["id"] == queued


async def test_a_change_is_made_once_under_its_key(talk: Talk) -> None:
    chat = await talk.start()
    headers = {"Idempotency-Key": "away"}
    for _ in range(2):
        response = await talk.client.patch(f"{CHATS}/{chat}", json={"archived": True}, headers=headers)
        assert (response.status_code, response.content) == (204, b"")
    assert (await patch(talk, chat, archived=True)).json() == {"message": "Chat is already archived."}


async def test_changes_of_a_root_and_its_child_at_once_do_not_deadlock(talk: Talk) -> None:
    root = await talk.start()
    sub = await child(talk, root)
    answers = await asyncio.gather(
        *(
            patch(talk, chat, title=f"title {number}", archived=number % 2 == 0, labels={"n": str(number)})
            for number in range(24)
            for chat in (root, sub)
        )
    )
    assert {answer.status_code for answer in answers} <= {204, 400}
    rows = await stored(talk, root), await stored(talk, sub)
    assert rows[1]["archived"] or not rows[0]["archived"]
