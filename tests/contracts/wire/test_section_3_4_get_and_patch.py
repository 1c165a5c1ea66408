"""wire-api.md 3.4 and 3.5: looking at a chat and changing it."""

from typing import Any

import pytest

from models.store import titles
from models.store.database import fetch
from tests.contracts.wire.world import BAD_JSON, NO_ID, NOWHERE, World, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def patched(world: World, chat: Any, **change: Any) -> None:
    response = await world.ask("PATCH", f"/{chat}", change)
    assert response.status_code == 204, response.text


async def test_3_4_a_chat_is_shown_with_its_files_and_family(world: World) -> None:
    root, child = await world.family()
    file_id = await world.upload()
    sent = await world.ask("POST", f"/{root}/messages", {"content": [{"type": "file", "file_id": file_id}]})
    assert sent.status_code == 200
    shown = await world.talk.get(root)
    assert [file["id"] for file in shown["files"]] == [file_id]
    assert [each["id"] for each in shown["children"]] == [str(child)]
    assert "diff_status" not in shown
    assert shown["children"][0]["diff_status"]["chat_id"] == str(child)
    alone = await world.talk.get(child)
    assert (alone["parent_chat_id"], alone["root_chat_id"], alone["children"]) == (str(root), str(root), [])


async def test_3_4_whether_a_single_chat_is_unread_is_not_computed(world: World) -> None:
    root, child = await world.family()
    await world.talk.answer(root)
    await world.talk.answer(child)
    shown = await world.talk.get(root)
    assert (shown["has_unread"], shown["children"][0]["has_unread"]) == (False, True)


async def test_3_4_children_are_those_with_the_parents_archived_flag(world: World) -> None:
    root, child = await world.family()
    await world.talk.archive(child)
    assert (await world.talk.get(root))["children"] == []
    await world.talk.archive(root)
    assert len((await world.talk.get(root))["children"]) == 1


async def test_3_4_readers_see_a_chat_and_others_do_not(world: World) -> None:
    chat = await world.talk.start()
    not_found(await world.ask("GET", f"/{chat}", by=world.other))
    await world.talk.share(chat, world.other)
    shown = (await world.ask("GET", f"/{chat}", by=world.other)).json()
    assert (shown["shared"], shown["owner_username"]) == (True, "member")


@pytest.mark.parametrize("title", ["", "   "])
async def test_3_5_a_title_is_not_empty(world: World, title: str) -> None:
    chat = await world.talk.start()
    refused(await world.ask("PATCH", f"/{chat}", {"title": title}), 400, "Title cannot be empty.")


async def test_3_5_a_title_has_at_most_200_characters_after_trimming(world: World) -> None:
    chat = await world.talk.start()
    before = await world.talk.get(chat)
    await patched(world, chat, title=f"  {'é' * 200}  ")
    shown = await world.talk.get(chat)
    assert (shown["title"], shown["updated_at"]) == ("é" * 200, before["updated_at"])
    response = await world.ask("PATCH", f"/{chat}", {"title": "é" * 201})
    refused(response, 400, "Title must be at most 200 characters.")


async def test_3_5_a_title_that_is_being_generated_cannot_be_changed(world: World) -> None:
    chat = await world.talk.start()
    async with world.api.resources.database.begin() as session:
        assert await titles.hold(session, chat) is not None
    response = await world.ask("PATCH", f"/{chat}", {"title": "mine"})
    refused(response, 409, "Title regeneration already in progress for this chat.")
    await patched(world, chat, title="hello there")  # as it is: nothing to do


async def test_3_5_labels_are_replaced_cleared_and_count_as_a_change(world: World) -> None:
    chat = await world.talk.start(labels={"a": "1"})
    before = await world.talk.get(chat)
    await patched(world, chat, labels={"b": "2"})
    shown = await world.talk.get(chat)
    assert shown["labels"] == {"b": "2"}
    assert shown["updated_at"] > before["updated_at"]
    await patched(world, chat, labels={})
    assert (await world.talk.get(chat))["labels"] == {}


async def test_3_5_plan_mode_goes_on_and_off_and_is_no_change(world: World) -> None:
    chat = await world.talk.start()
    before = await world.talk.get(chat)
    refused(await world.ask("PATCH", f"/{chat}", {"plan_mode": "later"}), 400, "Invalid plan_mode value.")
    await patched(world, chat, plan_mode="plan")
    shown = await world.talk.get(chat)
    assert (shown["plan_mode"], shown["updated_at"]) == ("plan", before["updated_at"])
    await patched(world, chat, plan_mode="")
    assert "plan_mode" not in await world.talk.get(chat)


async def test_3_5_archiving_takes_the_family_and_unpins_it(world: World) -> None:
    root, child = await world.family()
    for chat in (root, child):
        await world.talk.answer(chat)
    await patched(world, root, pin_order=1)
    await patched(world, root, archived=True)
    for chat in (root, child):
        shown = await world.talk.get(chat)
        assert (shown["archived"], shown["status"], shown["pin_order"]) == (True, "waiting", 0)
    refused(await world.ask("PATCH", f"/{root}", {"archived": True}), 400, "Chat is already archived.")
    message = "Cannot unarchive a child chat while its parent is archived. Unarchive the parent chat to cascade."
    refused(await world.ask("PATCH", f"/{child}", {"archived": False}), 400, message)
    await patched(world, root, archived=False)
    assert [(await world.talk.get(chat))["archived"] for chat in (root, child)] == [False, False]
    refused(await world.ask("PATCH", f"/{root}", {"archived": False}), 400, "Chat is already not archived.")


async def test_3_5_a_child_may_be_archived_alone(world: World) -> None:
    root, child = await world.family()
    await patched(world, child, archived=True)
    assert [(await world.talk.get(chat))["archived"] for chat in (root, child)] == [False, True]


async def test_3_5_what_cannot_be_pinned(world: World) -> None:
    root, child = await world.family()
    refused(await world.ask("PATCH", f"/{root}", {"pin_order": -1}), 400, "Pin order must be non-negative.")
    refused(await world.ask("PATCH", f"/{child}", {"pin_order": 1}), 400, "Cannot pin a child chat.")
    await world.talk.archive(root)
    refused(await world.ask("PATCH", f"/{root}", {"pin_order": 1}), 400, "Cannot pin an archived chat.")


async def test_3_5_pins_append_move_clamp_and_close_the_gap(world: World) -> None:
    talk = await world.newcomer("pinner")
    chats = [await talk.start(str(n)) for n in range(4)]

    async def pin(place: int, order: int) -> list[int]:
        response = await talk.client.patch(f"/api/v2/chats/{chats[place]}", json={"pin_order": order})
        assert response.status_code == 204, response.text
        return [(await talk.get(chat))["pin_order"] for chat in chats]

    assert await pin(0, 7) == [1, 0, 0, 0]
    assert await pin(1, 1) == [1, 2, 0, 0]
    assert await pin(2, 1) == [1, 2, 3, 0]
    assert await pin(2, 1) == [2, 3, 1, 0]
    assert await pin(2, 99) == [1, 2, 3, 0]
    assert await pin(1, 0) == [1, 0, 2, 0]


async def test_3_5_a_workspace_that_is_not_there_and_none(world: World) -> None:
    chat = await world.talk.start()
    response = await world.ask("PATCH", f"/{chat}", {"workspace_id": NOWHERE})
    refused(response, 400, "Workspace not found or you do not have access to this resource")
    await patched(world, chat, workspace_id=NO_ID)


FAULTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"plan_mode": "later"}, "Invalid plan_mode value."),
    ({"title": ""}, "Title cannot be empty."),
    ({"labels": {"": "x"}}, "Invalid labels."),
    ({"archived": False}, "Chat is already not archived."),
    ({"pin_order": -1}, "Pin order must be non-negative."),
    ({"workspace_id": NOWHERE}, "Workspace not found or you do not have access to this resource"),
)


@pytest.mark.parametrize("place", range(len(FAULTS)))
async def test_3_5_of_several_faults_the_documented_first_is_told(world: World, place: int) -> None:
    chat = await world.talk.start()
    body: dict[str, Any] = {}
    for change, _ in FAULTS[place:]:
        body |= change
    response = await world.ask("PATCH", f"/{chat}", body)
    assert (response.status_code, response.json()["message"]) == (400, FAULTS[place][1])


async def test_3_5_a_fault_leaves_nothing_of_the_request_behind(world: World) -> None:
    chat = await world.talk.start()
    before = await world.talk.get(chat)
    for change, message in FAULTS[2:]:
        asked = {"title": "changed", "plan_mode": "plan", **change}
        response = await world.ask("PATCH", f"/{chat}", asked)
        assert (response.status_code, response.json()["message"]) == (400, message)
    assert await world.talk.get(chat) == before


async def test_3_5_null_is_absent_and_nothing_is_no_change(world: World) -> None:
    chat = await world.talk.start()
    before = await world.talk.get(chat)
    nulls = dict.fromkeys(("title", "labels", "archived", "pin_order", "workspace_id", "plan_mode"))
    await patched(world, chat)
    await patched(world, chat, **nulls)
    assert await world.talk.get(chat) == before
    refused(await world.ask("PATCH", f"/{chat}", content=b""), 400, BAD_JSON, "*")


async def test_3_5_who_may_not_change_a_chat_is_told_that_it_is_not_there(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.share(chat, world.other)
    for person in (world.other, world.outsider):
        not_found(await world.ask("PATCH", f"/{chat}", {"title": ""}, by=person))
    assert (await world.ask("PATCH", f"/{chat}", {"title": "tidied"}, by=world.boss)).status_code == 204


async def test_3_5_a_working_chat_stops_hard_when_it_is_archived(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.begin(chat)
    await world.talk.archive(chat)
    async with world.api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT status, archived FROM chats WHERE id = %(id)s", {"id": chat})
    assert (row["status"], row["archived"]) == ("interrupting", True)
