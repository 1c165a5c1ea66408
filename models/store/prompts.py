"""What a person has asked in a chat, newest first: for the arrow key that brings old prompts back (wire-api.md 3.9)."""

from typing import Any
from uuid import UUID

from models.parts import from_rest
from models.store.chats import Statement
from models.store.database import Row, fetch
from models.store.session import Session

DEFAULT_LIMIT = 500
MAX_LIMIT = 2000

# The condition is that of the partial index ix_chat_messages_prompts, which also gives the order.
PROMPTS = """
    SELECT m.id, said.text FROM chat_messages m, LATERAL (
        SELECT string_agg(part ->> 'text', '' ORDER BY place) AS text
        FROM jsonb_array_elements(m.content) WITH ORDINALITY AS each(part, place) WHERE part ->> 'type' = 'text') said
    WHERE m.chat_id = %(chat)s AND m.role = 'user' AND NOT m.deleted AND m.visibility IN ('user', 'both')
      AND said.text ~ '[^[:space:]]'
    ORDER BY m.id DESC LIMIT %(limit)s
"""


async def of_chat(session: Session, chat_id: UUID, limit: int) -> list[dict[str, Any]]:
    """The newest prompts that have words, each with the id of its message; a limit of 0 means 500."""
    return [view(row) for row in await fetch(session, *asking(chat_id, limit))]


def asking(chat_id: UUID, limit: int) -> Statement:
    """The statement for the rows of `of_chat`."""
    return PROMPTS, {"chat": chat_id, "limit": limit or DEFAULT_LIMIT}


def view(row: Row) -> dict[str, Any]:
    """A prompt as its readers see it."""
    return {"id": row["id"], "text": from_rest(row["text"])}
