"""What was used and what it cost, read from the messages: a chat's family, a person, everybody (admin.md 8.2).

Only assistant messages count, and those that were edited away count as well: they were paid for. Copies were paid for
where they came from. Priced is what has a stored cost; unpriced is what has a count of tokens and no cost.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from models.store.database import Row, fetch
from models.store.session import Session

_TOLD: LiteralString = """coalesce(m.input_tokens, m.output_tokens, m.total_tokens, m.reasoning_tokens,
    m.cache_creation_tokens, m.cache_read_tokens) IS NOT NULL"""
# Sums of bigint are numeric; what the wire cannot carry is the most it can.
_COST: LiteralString = "least(coalesce(sum(m.total_cost_micros), 0), 9223372036854775807)::bigint AS total_cost_micros"
_PRICED: LiteralString = f"""
    count(m.total_cost_micros) AS priced_message_count,
    count(*) FILTER (WHERE m.total_cost_micros IS NULL AND {_TOLD}) AS unpriced_message_count"""
_TOTALS: LiteralString = f"""
    {_COST}, count(*) FILTER (WHERE {_TOLD}) AS message_count,
    least(coalesce(sum(m.input_tokens), 0), 9223372036854775807)::bigint AS total_input_tokens,
    least(coalesce(sum(m.output_tokens), 0), 9223372036854775807)::bigint AS total_output_tokens,
    least(coalesce(sum(m.cache_read_tokens), 0), 9223372036854775807)::bigint AS total_cache_read_tokens,
    least(coalesce(sum(m.cache_creation_tokens), 0), 9223372036854775807)::bigint AS total_cache_creation_tokens,
    least(coalesce(sum(m.runtime_ms), 0), 9223372036854775807)::bigint AS total_runtime_ms"""
_ROOT: LiteralString = "coalesce(c.root_chat_id, c.parent_chat_id, c.id)"
_IN_WINDOW: LiteralString = (
    "m.role = 'assistant' AND NOT m.copied AND m.created_at >= %(start)s AND m.created_at < %(end)s"
)

_CHAT: LiteralString = f"""
    SELECT {_COST}, {_PRICED} FROM chat_messages m
    WHERE m.role = 'assistant' AND NOT m.copied AND m.chat_id IN (
        SELECT id FROM chats WHERE id = %(root)s OR root_chat_id = %(root)s OR parent_chat_id = %(root)s)
"""  # noqa: S608 - fixed text

# One pass over the messages for the total, the models and the chats; names are joined to the few rows it leaves.
_PERSON: LiteralString = f"""
    WITH used AS (
        SELECT GROUPING(m.model_config_id) = 0 AS of_model, GROUPING({_ROOT}) = 0 AS of_chat,
            m.model_config_id, {_ROOT} AS root_chat_id, {_TOTALS}, {_PRICED}
        FROM chat_messages m JOIN chats c ON c.id = m.chat_id
        WHERE c.owner_id = %(user)s AND {_IN_WINDOW}
        GROUP BY GROUPING SETS ((), (m.model_config_id), ({_ROOT})))
    SELECT used.*, k.model, coalesce(nullif(k.display_name, ''), k.model) AS display_name, p.type AS provider,
        coalesce(r.title, '') AS chat_title
    FROM used LEFT JOIN chat_model_configs k ON k.id = used.model_config_id
        LEFT JOIN ai_providers p ON p.id = k.ai_provider_id
        LEFT JOIN chats r ON r.id = used.root_chat_id
    ORDER BY used.total_cost_micros DESC, k.model, used.model_config_id, used.root_chat_id
"""  # noqa: S608 - fixed text

# The count stands beside the page, also beside an empty one.
_EVERYBODY: LiteralString = f"""
    WITH used AS MATERIALIZED (
        SELECT c.owner_id, {_TOTALS}, count(DISTINCT {_ROOT}) AS chat_count
        FROM chat_messages m JOIN chats c ON c.id = m.chat_id
        WHERE {_IN_WINDOW} GROUP BY c.owner_id),
    matching AS MATERIALIZED (
        SELECT used.*, u.username, u.name, u.avatar_url FROM used JOIN users u ON u.id = used.owner_id
        WHERE position(lower(%(text)s) IN lower(u.username)) > 0 OR position(lower(%(text)s) IN lower(u.name)) > 0)
    SELECT counted.count, page.* FROM (SELECT count(*) FROM matching) AS counted LEFT JOIN (
        SELECT * FROM matching ORDER BY total_cost_micros DESC, lower(username), owner_id
        LIMIT %(limit)s OFFSET %(offset)s) AS page ON true
    ORDER BY page.total_cost_micros DESC, lower(page.username), page.owner_id
"""  # noqa: S608 - fixed text

_TOTAL_KEYS = (
    "total_cost_micros",
    "total_input_tokens",
    "total_output_tokens",
    "total_cache_read_tokens",
    "total_cache_creation_tokens",
    "total_runtime_ms",
)
_COUNT_KEYS = ("priced_message_count", "unpriced_message_count")


@dataclass(frozen=True, slots=True)
class Page:
    """Which people a report shows: those whose username or name contains `text`, a stretch of them."""

    text: str = ""
    limit: int = 10
    offset: int = 0


async def of_chat(session: Session, root_chat_id: UUID) -> Row:
    """Cost and counts of a root chat and all chats below it."""
    [row] = await fetch(session, _CHAT, {"root": root_chat_id})
    return {"root_chat_id": root_chat_id, **row}


async def of_person(session: Session, user_id: UUID, start: datetime, end: datetime) -> Row:
    """What a person's chats used from `start` to just before `end`: totals, `by_model` and `by_chat`, dearest first."""
    rows = await fetch(session, _PERSON, {"user": user_id, "start": start, "end": end})
    [total] = [row for row in rows if not row["of_model"] and not row["of_chat"]]
    models = [row for row in rows if row["of_model"] and row["model_config_id"] is not None]
    named = ("model_config_id", "display_name", "provider", "model", "message_count")
    return {
        **_picked(total, *_TOTAL_KEYS, *_COUNT_KEYS),
        "by_model": [_picked(row, *named, *_TOTAL_KEYS) for row in models],
        "by_chat": [
            _picked(row, "root_chat_id", "chat_title", "message_count", *_TOTAL_KEYS) for row in rows if row["of_chat"]
        ],
    }


async def of_everybody(session: Session, start: datetime, end: datetime, page: Page) -> tuple[list[Row], int]:
    """People with usage in the window, dearest first, and how many there are in all."""
    params = {"start": start, "end": end, "text": page.text, "limit": page.limit, "offset": page.offset}
    rows = await fetch(session, _EVERYBODY, params)
    named = ("username", "name", "avatar_url", "message_count", "chat_count")
    found = [{"user_id": row["owner_id"], **_picked(row, *named, *_TOTAL_KEYS)} for row in rows if row["owner_id"]]
    return found, rows[0]["count"]


def _picked(row: Row, *keys: str) -> Row:
    return {key: row[key] for key in keys}
