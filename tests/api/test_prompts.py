"""What was asked in a chat: newest first, words only, and cheap however long the chat is."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from models.parts import text
from models.store import prompts
from models.store.database import Database, fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.api.trips import trips
from tests.models.store.chats import born
from tests.seeds import World

# A conversation after the other: short questions, answers of some lines.
SEED = """
    INSERT INTO chat_messages (chat_id, role, content, revision, visibility, deleted)
    SELECT c.id, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END, jsonb_build_array(jsonb_build_object(
        'type', 'text', 'text', n || repeat(' and so on', CASE n %% 2 WHEN 1 THEN 6 ELSE 40 END))), n, 'both', false
    FROM generate_series(1, %(count)s::int) AS n, chats AS c ORDER BY c.id, n
"""
CHATS_SEEDED, MESSAGES_SEEDED = 51, 5_000


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def asked(talk: Talk, chat: UUID, **query: Any) -> list[str]:
    response = await talk.client.get(f"{CHATS}/{chat}/prompts", params=query)
    assert response.status_code == 200, response.text
    return [each["text"] for each in response.json()["prompts"]]


async def add(talk: Talk, chat: UUID, content: list[dict[str, Any]], **columns: Any) -> None:
    """A message that no route makes."""
    values = {"role": "user", "visibility": "both", "deleted": False, **columns}
    async with talk.api.resources.database.begin() as session:
        await fetch(
            session,
            "INSERT INTO chat_messages (chat_id, role, content, revision, visibility, deleted) "
            "SELECT %(chat)s, %(role)s, jsonb_agg(part), 1, %(visibility)s, %(deleted)s "
            "FROM jsonb_to_recordset(%(content)s::jsonb) AS each(part jsonb)",
            {"chat": chat, "content": orjson.dumps([{"part": part} for part in content]).decode(), **values},
        )


async def test_prompts_are_the_users_messages_newest_first_with_their_ids(talk: Talk) -> None:
    chat = await talk.start("first")
    await talk.answer(chat, "an answer")
    sent = await talk.say(chat, "second\x00half")
    response = await talk.client.get(f"{CHATS}/{chat}/prompts")
    first = (await talk.history(chat))["messages"][-1]["id"]
    assert response.json() == {
        "prompts": [{"id": sent["message"]["id"], "text": "second\x00half"}, {"id": first, "text": "first"}]
    }


async def test_text_parts_are_joined_and_other_parts_and_blank_texts_left_out(talk: Talk) -> None:
    chat = await talk.start("words")
    reference = {"type": "file-reference", "file_name": "a", "start_line": 1, "end_line": 2, "content": "c"}
    await add(talk, chat, [text("one, "), reference, text("two")])
    await add(talk, chat, [reference])
    await add(talk, chat, [text(" \n\t"), text("  ")])
    assert await asked(talk, chat) == ["one, two", "words"]


async def test_what_readers_do_not_see_is_no_prompt(talk: Talk) -> None:
    chat = await talk.start("words")
    await add(talk, chat, [text("taken back")], deleted=True)
    await add(talk, chat, [text("a summary")], visibility="model")
    await add(talk, chat, [text("an answer")], role="assistant")
    await add(talk, chat, [text("for the reader")], visibility="user")
    assert await asked(talk, chat) == ["for the reader", "words"]


async def test_an_edited_message_is_a_prompt_only_as_it_is_now(talk: Talk) -> None:
    chat = await talk.start("before")
    message = (await talk.history(chat))["messages"][0]["id"]
    await talk.client.patch(f"{CHATS}/{chat}/messages/{message}", json={"content": [text("after")]})
    assert await asked(talk, chat) == ["after"]


async def test_the_limit_is_500_unless_asked_and_2000_at_most(talk: Talk) -> None:
    chat = await talk.start("words")
    async with talk.api.resources.database.begin() as session:
        await fetch(session, SEED, {"count": 1100})
    assert len(await asked(talk, chat)) == 500
    assert len(await asked(talk, chat, limit=0)) == 500
    assert len(await asked(talk, chat, limit="")) == 500
    assert len(await asked(talk, chat, limit=2000)) == 551
    newest = await asked(talk, chat, limit=2)
    assert [words.split()[0] for words in newest] == ["1099", "1097"]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("2001", "Invalid limit parameter (0-2000)."),
        ("-1", "Query parameters have invalid values."),
        ("many", "Query parameters have invalid values."),
    ],
)
async def test_another_limit_is_refused(talk: Talk, limit: str, message: str) -> None:
    chat = await talk.start()
    refused = await talk.client.get(f"{CHATS}/{chat}/prompts", params={"limit": limit})
    assert (refused.status_code, refused.json()["message"]) == (400, message)


async def test_prompts_take_one_round_trip(talk: Talk) -> None:
    chat = await talk.start()
    await asked(talk, chat)
    with trips(talk.api.resources.database) as made:
        await asked(talk, chat)
    assert made.count == 1


async def test_prompts_of_a_long_chat_among_many_are_read_from_their_partial_index(
    database: Database, seed: World
) -> None:
    chats = [await born(database, seed) for _ in range(CHATS_SEEDED)]
    async with database.begin() as session:
        await fetch(session, SEED, {"count": MESSAGES_SEEDED})
    async with database.read() as session:
        await fetch(session, "VACUUM ANALYZE chat_messages")
        explained = {limit: await _explained(session, chats[25], limit) for limit in (50, 500)}
        found = await prompts.of_chat(session, chats[25], 50)
    for limit, plan in explained.items():
        nodes = list(_nodes(plan))
        [scan] = [node for node in nodes if node.get("Relation Name") == "chat_messages"]
        assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "ix_chat_messages_prompts")
        assert scan["Actual Rows"] == limit, "it reads no more rows than it gives"
    assert explained[50]["Shared Hit Blocks"] + explained[50]["Shared Read Blocks"] <= 40
    assert [each["text"].split()[0] for each in found] == [str(n) for n in range(4999, 4899, -2)]


async def _explained(session: Any, chat: UUID, limit: int) -> dict[str, Any]:
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {prompts.PROMPTS}"
    [row] = await fetch(session, query, {"chat": chat, "limit": limit}, prepare=False)
    plan: dict[str, Any] = row["QUERY PLAN"][0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
