"""Where chats stand, read without moving them: what the sweep, the control channel and an interrupt need to know."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from models.store import people
from models.store.database import fetch, fetch_together
from models.store.session import Session


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
    begun_by: UUID | None = None
    is_child: bool = False


_COLUMNS = """id, owner_id, status, snapshot_version, history_version, generation_attempt, retry_state,
    coalesce(extract(epoch FROM (retry_state->>'retrying_at')::timestamptz - now()), 0)::float AS retry_seconds,
    begun_by, parent_chat_id IS NOT NULL AS is_child"""


async def of(session: Session, chat_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Where these chats stand; those that are gone are missing."""
    rows = await fetch(
        session,
        f"SELECT {_COLUMNS} FROM chats WHERE id = ANY(%(ids)s)",  # noqa: S608 - fixed text
        {"ids": list(chat_ids)},
    )
    return {row["id"]: Standing(**row) for row in rows}


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: chats that are not at rest, by status, and messages in queues."""

    chats: dict[str, int]
    queued: int
    oldest_pending_seconds: float


_ACTIVE = ("pending", "running", "interrupting", "requires_action")
ACTIVE_CHATS = """
SELECT status, count(*) AS found, extract(epoch FROM now() - min(updated_at))::float AS age FROM chats
WHERE status IN ('pending', 'running', 'interrupting') GROUP BY status
UNION ALL SELECT 'requires_action', count(*), 0 FROM chats WHERE status = 'requires_action'"""
_QUEUED = "SELECT count(*) AS found FROM chat_queued_messages"


async def backlog(session: Session) -> Backlog:
    """What waits in the whole deployment, by indexes that hold only what does."""
    chats, queues = await fetch_together(session, [(ACTIVE_CHATS, {}), (_QUEUED, {})])
    found = {row["status"]: row for row in chats}
    return Backlog(
        chats={status: int(found[status]["found"]) if status in found else 0 for status in _ACTIVE},
        queued=int(queues[0]["found"]),
        oldest_pending_seconds=max(0.0, found["pending"]["age"]) if "pending" in found else 0.0,
    )


async def turn(session: Session, chat_id: UUID) -> tuple[int, datetime] | None:
    """The message that began the chat's turn, and when; None if there is none."""
    rows = await fetch(
        session,
        "SELECT id, created_at FROM chat_messages WHERE chat_id = %(id)s AND role = 'user' AND NOT deleted "
        "AND visibility IN ('user', 'both') AND content #>> '{0,type}' NOT IN ('context-file', 'skill') "
        "ORDER BY id DESC LIMIT 1",
        {"id": chat_id},
    )
    return (rows[0]["id"], rows[0]["created_at"]) if rows else None


_RUNNABLE: LiteralString = "status IN ('pending', 'running', 'interrupting')"


async def count_runnable(session: Session) -> int:
    """How many chats a workflow should be driving."""
    [row] = await fetch(session, f"SELECT count(*) AS found FROM chats WHERE {_RUNNABLE}")  # noqa: S608 - fixed text
    return int(row["found"])


async def undriven(session: Session, driven: Collection[UUID], *, limit: int) -> list[Standing]:
    """Runnable chats that are not among the driven, longest untouched first: many driven ones hide none.

    Those that are queued for capacity are not for now: `capacity.due` names them when they are.
    """
    rows = await fetch(
        session,
        f"SELECT {_COLUMNS} FROM chats WHERE {_RUNNABLE} AND capacity_queued_at IS NULL "  # noqa: S608 - fixed text
        "AND id <> ALL(%(driven)s::uuid[]) ORDER BY updated_at, id LIMIT %(limit)s",
        {"driven": list(driven), "limit": limit},
    )
    return [Standing(**row) for row in rows]


async def stalled(session: Session, driven: Collection[UUID], *, age: timedelta, limit: int) -> list[Standing]:
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


# In the words of two partial indexes, which hold only what is under way.
_BARRED: LiteralString = f"""
SELECT c.id FROM (
    SELECT id, owner_id FROM chats WHERE {_RUNNABLE} AND status <> 'interrupting'
    UNION ALL SELECT id, owner_id FROM chats WHERE status = 'requires_action') AS c
JOIN users u ON u.id = c.owner_id WHERE {people.BARRED}"""  # noqa: S608 - fixed text


async def barred(session: Session, *, limit: int, owner: UUID | None = None) -> list[UUID]:
    """Chats at work, or waiting for a client, whose owner is suspended or gone: of this one, or of whomever."""
    whose = "AND c.owner_id = %(owner)s" if owner else ""
    rows = await fetch(session, f"{_BARRED} {whose} ORDER BY c.id LIMIT %(limit)s", {"owner": owner, "limit": limit})
    return [row["id"] for row in rows]


# Two walks of one index: under an OR it would be read whole, and many chats may wait.
_OVERDUE = """
(SELECT id FROM chats WHERE status = 'requires_action' AND requires_action_deadline_at IS NULL LIMIT %(limit)s)
UNION ALL
(SELECT id FROM chats WHERE status = 'requires_action' AND requires_action_deadline_at <= now()
 ORDER BY requires_action_deadline_at LIMIT %(limit)s)
LIMIT %(limit)s"""


async def overdue(session: Session, *, limit: int) -> list[UUID]:
    """Chats whose client has not answered its calls in time, those without a deadline and the longest overdue first."""
    return [row["id"] for row in await fetch(session, _OVERDUE, {"limit": limit})]
