"""The messages that wait in a chat's queue, as its readers see them (wire-api.md 2.6)."""

from typing import Any
from uuid import UUID

from models.parts import wire
from models.rules.moments import rfc3339
from models.store.chats import Statement
from models.store.database import Row, fetch
from models.store.session import Session

_WAITING = "SELECT * FROM chat_queued_messages WHERE chat_id = %(chat_id)s ORDER BY position, id"


async def waiting(session: Session, chat_id: UUID) -> list[Row]:
    """The queue, its head first."""
    return await fetch(session, *asking(chat_id))


def asking(chat_id: UUID) -> Statement:
    """The statement for the queue."""
    return _WAITING, {"chat_id": chat_id}


def view(row: Row) -> dict[str, Any]:
    """The waiting message as a ChatQueuedMessage."""
    shown: dict[str, Any] = {"id": row["id"], "chat_id": row["chat_id"]}
    if row["model_config_id"] is not None:
        shown["model_config_id"] = row["model_config_id"]
    shown["content"] = wire(row["content"])
    shown["created_at"] = rfc3339(row["created_at"])
    return shown
