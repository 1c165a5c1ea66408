"""Reads of a big database: lists and pages over HTTP, beside the same rows by plain SQL."""

import random
import time
from typing import Any

import psycopg

from benchmarks.bench import Bench
from benchmarks.chats import CHATS
from benchmarks.figures import Figure, percentile, under
from benchmarks.wire import Connection
from models.store import prompts

BATCH = 100
PAGE = 50
TEXT = "What a model or a person would say in a message of an ordinary length, over and over again. " * 4

SEED_CHATS = """
INSERT INTO chats (id, owner_id, organization_id, title, last_model_config_id, created_at, updated_at)
SELECT gen_random_uuid(), %(owner)s, %(organization)s, 'bench-seeded ' || n, %(model)s, now() - n * interval '1 minute',
       now() - n * interval '1 minute'
FROM generate_series(1, %(count)s) AS n
"""
# In the order of time over all chats, as life would write them: a chat's messages are spread over the table.
SEED_MESSAGES = """
INSERT INTO chat_messages (chat_id, role, content, revision, created_by, model_config_id, input_tokens, output_tokens)
SELECT c.id, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
       jsonb_build_array(jsonb_build_object('type', 'text', 'text', n || ' ' || %(text)s::text)), n,
       CASE n %% 2 WHEN 1 THEN %(owner)s::uuid END, %(model)s, 100, 50
FROM generate_series(%(first)s::int, %(last)s::int) AS n, chats AS c
WHERE c.title LIKE 'bench-seeded %%'
ORDER BY n, c.id
"""
# What life writes is read for the full text search as it comes; this would be read for long while others measure.
SKIP_READING = """
UPDATE chat_message_words_mark SET message_id = seeded.upto, candidate_id = seeded.upto
FROM (SELECT max(id) AS upto FROM chat_messages) AS seeded
"""
PROMPT_CHATS, PROMPT_MESSAGES = 51, 5000
# A conversation after the other: short questions, answers of some lines.
SEED_CONVERSATIONS = """
WITH made AS (
    INSERT INTO chats (id, owner_id, organization_id, title, last_model_config_id, archived)
    SELECT gen_random_uuid(), %(owner)s, %(organization)s, 'bench-prompts ' || n, %(model)s, true
    FROM generate_series(1, %(count)s) AS n RETURNING id)
INSERT INTO chat_messages (chat_id, role, content, revision)
SELECT made.id, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END, jsonb_build_array(jsonb_build_object(
    'type', 'text', 'text', n || left(%(text)s::text, CASE n %% 2 WHEN 1 THEN 60 ELSE 400 END))), n
FROM made, generate_series(1, %(messages)s::int) AS n ORDER BY made.id, n
"""
LIST = """
SELECT * FROM chats WHERE owner_id = %s AND parent_chat_id IS NULL AND NOT archived
ORDER BY updated_at DESC, id DESC LIMIT 50
"""
MESSAGES = "SELECT * FROM chat_messages WHERE chat_id = %s AND NOT deleted ORDER BY id DESC LIMIT 50"


async def reads(bench: Bench) -> None:
    """List 50 chats; a page of 50 messages; the prompts of a chat."""
    owner = (await bench.service.call("GET", "/api/v2/users/me"))["id"]
    async with await psycopg.AsyncConnection.connect(bench.stack.facts["database_url"], autocommit=True) as database:
        await _seed(bench, database, owner)
        found = await (await database.execute("SELECT id FROM chats WHERE title LIKE 'bench-seeded %'")).fetchall()
        ids = [str(row[0]) for row in found]
        some = [random.choice(ids) for _ in range(bench.size.reads)]
        floor_list = await _by_sql(database, LIST, [owner for _ in some])
        floor_page = await _by_sql(database, MESSAGES, some)
    scale = f"{len(ids):,} chats × {bench.size.seeded_messages:,} messages"
    for name, path, floor in (
        ("list of 50 chats", f"{CHATS}?limit={PAGE}", floor_list),
        ("page of 50 messages", f"{CHATS}/{{}}/messages?limit={PAGE}", floor_page),
        ("prompts of a chat", f"{CHATS}/{{}}/prompts?limit={PAGE}", None),
    ):
        times = await _by_http(bench, [path.format(chat) for chat in some])
        bench.report.add(
            Figure(
                f"{name}, p50",
                "ms",
                percentile(times, 50) * 1000 if times else None,
                percentile(floor, 50) * 1000 if floor else None,
                samples=len(times),
                note=f"{scale}; floor: the rows by plain SQL" if times else "not built yet",
                budgets=under(10, 5),
            )
        )
    async with await psycopg.AsyncConnection.connect(bench.stack.facts["database_url"], autocommit=True) as database:
        buffers = await _prompt_buffers(bench, database, owner)
    bench.report.add(
        Figure(
            f"prompts of a chat, the newest {PAGE}, buffers",
            "pages",
            buffers,
            samples=1,
            note=f"{PROMPT_CHATS} chats × {PROMPT_MESSAGES:,} messages, one chat after the other; EXPLAIN (BUFFERS)",
            budgets=under(40, 40),
        )
    )


async def _prompt_buffers(bench: Bench, database: psycopg.AsyncConnection[Any], owner: str) -> float:
    """The pages that Postgres touches for the newest prompts of one chat among many long ones."""
    values = {
        "owner": owner,
        "organization": bench.service.organization_id,
        "model": bench.service.model_config_id,
        "count": PROMPT_CHATS,
        "messages": PROMPT_MESSAGES,
        "text": TEXT,
    }
    await database.execute(SEED_CONVERSATIONS, values)
    await database.execute(SKIP_READING)
    await database.execute("VACUUM ANALYZE chats, chat_messages")
    found = await (await database.execute("SELECT id FROM chats WHERE title = 'bench-prompts 25'")).fetchone()
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {prompts.PROMPTS}"
    chosen = {"chat": found[0] if found else None, "limit": PAGE}
    explained = await (await database.execute(query, chosen)).fetchone()
    plan = explained[0][0]["Plan"] if explained else {}
    return float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _seed(bench: Bench, database: psycopg.AsyncConnection[Any], owner: str) -> None:
    size = bench.size
    values: dict[str, Any] = {
        "owner": owner,
        "organization": bench.service.organization_id,
        "model": bench.service.model_config_id,
        "count": size.seeded_chats,
        "text": TEXT,
    }
    await database.execute("SET synchronous_commit = off")
    await database.execute(SEED_CHATS, values)
    for first in range(1, size.seeded_messages + 1, BATCH):
        last = min(first + BATCH - 1, size.seeded_messages)
        await database.execute(SEED_MESSAGES, {**values, "first": first, "last": last})
    await database.execute(SKIP_READING)
    await database.execute("VACUUM ANALYZE chats, chat_messages")
    await database.execute("CHECKPOINT")


async def _by_sql(database: psycopg.AsyncConnection[Any], query: str, keys: list[str]) -> list[float]:
    times = []
    for key in keys:
        began = time.perf_counter()
        await (await database.execute(query, [key], prepare=True)).fetchall()
        times.append(time.perf_counter() - began)
    return times


async def _by_http(bench: Bench, paths: list[str]) -> list[float]:
    """Seconds of each request on one warm connection; none where the route is not there."""
    connection = await Connection.open(bench.service.url)
    times = []
    for path in paths:
        sending = bench.service.bytes("GET", path)
        began = time.perf_counter()
        answer = await connection.send(sending)
        times.append(time.perf_counter() - began)
        if answer.status in (404, 405):
            times.clear()
            break
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.body[:300].decode(errors='replace')}")
    connection.close()
    return times
