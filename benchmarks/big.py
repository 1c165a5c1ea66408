"""A database as a busy year leaves it: many people's chats, millions of messages, and all that hangs on them."""

import time
from typing import Any

import psycopg

BATCH = 250_000
EACH = 200  # messages of an ordinary chat
LONG = 5000  # of the one long chat
PEOPLE = 200
OURS = 1000  # chats of whoever measures
TEXT = "What a model or a person would say in a message of an ordinary length, over and over. " * 3

USERS = """
INSERT INTO users (id, username, email)
SELECT gen_random_uuid(), 'bench-user-' || n, 'bench-user-' || n || '@example.com'
FROM generate_series(1, %(people)s) AS n
"""
# A tenth is archived, half of it long enough ago to be deleted; a twentieth failed; a third is silent for half a year.
CHATS = """
WITH people AS (
    SELECT id, row_number() OVER (ORDER BY username) - 1 AS place FROM users WHERE username LIKE 'bench-user-%%')
INSERT INTO chats (id, owner_id, organization_id, title, last_model_config_id, created_at, updated_at, labels,
                   snapshot_version, history_version, status, archived, archived_at)
SELECT gen_random_uuid(), CASE WHEN n <= %(ours)s THEN %(owner)s ELSE people.id END, %(organization)s,
       'bench-big ' || n, %(model)s, now() - interval '366 days' - n * interval '1 second',
       now() - n * interval '1 minute',
       jsonb_build_object('team', 't' || n %% 50), %(each)s, %(each)s,
       CASE n %% 20 WHEN 1 THEN 'error' ELSE 'waiting' END, n %% 10 = 0,
       CASE WHEN n %% 10 = 0 THEN now() - n * interval '60 days' / %(count)s END
FROM generate_series(1, %(count)s) AS n JOIN people ON people.place = n %% %(people)s
"""
# In the order of time over all chats, as life would write them: a chat's messages are spread over the table.
MESSAGES = """
WITH chosen AS (SELECT id, owner_id, split_part(title, ' ', 2)::int AS n FROM chats WHERE title LIKE 'bench-big %%')
INSERT INTO chat_messages (chat_id, role, content, revision, created_by, model_config_id, input_tokens, output_tokens,
                           total_cost_micros, created_at)
SELECT chosen.id, CASE place %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
       jsonb_build_array(jsonb_build_object('type', 'text', 'text', place || ' ' || %(text)s::text)), place,
       CASE place %% 2 WHEN 1 THEN owner_id END, %(model)s, 100, 50, CASE place %% 2 WHEN 0 THEN 100 END,
       now() - interval '365 days' * (%(each)s - time) / %(each)s
FROM generate_series(%(first)s::int, %(last)s::int) AS time, chosen,
     generate_series(CASE n %% 3 WHEN 0 THEN 2 * time - 1 ELSE time END,
                     CASE n %% 3 WHEN 0 THEN 2 * time ELSE time END) AS place
WHERE n %% 3 <> 0 OR time <= %(each)s / 2
ORDER BY time, chosen.id, place
"""
LONG_CHAT = """
WITH made AS (
    INSERT INTO chats (id, owner_id, organization_id, title, last_model_config_id, snapshot_version, history_version)
    VALUES (gen_random_uuid(), %(owner)s, %(organization)s, 'bench-long', %(model)s, %(long)s, %(long)s) RETURNING id)
INSERT INTO chat_messages (chat_id, role, content, revision, model_config_id)
SELECT made.id, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
       jsonb_build_array(jsonb_build_object('type', 'text', 'text', n || ' ' || %(text)s::text)), n, %(model)s
FROM made, generate_series(1, %(long)s) AS n
"""
BESIDES = {
    "debug runs": """
        INSERT INTO chat_debug_runs (id, chat_id, kind, status, trigger_message_id, started_at, updated_at, finished_at)
        SELECT gen_random_uuid(), c.id, 'chat_turn', 'completed', m.id, now() - n * interval '2 days',
               now() - n * interval '2 days', now() - n * interval '2 days'
        FROM chats c, LATERAL (SELECT min(id) AS id FROM chat_messages m WHERE m.chat_id = c.id) m,
             generate_series(1, 8) AS n
        WHERE NOT c.archived""",
    "debug steps": """
        INSERT INTO chat_debug_steps (
            id, run_id, chat_id, step_number, operation, status, normalized_request, finished_at)
        SELECT gen_random_uuid(), id, chat_id, 1, 'stream', 'completed',
               jsonb_build_object('messages', repeat(md5(id::text), 64)), finished_at FROM chat_debug_runs""",
    "audit entries": """
        INSERT INTO audit_logs (id, time, action, resource_type, resource_id)
        SELECT gen_random_uuid(), now() - n * interval '1 hour', 'write', 'chat', c.id
        FROM chats c, generate_series(1, 10) AS n""",
    "tool executions": """
        INSERT INTO tool_executions (chat_id, message_id, tool_call_id, tool_name, policy, state, created_at)
        SELECT c.id, n, 'call_' || n, 'execute', 'once', 'succeeded', now() - n * interval '9 days'
        FROM chats c, generate_series(1, 20) AS n""",
    "files": """
        INSERT INTO chat_files (id, owner_id, organization_id, mimetype, size, data, created_at)
        SELECT gen_random_uuid(), c.owner_id, c.organization_id, 'text/plain', 1024, decode(repeat('61', 1024), 'hex'),
               c.created_at
        FROM chats c""",
    "file links": """
        INSERT INTO chat_file_links (chat_id, file_id)
        SELECT c.id, f.id FROM chats c JOIN chat_files f ON f.owner_id = c.owner_id AND f.created_at = c.created_at""",
    "idempotency keys": """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body, created_at)
        SELECT c.owner_id, c.id::text || n, decode(md5(c.id::text), 'hex'), 201, decode(repeat('61', 500), 'hex'),
               now() - n * interval '4 hours'
        FROM chats c, generate_series(1, 5) AS n""",
    "stream log": """
        INSERT INTO stream_log (chat_id, history_version, generation_attempt, seq, role, part)
        SELECT c.id, 1, 1000, n, 'assistant', '{"type": "text", "text": "some words of an answer"}'
        FROM chats c, generate_series(1, 8) AS n""",
}
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename = 'chat_messages' AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""
SIZES = """
SELECT relname, n_live_tup AS rows, pg_relation_size(relid) AS heap, pg_indexes_size(relid) AS indexes,
       pg_total_relation_size(relid) AS total
FROM pg_stat_user_tables WHERE pg_total_relation_size(relid) > 1000000 ORDER BY pg_total_relation_size(relid) DESC
"""


async def seed(database: psycopg.AsyncConnection[Any], messages: int, values: dict[str, Any]) -> float:
    """Fill a fresh database (autocommit); returns the seconds that it took. `values`: owner, organization, model."""
    began = time.monotonic()
    count = max(messages // EACH, PEOPLE)
    values = {
        **values,
        "count": count,
        "people": PEOPLE,
        "ours": min(OURS, count // 2),
        "each": EACH,
        "long": LONG,
        "text": TEXT,
    }
    await database.execute("SET synchronous_commit = off")
    await database.execute("SET session_replication_role = replica")  # what is made here refers to what was made here
    indexes = await (await database.execute(INDEXES)).fetchall()
    for name, _ in indexes:
        await database.execute(f'DROP INDEX "{name}"'.encode())
    await database.execute(USERS, values)
    await database.execute(CHATS, values)
    step = max(BATCH // count, 1)
    for first in range(1, EACH + 1, step):
        await database.execute(MESSAGES, {**values, "first": first, "last": min(first + step - 1, EACH)})
    await database.execute(LONG_CHAT, values)
    await database.execute("SET maintenance_work_mem = '512MB'")
    for _, made in indexes:
        await database.execute(made.encode())
    await database.execute("ANALYZE")
    for statement in BESIDES.values():
        await database.execute(statement.encode())
    await database.execute("VACUUM ANALYZE")
    await database.execute("CHECKPOINT")
    return time.monotonic() - began
