"""Where chats stand, read without moving them: what the sweep, the control channel and an interrupt need to know."""

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.store.database import fetch


class Standing(NamedTuple):
    """A chat's execution state, as far as a worker judges by it; `retry_seconds` is what is left of its back-off."""

    id: UUID
    owner_id: UUID
    status: str
    snapshot_version: int
    history_version: int
    generation_attempt: int
    retry_state: dict[str, Any] | None
    retry_seconds: float


_COLUMNS = """id, owner_id, status, snapshot_version, history_version, generation_attempt, retry_state,
    coalesce(extract(epoch FROM (retry_state->>'retrying_at')::timestamptz - now()), 0)::float AS retry_seconds"""


async def of(session: AsyncSession, chat_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Where these chats stand; those that are gone are missing."""
    rows = await fetch(
        session,
        f"SELECT {_COLUMNS} FROM chats WHERE id = ANY(%(ids)s)",  # noqa: S608 - fixed text
        {"ids": list(chat_ids)},
    )
    return {row["id"]: Standing(**row) for row in rows}


async def runnable(session: AsyncSession, *, limit: int) -> list[Standing]:
    """Chats that a workflow should be driving, longest untouched first, at most `limit`."""
    rows = await fetch(
        session,
        f"SELECT {_COLUMNS} FROM chats WHERE status IN ('pending', 'running', 'interrupting') "  # noqa: S608 - fixed text
        "ORDER BY updated_at, id LIMIT %(limit)s",
        {"limit": limit},
    )
    return [Standing(**row) for row in rows]
