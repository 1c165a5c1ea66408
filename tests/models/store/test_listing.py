"""The plans of lists: each filter that an index can serve is served by it, however many chats somebody has."""

from collections.abc import Iterator
from typing import Any

import pytest

from models.principal import Principal
from models.rules import pages, search
from models.store import listing
from models.store.connection import PREPARE_AFTER
from models.store.database import Database, fetch
from tests.models.store.chats import born
from tests.seeds import World

CHATS = 4_000
# Of many chats a few are in error, belong to a pull request, are archived, or speak of something rare.
SEED = """
    WITH made AS (
        INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, title, updated_at, status, archived,
            user_acl)
        SELECT gen_random_uuid(), owner_id, organization_id, last_model_config_id, 'n' || n, now() - n * interval '1 s',
            CASE WHEN n %% 1000 = 1 THEN 'error' ELSE 'waiting' END, n %% 10 = 0,
            CASE WHEN n %% 500 = 1 THEN jsonb_build_object(%(friend)s::text, '{"permissions": ["read"]}'::jsonb)
                 ELSE '{}' END
        FROM chats, generate_series(1, %(count)s) AS n RETURNING id, title, owner_id),
    changed AS (
        INSERT INTO chat_diff_statuses (chat_id, url, pr_number, pull_request_state)
        SELECT id, 'https://example.com/pull/' || substr(title, 2), substr(title, 2)::int, 'open' FROM made
        WHERE right(title, 1) = '1')
    INSERT INTO chat_messages (chat_id, role, content, revision)
    SELECT id, 'user', jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'all say this, few ' || title)), 1
    FROM made
"""
WORDS = """
    INSERT INTO chat_message_words (message_id, chat_id, words)
    SELECT m.id, c.id, to_tsvector('simple', m.content -> 0 ->> 'text')
        || array_to_tsvector(ARRAY[' chat ' || c.id::text, ' owner ' || c.owner_id::text])
    FROM chat_messages m JOIN chats c ON c.id = m.chat_id
"""
READ = """
    SELECT pg_stat_get_xact_tuples_fetched('chats'::regclass) + pg_stat_get_xact_tuples_returned('chats'::regclass)
        + (SELECT sum(pg_stat_get_xact_tuples_fetched(indexrelid)) FROM pg_index WHERE indrelid = 'chats'::regclass)
        AS chats
"""
# q, the index it begins at, and how many chats may be looked at for a page of ten.
PLANS = [
    ("", "ix_chats_owner_list", 10),
    ("archived:true", "ix_chats_owner_list", 10),
    ("archived:any", "ix_chats_owner_list", 20),
    ("title:n", "ix_chats_owner_list", 10),
    ("status:error", "ix_chats_failed", 4),
    ("status:running", "ix_chats_running", 0),
    ("pr:1001", "ix_chat_diff_statuses_pr_number", 10),
    ("diff_url:'https://example.com/pull/1001'", "ix_chat_diff_statuses_url", 10),
    ("source:shared_with_me", "ix_chats_user_acl", 10),
    ("search:n1001", "ix_chat_message_words_words", 10),
]


@pytest.fixture
async def crowded(database: Database, seed: World) -> Database:
    await born(database, seed)
    async with database.begin() as session:
        await fetch(session, SEED, {"count": CHATS, "friend": str(seed.provider_id)})
        await fetch(session, WORDS)
        await fetch(session, "UPDATE chat_message_words_mark SET message_id = (SELECT max(id) FROM chat_messages)")
    async with database.read() as session:
        for table in ("chats", "chat_messages", "chat_message_words", "chat_diff_statuses"):
            await fetch(session, f"VACUUM ANALYZE {table}")
    return database


async def test_each_filter_begins_at_its_index_and_stops_when_the_page_is_full(crowded: Database, seed: World) -> None:
    caller = Principal(
        seed.owner_id, "ada", organizations={seed.organization_id: frozenset({"agents-access"})}, groups=frozenset()
    )
    page = pages.chats(10, 0, None)
    for q, index, most in PLANS:
        asked = search.parse(q.replace("'", '"'))
        statement = listing.statement(asked, page, False)
        if asked.search:
            statement = listing.ranking(asked, page, False, "first")
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        async with crowded.read() as session:
            [row] = await fetch(session, text, listing.parameters(caller, asked, page), prepare=False)
        nodes = list(_nodes(row["QUERY PLAN"][0]["Plan"]))
        assert index in {node.get("Index Name") for node in nodes}, (q, [node.get("Index Name") for node in nodes])
        looked_at = [node["Actual Rows"] for node in nodes if node.get("Index Name") == "ix_chats_owner_list"]
        assert sum(looked_at) <= most, q


async def test_a_deep_page_begins_where_the_one_before_it_ended(crowded: Database, seed: World) -> None:
    caller = Principal(seed.owner_id, "ada", organizations={seed.organization_id: frozenset({"agents-access"})})
    async with crowded.read() as session:
        [last] = await fetch(session, "SELECT id FROM chats WHERE title = 'n2001'")
        page, asked = pages.chats(10, 0, last["id"]), search.Filter()
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {listing.statement(asked, page, False)}"
        [row] = await fetch(session, text, listing.parameters(caller, asked, page), prepare=False)
        found = await listing.list_for(session, caller, page, asked)
    [scan] = [node for node in _nodes(row["QUERY PLAN"][0]["Plan"]) if node.get("Index Name") == "ix_chats_owner_list"]
    assert scan["Actual Rows"] == 10
    assert scan.get("Rows Removed by Filter", 0) == 0
    assert [chat["title"] for chat in found[:3]] == ["n2002", "n2003", "n2004"]


async def test_the_usual_page_has_one_plan_that_reads_no_more_chats_than_it_shows(
    crowded: Database, seed: World
) -> None:
    caller = Principal(seed.owner_id, "ada", organizations={seed.organization_id: frozenset({"agents-access"})})
    for q in ("", "archived:true", "archived:any"):
        page, asked = pages.chats(None, None, None), search.parse(q)
        async with crowded.begin() as session:
            for _ in range(PREPARE_AFTER + 2):
                assert len(await listing.list_for(session, caller, page, asked)) == page.limit
            [before] = await fetch(session, READ)
            await listing.list_for(session, caller, page, asked)
            [after] = await fetch(session, READ)
        # Once where the list is in order, of each of its branches, and once for what is shown.
        assert after["chats"] - before["chats"] <= (3 if q == "archived:any" else 2) * page.limit, q


async def test_how_the_list_is_planned_says_nothing_about_what_comes_after(crowded: Database, seed: World) -> None:
    caller = Principal(seed.owner_id, "ada", organizations={seed.organization_id: frozenset({"agents-access"})})
    async with crowded.read() as session:
        await listing.list_for(session, caller, pages.chats(None, None, None), search.Filter())
        [row] = await fetch(
            session, "SELECT current_setting('enable_sort') || current_setting('plan_cache_mode') AS is"
        )
    assert row["is"] == "onauto"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
