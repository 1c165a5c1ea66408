"""A chat's messages as its readers see them: pages of rows, and a row's wire form (wire-api.md 2.3, 3.6)."""

from typing import Any
from uuid import UUID

from models.parts import wire, wire_text
from models.rules.moments import rfc3339
from models.rules.pages import MAX_ID, MessagePage
from models.store.chats import Statement
from models.store.database import Row, fetch
from models.store.session import Session

USAGE = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cache_creation_tokens",
    "cache_read_tokens",
    "context_limit",
)

# What a ChatMessage shows; the content as text, since it seldom has to be looked into.
_SHOWN = f"id, chat_id, created_by, model_config_id, created_at, role, content::text AS content, {', '.join(USAGE)}"
_BACKWARDS = f"""
    SELECT {_SHOWN} FROM chat_messages
    WHERE chat_id = %(chat_id)s AND id > %(after)s AND id < %(before)s
      AND NOT deleted AND visibility IN ('user', 'both')
    ORDER BY id DESC LIMIT %(rows)s
"""  # noqa: S608 - fixed text
_FORWARDS = f"""
    SELECT {_SHOWN} FROM chat_messages
    WHERE chat_id = %(chat_id)s AND id > %(after)s AND id < %(before)s
      AND NOT deleted AND visibility IN ('user', 'both')
    ORDER BY id LIMIT %(rows)s
"""  # noqa: S608 - fixed text

# As it was at one version of the chat, however many pages are read: what was taken back since is still there.
_THEN = f"""
    SELECT {_SHOWN}, CASE WHEN compressed AND role = 'tool' THEN 'user' ELSE visibility END AS visibility
    FROM chat_messages
    WHERE chat_id = %(chat_id)s AND id > %(after)s AND id <= %(upto)s AND role <> 'system'
      AND visibility IN ('user', 'both') AND (NOT deleted OR revision > %(version)s)
    ORDER BY id LIMIT %(rows)s
"""  # noqa: S608 - fixed text
_HORIZON = """
    SELECT c.snapshot_version, (SELECT max(m.id) FROM chat_messages m WHERE m.chat_id = c.id) AS upto
    FROM chats c WHERE c.id = %(chat_id)s
"""


def horizon(chat_id: UUID) -> Statement:
    """The statement for where the chat's history ends now: its version and its last message."""
    return _HORIZON, {"chat_id": chat_id}


async def then(session: Session, chat_id: UUID, horizon: Row, after: int, rows: int) -> list[Row]:
    """Visible messages in their order, as they were when the horizon was read; each with its visibility."""
    found = {"after": after, "upto": horizon["upto"] or 0, "version": horizon["snapshot_version"]}
    return await fetch(session, _THEN, {"chat_id": chat_id, "rows": rows, **found})


def asking(chat_id: UUID, asked: MessagePage) -> Statement:
    """The statement for the visible messages of the page, and one more to see whether more lie beyond it."""
    params = {
        "chat_id": chat_id,
        "after": asked.after_id or 0,
        "before": MAX_ID if asked.before_id is None else asked.before_id,
        "rows": asked.limit + 1,
    }
    return _FORWARDS if asked.ascending else _BACKWARDS, params


def view(row: Row) -> dict[str, Any]:
    """The message as a ChatMessage: what is absent or unknown has no key."""
    shown: dict[str, Any] = {"id": row["id"], "chat_id": row["chat_id"]}
    if row["created_by"] is not None:
        shown["created_by"] = row["created_by"]
    if row["model_config_id"] is not None:
        shown["model_config_id"] = row["model_config_id"]
    shown["created_at"] = rfc3339(row["created_at"])
    shown["role"] = row["role"]
    if row["content"] and row["content"] != "[]":
        shown["content"] = wire(row["content"]) if isinstance(row["content"], list) else wire_text(row["content"])
    usage = {key: row[key] for key in USAGE if row.get(key)}
    if usage:
        shown["usage"] = usage
    return shown
