"""The chats of sub-agents, as their parents see them: what each has come to, how many there are, and who waits."""

from typing import Any, LiteralString
from uuid import UUID

from models.parts import from_rest
from models.rules.sub_agents import UNFINISHED
from models.store.database import Row, fetch
from models.store.session import Session

_SHOWN: LiteralString = "c.id, c.owner_id, c.title, c.status, c.mode, c.archived, c.last_error"

# Duplicates are dropped, so that a ring of parents, should there be one, has an end.
_BELOW: LiteralString = f"""
WITH RECURSIVE up AS (
    SELECT id, parent_chat_id FROM chats WHERE id = %(chat)s
    UNION SELECT p.id, p.parent_chat_id FROM up JOIN chats p ON p.id = up.parent_chat_id)
SELECT {_SHOWN}, (
    SELECT said.text FROM chat_messages m, LATERAL (
        SELECT string_agg(part ->> 'text', '' ORDER BY place) AS text
        FROM jsonb_array_elements(m.content) WITH ORDINALITY AS each(part, place) WHERE part ->> 'type' = 'text') said
    WHERE m.chat_id = c.id AND m.role = 'assistant' AND NOT m.deleted AND m.visibility <> 'model'
        AND said.text ~ '[^[:space:]]'
    ORDER BY m.id DESC LIMIT 1) AS report
FROM chats c
WHERE c.id = %(chat)s AND c.id <> %(above)s AND EXISTS (SELECT FROM up WHERE parent_chat_id = %(above)s)"""  # noqa: S608

_LISTED: LiteralString = f"""
SELECT {_SHOWN} FROM chats c WHERE c.parent_chat_id = %(parent)s AND NOT c.archived
ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s OFFSET %(offset)s"""  # noqa: S608 - fixed text


async def made(session: Session, chat_id: UUID) -> Row | None:
    """The chat of this id, as its parent's call made it before."""
    rows = await fetch(session, f"SELECT {_SHOWN} FROM chats c WHERE c.id = %(id)s", {"id": chat_id})  # noqa: S608
    return rows[0] if rows else None


async def below(session: Session, above: UUID, chat_id: UUID) -> Row | None:
    """A sub-agent of the chat `above`, with its `report`: what it said last, None if nothing. None: it has no such."""
    rows = await fetch(session, _BELOW, {"chat": chat_id, "above": above})
    return {**rows[0], "report": from_rest(rows[0]["report"])} if rows else None


async def count(session: Session, parent: UUID) -> tuple[int, int]:
    """How many sub-agents of the chat are at work, and how many it has in all. The chat is locked."""
    [row] = await fetch(
        session,
        "SELECT count(*) FILTER (WHERE status = ANY(%(unfinished)s) AND NOT archived) AS unfinished,"
        " count(*) AS total FROM chats WHERE parent_chat_id = %(parent)s",
        {"parent": parent, "unfinished": sorted(UNFINISHED)},
    )
    return row["unfinished"], row["total"]


async def listed(session: Session, parent: UUID, *, limit: int, offset: int) -> tuple[list[Row], int]:
    """The chat's sub-agents that are not archived, newest first, and how many there are."""
    params: dict[str, Any] = {"parent": parent, "limit": limit, "offset": offset}
    rows = await fetch(session, _LISTED, params)
    counted = "SELECT count(*) AS total FROM chats WHERE parent_chat_id = %(parent)s AND NOT archived"
    [row] = await fetch(session, counted, params)
    return rows, row["total"]


async def who_waits(session: Session, chat_id: UUID) -> list[Row]:
    """The chat's parent, if a call of it waits for a sub-agent, or is just about to."""
    return await fetch(
        session,
        """
        SELECT p.id, p.owner_id FROM chats c JOIN chats p ON p.id = c.parent_chat_id
        WHERE c.id = %(chat)s AND p.status IN ('pending', 'running') AND EXISTS (
            SELECT FROM tool_executions t WHERE t.chat_id = p.id AND t.state = 'claimed' AND t.tool_name = 'wait_agent')
        """,
        {"chat": chat_id},
    )
