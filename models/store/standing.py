"""Where chats stand, read without moving them: what the sweep, the control channel and an interrupt need to know."""

from collections.abc import Collection
from datetime import timedelta
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


_RUNNABLE = "status IN ('pending', 'running', 'interrupting')"


async def count_runnable(session: AsyncSession) -> int:
    """How many chats a workflow should be driving."""
    [row] = await fetch(session, f"SELECT count(*) AS found FROM chats WHERE {_RUNNABLE}")  # noqa: S608 - fixed text
    return int(row["found"])


async def undriven(session: AsyncSession, driven: Collection[UUID], *, limit: int) -> list[Standing]:
    """Runnable chats that are not among the driven, longest untouched first: many driven ones hide none."""
    rows = await fetch(
        session,
        f"SELECT {_COLUMNS} FROM chats WHERE {_RUNNABLE} AND id <> ALL(%(driven)s::uuid[]) "  # noqa: S608 - fixed text
        "ORDER BY updated_at, id LIMIT %(limit)s",
        {"driven": list(driven), "limit": limit},
    )
    return [Standing(**row) for row in rows]


async def stalled(session: AsyncSession, driven: Collection[UUID], *, age: timedelta, limit: int) -> list[Standing]:
    """Driven chats whose stop, or whose new text, nobody has taken up for that long: the nudge may have been lost.

    A chat that is merely pending may be waiting for a slot: it is named for a while only.
    """
    rows = await fetch(
        session,
        f"SELECT {_COLUMNS} FROM chats WHERE id = ANY(%(driven)s::uuid[]) "  # noqa: S608 - fixed text
        "AND updated_at < now() - %(age)s AND (status = 'interrupting' "
        "OR (status = 'pending' AND updated_at > now() - 3 * %(age)s)) ORDER BY updated_at, id LIMIT %(limit)s",
        {"driven": list(driven), "age": age, "limit": limit},
    )
    return [Standing(**row) for row in rows]
