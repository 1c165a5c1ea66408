"""The pieces of a move's statement that change messages and the queue; messages go in as they were said."""

_RECORD = """jsonb_to_recordset(%(rows)s::jsonb) AS r(
    n int, role text, content jsonb, visibility text, created_by uuid, model_config_id uuid, queued_message_id bigint,
    runtime_ms bigint, context_limit bigint, provider_response_id text, input_tokens bigint, output_tokens bigint,
    total_tokens bigint, reasoning_tokens bigint, cache_creation_tokens bigint, cache_read_tokens bigint,
    compressed boolean, total_cost_micros bigint)"""

INSERT_ROWS = f"""added AS (
    INSERT INTO chat_messages (chat_id, revision, role, content, visibility, created_by, model_config_id,
        queued_message_id, runtime_ms, context_limit, provider_response_id, input_tokens, output_tokens, total_tokens,
        reasoning_tokens, cache_creation_tokens, cache_read_tokens, compressed, total_cost_micros)
    SELECT %(id)s, %(snapshot_version)s, r.role, r.content, r.visibility, r.created_by, r.model_config_id,
        r.queued_message_id, r.runtime_ms, r.context_limit, r.provider_response_id, r.input_tokens, r.output_tokens,
        r.total_tokens, r.reasoning_tokens, r.cache_creation_tokens, r.cache_read_tokens, r.compressed,
        r.total_cost_micros
    FROM {_RECORD} ORDER BY r.n
    RETURNING id)"""  # noqa: S608 - fixed text
DELETE_ROWS = """gone AS (
    UPDATE chat_messages SET deleted = true, revision = %(snapshot_version)s
    WHERE chat_id = %(id)s AND NOT deleted AND id >= %(cut)s)"""
DEQUEUE = "dequeued AS (DELETE FROM chat_queued_messages WHERE chat_id = %(id)s AND id = ANY(%(dequeue)s))"
HEAD = "headed AS (UPDATE chat_queued_messages SET position = %(first)s WHERE chat_id = %(id)s AND id = %(head)s)"
ENQUEUE = """queued AS (
    INSERT INTO chat_queued_messages (chat_id, content, model_config_id, position, created_by)
    VALUES (%(id)s, %(content)s::jsonb, %(queued_model)s, %(last)s, %(sender)s) RETURNING id)"""
