"""wire-api.md 3.2, 3.3, 8.4: the grammar of `q`, chats by workspace, what a chat's branch looks like."""

from typing import Any
from uuid import UUID

import pytest

from models.store.database import fetch
from tests.api.talk import Talk
from tests.contracts.wire import golden
from tests.contracts.wire.world import NOWHERE, World, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = "Invalid chat search query."


async def found(talk: Talk, q: str) -> list[str]:
    """Titles of the chats that are found, in order of their names."""
    response = await talk.client.get("/api/v2/chats", params={"q": q})
    assert response.status_code == 200, response.text
    return sorted(chat["title"] for chat in response.json())


async def report(world: World, chat: UUID, **columns: Any) -> None:
    """Keep what the chat's branch looks like."""
    given = {"chat_id": chat, **columns}
    names, marks = ", ".join(given), ", ".join(f"%({name})s" for name in given)
    async with world.api.resources.database.begin() as session:
        await fetch(session, f"INSERT INTO chat_diff_statuses ({names}) VALUES ({marks})", given)


async def test_3_2_title_is_a_substring_whatever_its_case_with_wildcards(world: World) -> None:
    talk = await world.newcomer("titles")
    for words in ("Fix the Parser", "fix a lexer", "100% done"):
        await talk.start(words)
    cases = {
        "title:PARSER": ["Fix the Parser"],
        'title:"fix the"': ["Fix the Parser"],
        "TITLE:fix": ["Fix the Parser", "fix a lexer"],
        "title:f_x%lexer": ["fix a lexer"],
        "title:nothing": [],
        "": ["100% done", "Fix the Parser", "fix a lexer"],
    }
    for q, titles in cases.items():
        assert await found(talk, q) == sorted(titles), q


async def test_3_2_archived_is_false_unless_asked(world: World) -> None:
    talk = await world.newcomer("archives")
    await talk.start("kept")
    away = await talk.start("away")
    await talk.archive(away)
    for word in ("true", "1", "T", "True"):
        assert await found(talk, f"archived:{word}") == ["away"]
    for word in ("false", "0", "f"):
        assert await found(talk, f"archived:{word}") == ["kept"]


async def test_3_2_has_unread_is_about_the_newest_answer(world: World) -> None:
    talk = await world.newcomer("unread")
    answered = await talk.start("answered")
    await talk.start("asked")
    await talk.answer(answered)
    assert await found(talk, "has_unread:true") == ["answered"]
    assert await found(talk, "has_unread:false") == ["asked"]


async def test_3_2_source_is_what_i_made_what_was_shared_with_me_or_both(world: World) -> None:
    talk = await world.newcomer("sharer")
    reader = await world.newcomer("reader")
    shared = await talk.start("shared")
    await talk.start("private")
    await reader.start("own")
    await talk.share(shared, reader.person)
    assert await found(reader, "source:created_by_me") == ["own"]
    assert await found(reader, "source:shared_with_me") == ["shared"]
    for both in ("source:created_by_me,shared_with_me", "source:created_by_me source:shared_with_me"):
        assert await found(reader, both) == ["own", "shared"]


async def test_3_2_pull_requests_are_found_by_state_number_title_repository_and_url(world: World) -> None:
    talk = await world.newcomer("puller")
    made = {state: await talk.start(state) for state in ("draft", "open", "merged", "closed", "none")}
    for number, (state, chat) in enumerate(made.items(), start=1):
        if state == "none":
            continue
        await report(
            world,
            chat,
            url=f"https://github.com/acme/{state}/pull/{number}",
            pull_request_state="open" if state == "draft" else state,
            pull_request_draft=state == "draft",
            pull_request_title=f"The {state} one",
            pr_number=number,
            git_remote_origin=f"git@github.com:acme/{state}.git",
        )
    for state in ("draft", "open", "merged", "closed"):
        assert await found(talk, f"pr_status:{state}") == [state]
    assert await found(talk, "pr_status:open,merged") == ["merged", "open"]
    assert await found(talk, "pr_status:open pr_status:closed") == ["closed", "open"]
    assert await found(talk, "pr:3") == ["merged"]
    assert await found(talk, 'pr_title:"OPEN one"') == ["open"]
    assert await found(talk, "repo:acme/merged") == ["merged"]
    assert await found(talk, 'diff_url:"HTTPS://GITHUB.COM/ACME/OPEN/PULL/2"') == ["open"]
    assert await found(talk, 'diff_url:"https://github.com/acme/open/pull/9"') == []


async def test_3_2_a_pull_request_of_a_descendant_finds_its_root_by_url(world: World) -> None:
    talk = await world.newcomer("descendant")
    root, child = await world.family(talk)
    await report(world, child, url="https://github.com/acme/a/pull/7", pull_request_state="open", pr_number=7)
    assert await found(talk, 'diff_url:"https://github.com/acme/a/pull/7"') == ["root"]
    shown = (await talk.client.get("/api/v2/chats")).json()[0]
    assert (shown["id"], shown["diff_status"]["chat_id"]) == (str(root), str(root))
    assert shown["children"][0]["diff_status"]["pr_number"] == 7
    golden.same("diff_status", shown["children"][0]["diff_status"])
    assert "diff_status" not in await talk.get(root)


@pytest.mark.parametrize(
    ("q", "field", "detail"),
    [
        ("parser", "q", 'unsupported search term: "parser"'),
        ("two words", "q", 'unsupported search term: "two words"'),
        ("title:a:b", "q", "Query element \"title:a:b\" can only contain 1 ':'"),
        (":a", "q", "Query element \":a\" cannot start or end with ':'"),
        ("title:", "q", "Query element \"title:\" cannot start or end with ':'"),
        ("colour:blue", "colour", 'Query param "colour" is not a valid query param'),
        ("pr:0", "pr", '"0" is not a valid positive integer'),
        ("pr:x", "pr", '"x" is not a valid positive integer'),
        ("pr:2147483648", "pr", '"2147483648" is not a valid positive integer'),
        ('diff_url:"ftp://x"', "diff_url", 'diff_url must use http or https scheme, got "ftp"'),
        ('diff_url:"https:///x"', "diff_url", "diff_url must include a host"),
        ("pr_status:lost,open,found", "pr_status", 'Query param "pr_status" has invalid values: lost,found'),
        ("source:nobody", "source", 'Query param "source" has invalid values: nobody'),
    ],
)
async def test_3_2_a_query_that_makes_no_sense_is_told_by_field(world: World, q: str, field: str, detail: str) -> None:
    response = await world.ask("GET", "", params={"q": q})
    refused(response, 400, INVALID, None, [(field, detail)])


@pytest.mark.parametrize(("q", "field"), [("archived:perhaps", "archived"), ("has_unread:2", "has_unread")])
async def test_3_2_a_boolean_that_is_none(world: World, q: str, field: str) -> None:
    response = await world.ask("GET", "", params={"q": q})
    refused(response, 400, INVALID, None, "*")
    assert response.json()["validations"][0]["field"] == field


async def test_3_3_chats_by_workspace_of_none_are_none(world: World) -> None:
    for query in ("", "?workspace_ids=", f"?workspace_ids={NOWHERE}"):
        response = await world.ask("GET", f"/by-workspace{query}")
        assert (response.status_code, response.json()) == (200, {})
    many = ",".join([NOWHERE] * 26)
    refused(
        await world.ask("GET", f"/by-workspace?workspace_ids={many}"), 400, "Too many workspace IDs, maximum is 25."
    )
    bad = await world.ask("GET", f"/by-workspace?workspace_ids={NOWHERE},x")
    assert bad.status_code == 400
    assert bad.json()["message"].startswith('Invalid workspace ID "x": ')


async def test_8_4_a_chat_without_a_branch_has_no_diff(world: World) -> None:
    chat = await world.talk.start()
    shown = (await world.ask("GET", f"/{chat}/diff")).json()
    assert shown == {"chat_id": str(chat)}
    golden.same("diff_contents", shown)
    not_found(await world.ask("GET", f"/{chat}/diff", by=world.other))
    await world.talk.share(chat, world.other)
    assert (await world.ask("GET", f"/{chat}/diff", by=world.other)).status_code == 200
