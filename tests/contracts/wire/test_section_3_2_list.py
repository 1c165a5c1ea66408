"""wire-api.md 3.2 without the grammar of `q`: listing one's chats."""

from typing import Any
from uuid import UUID

import pytest

from tests.api.talk import Talk
from tests.contracts.wire.world import World, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def listed(talk: Talk, **query: Any) -> list[dict[str, Any]]:
    response = await talk.client.get("/api/v2/chats", params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


async def test_3_2_without_chats_the_list_is_an_empty_array(world: World) -> None:
    assert await listed(await world.newcomer("empty")) == []


async def test_3_2_pinned_chats_come_first_then_the_last_changed_and_pages_follow_the_cursor(world: World) -> None:
    talk = await world.newcomer("pager")
    made = [str(await talk.start(f"chat {n}")) for n in range(6)]
    for chat in (made[1], made[4]):
        assert (await talk.client.patch(f"/api/v2/chats/{chat}", json={"pin_order": 9})).status_code == 204
    await talk.client.patch(f"/api/v2/chats/{made[0]}", json={"labels": {"k": "v"}})
    expected = [made[1], made[4], made[0], made[5], made[3], made[2]]
    whole = await listed(talk)
    assert [chat["id"] for chat in whole] == expected
    assert [chat["pin_order"] for chat in whole] == [1, 2, 0, 0, 0, 0]
    for size in (1, 2, 5):
        seen: list[str] = []
        while page := await listed(talk, limit=size, **({"after_id": seen[-1]} if seen else {})):
            seen += [chat["id"] for chat in page]
        assert seen == expected
    assert [chat["id"] for chat in await listed(talk, limit=2, offset=3)] == expected[3:5]


async def test_3_2_roots_carry_their_children_and_both_what_a_list_computes(world: World) -> None:
    talk = await world.newcomer("parent")
    root, *children = [await talk.start(words) for words in ("root", "older", "newer")]
    for chat in (root, *children):
        await talk.answer(chat)
    for child in children:
        await world.adopt(root, child)
    [shown] = await listed(talk)
    assert [child["title"] for child in shown["children"]] == ["newer", "older"]
    for chat in (shown, *shown["children"]):
        assert chat["has_unread"] is True
        assert "files" not in chat
        assert chat["root_chat_id"] == str(root)
        assert chat["diff_status"] == {
            "chat_id": chat["id"],
            "pull_request_title": "",
            "pull_request_draft": False,
            "changes_requested": False,
            "additions": 0,
            "deletions": 0,
            "changed_files": 0,
        }
    assert all(child["parent_chat_id"] == str(root) and child["children"] == [] for child in shown["children"])


async def test_3_2_the_default_scope_is_ones_own_unarchived_roots(world: World) -> None:
    talk = await world.newcomer("tidy")
    kept, away = await talk.start("kept"), await talk.start("away")
    await talk.archive(away)
    await talk.share(kept, world.other)
    assert [UUID(chat["id"]) for chat in await listed(talk)] == [kept]
    assert str(kept) not in {chat["id"] for chat in await listed(Talk(world.api, world.other))}


async def test_3_2_label_filters_must_all_match(world: World) -> None:
    talk = await world.newcomer("labeller")
    both = await talk.start(labels={"team": "a", "kind": "x:y"})
    await talk.start(labels={"team": "a"})
    assert len(await listed(talk, label="team:a")) == 2
    assert [UUID(chat["id"]) for chat in await listed(talk, label=["team:a", "kind:x:y"])] == [both]
    assert await listed(talk, label="team:b") == []


@pytest.mark.parametrize("raw", ["team", ":a", "team:", ":", " "])
async def test_3_2_a_label_filter_is_a_pair(world: World, raw: str) -> None:
    message = f'Invalid label filter: "{raw}" (expected format key:value, both must be non-empty)'
    refused(await world.ask("GET", "", params={"label": raw}), 400, message)
