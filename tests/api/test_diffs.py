"""The branch and the pull request of a chat: told by a route, shown with the chat, announced beside it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest

from models.events import WatchEvent
from models.settings import Settings
from models.store import diffs, moves
from models.store.database import Database, Row, fetch
from tests.api.conftest import Api, Person
from tests.api.live_stage import staged
from tests.api.talk import CHATS, Talk
from tests.api.test_chats import child_of
from tests.api.trips import trips
from tests.models.store.chats import born
from tests.seeds import World

ADDRESS = "https://github.com/acme/site/pull/7"
REMOTE = "git@github.com:acme/site.git"
FULL: dict[str, Any] = {
    "url": ADDRESS,
    "pull_request_state": "open",
    "pull_request_title": "A mutex <instead>\x00",
    "pull_request_draft": True,
    "changes_requested": True,
    "additions": 40,
    "deletions": 12,
    "changed_files": 3,
    "author_login": "ada",
    "author_avatar_url": "https://example.com/ada.png",
    "base_branch": "main",
    "head_branch": "mutex",
    "pr_number": 7,
    "commits": 2,
    "approved": False,
    "reviewer_count": 1,
}
EMPTY = {
    "pull_request_title": "",
    "pull_request_draft": False,
    "changes_requested": False,
    "additions": 0,
    "deletions": 0,
    "changed_files": 0,
}
MOMENTS = {"refreshed_at", "stale_at"}


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def report(talk: Talk, chat: UUID, **fields: Any) -> dict[str, Any]:
    response = await talk.client.put(f"{CHATS}/{chat}/diff-status", json=fields)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


async def contents(talk: Talk, chat: UUID) -> dict[str, Any]:
    response = await talk.client.get(f"{CHATS}/{chat}/diff")
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


async def test_what_is_reported_is_shown_with_the_chat_and_in_lists(talk: Talk) -> None:
    chat = await talk.start()
    assert "diff_status" not in await talk.get(chat)
    told = await report(talk, chat, **FULL, git_branch="mutex", git_remote_origin=REMOTE)
    assert {key: value for key, value in told.items() if key not in MOMENTS} == {"chat_id": str(chat), **FULL}
    assert told["stale_at"] > told["refreshed_at"]
    assert (await talk.get(chat))["diff_status"] == told
    [row] = (await talk.client.get(CHATS)).json()
    assert row["diff_status"] == told


async def test_children_show_theirs_and_those_without_one_an_empty_one(talk: Talk) -> None:
    root = await talk.start()
    quiet, busy = await child_of(talk.api, root), await child_of(talk.api, root)
    told = await report(talk, busy, **FULL)
    empty = {"chat_id": str(quiet), **EMPTY}
    [row] = (await talk.client.get(CHATS)).json()
    assert row["diff_status"] == {"chat_id": str(root), **EMPTY}
    for shown in (row, await talk.get(root)):
        assert [child["diff_status"] for child in shown["children"]] == [told, empty]
    assert (await talk.get(busy))["diff_status"] == told
    assert "diff_status" not in await talk.get(quiet)


async def test_a_report_replaces_the_pull_request_and_keeps_branch_and_remote(talk: Talk) -> None:
    chat = await talk.start()
    await report(talk, chat, **FULL, git_branch="mutex", git_remote_origin=REMOTE)
    told = await report(talk, chat, additions=1)
    assert {key: value for key, value in told.items() if key not in MOMENTS} == {
        **EMPTY,
        "chat_id": str(chat),
        "additions": 1,
        "url": "https://github.com/acme/site/tree/mutex",
    }
    known = await contents(talk, chat)
    assert known == {"chat_id": str(chat), "provider": "github", "remote_origin": REMOTE, "branch": "mutex"}


async def test_diff_contents_are_what_is_known_without_the_git_host(talk: Talk) -> None:
    chat = await talk.start()
    assert await contents(talk, chat) == {"chat_id": str(chat)}
    await report(talk, chat, url=ADDRESS)
    assert await contents(talk, chat) == {"chat_id": str(chat), "provider": "github", "pull_request_url": ADDRESS}


async def test_a_reference_changes_only_what_it_names(database: Database, seed: World) -> None:
    chat = await born(database, seed)
    rows: list[Row] = []
    named: tuple[dict[str, Any], ...] = ({"url": ADDRESS, "branch": "one"}, {"origin": REMOTE}, {"branch": "two"})
    for given in named:
        async with database.begin() as session:
            await diffs.refer(session, await moves.lock(session, chat), **given)
        async with database.read() as session:
            found = await diffs.get(session, chat)
        assert found is not None
        rows.append(found)
    assert [(row["url"], row["git_branch"], row["git_remote_origin"]) for row in rows] == [
        (ADDRESS, "one", ""),
        (ADDRESS, "one", REMOTE),
        (ADDRESS, "two", REMOTE),
    ]
    assert rows[0]["updated_at"] < rows[1]["updated_at"] < rows[2]["updated_at"]
    assert rows[2]["refreshed_at"] is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": "ftp://x/y"}, 'url must use http or https scheme, got "ftp"'),
    ({"url": "https:///y"}, "url must include a host"),
    ({"url": "https://[x/y"}, "url is not a valid URL: Invalid IPv6 URL"),
    ({"author_avatar_url": "javascript:alert(1)"}, 'author_avatar_url must use http or https scheme, got "javascript"'),
    ({"pull_request_state": "draft"}, "Input should be 'open', 'merged' or 'closed'"),
    ({"additions": -1}, 'Validation failed for tag "min" with value: "-1"'),
    ({"deletions": 2**31}, 'Validation failed for tag "max" with value: "2147483648"'),
    ({"pr_number": 0}, 'Validation failed for tag "min" with value: "0"'),
    ({"git_branch": "x" * 501}, "String should have at most 500 characters"),
]


async def test_a_wrong_report_is_refused_and_nothing_is_kept(talk: Talk) -> None:
    chat = await talk.start()
    for fields, detail in WRONG:
        refused = await talk.client.put(f"{CHATS}/{chat}/diff-status", json={**FULL, **fields})
        assert (refused.status_code, refused.json()["message"]) == (400, "Validation failed."), fields
        assert refused.json()["validations"] == [{"field": next(iter(fields)), "detail": detail}]
    assert "diff_status" not in await talk.get(chat)


async def test_readers_see_the_diff_and_only_those_who_may_change_the_chat_report_it(talk: Talk, api: Api) -> None:
    chat = await talk.start()
    await report(talk, chat, **FULL)
    stranger = await api.person("stranger", org_roles=("agents-access",))
    reader = await api.person("reader", org_roles=("agents-access",))
    await talk.share(chat, reader)
    for somebody, status in ((stranger, 404), (reader, 200)):
        assert (await somebody.client.get(f"{CHATS}/{chat}/diff")).status_code == status
        refused = await somebody.client.put(f"{CHATS}/{chat}/diff-status", json={"additions": "wrong"})
        assert refused.status_code == 404
    assert (await talk.client.put(f"{CHATS}/{uuid4()}/diff-status", json={})).status_code == 404
    assert (await talk.client.put(f"{CHATS}/{chat}/diff-status", content=b"{")).status_code == 400


async def test_a_report_moves_no_version_and_not_the_chats_place(talk: Talk) -> None:
    chat = await talk.start()
    query = "SELECT snapshot_version, history_version, updated_at FROM chats WHERE id = %(id)s"
    async with talk.api.resources.database.read() as session:
        before = await fetch(session, query, {"id": chat})
        await report(talk, chat, **FULL)
        assert await fetch(session, query, {"id": chat}) == before


async def test_a_chat_with_all_that_belongs_to_it_takes_one_round_trip(talk: Talk) -> None:
    chat = await talk.start()
    await child_of(talk.api, chat)
    await report(talk, chat, **FULL)
    await talk.get(chat)
    with trips(talk.api.resources.database) as made:
        await talk.get(chat)
    assert made.count == 1


async def test_the_owners_sidebar_is_told_of_a_report_with_the_diff_status(
    database: Database, settings: Settings
) -> None:
    async with staged(database, settings) as stage, stage.socket(stage.two, "/watch") as socket:
        address = f"http://{stage.one.address}{CHATS}/{stage.drive.chat_id}/diff-status"
        async with httpx.AsyncClient(headers={"Coder-Session-Token": stage.token}, timeout=60) as client:
            told = (await client.put(address, json=FULL)).json()
        async with asyncio.timeout(60):
            event = orjson.loads(await socket.recv())
    WatchEvent.model_validate(event)
    assert (event["kind"], event["chat"]["id"]) == ("diff_status_change", str(stage.drive.chat_id))
    assert event["chat"]["diff_status"] == told
