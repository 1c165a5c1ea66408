"""Notices that wait for a person: written by background jobs, read and ticked off by their owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import orjson

from models.errors import NotFound
from models.parts import from_rest, to_rest
from models.rules.moments import rfc3339
from models.store import push
from models.store.database import Row, fetch
from models.store.session import Session

PAGE = 25

ReadStatus = Literal["all", "read", "unread"]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice for one person; the same `occasion` makes no second one."""

    user_id: UUID
    template: str
    occasion: str
    title: str
    content: str
    details: dict[str, Any]


async def post(session: Session, notices: Sequence[Notice], *, pushed: bool = False) -> int:
    """Put notices into their people's inboxes, and `pushed` to their browsers as well; how many were new."""
    if not notices:
        return 0
    records = [
        {
            "user_id": each.user_id,
            "template": each.template,
            "occasion": each.occasion,
            "title": to_rest(each.title),
            "content": to_rest(each.content),
            "details": to_rest(each.details),
        }
        for each in notices
    ]
    rows = await fetch(
        session,
        f"""
        WITH posted AS (INSERT INTO inbox_notifications (id, user_id, template, title, content, details)
        SELECT md5(r.user_id::text || r.template || r.occasion)::uuid, r.user_id, r.template, r.title, r.content,
            r.details
        FROM jsonb_to_recordset(%(records)s::jsonb)
            AS r(user_id uuid, template text, occasion text, title text, content text, details jsonb)
        JOIN users u ON u.id = r.user_id AND NOT u.deleted
        ON CONFLICT (id) DO NOTHING
        RETURNING id, user_id)
        {f", {push.NOTICED}" if pushed else ""}
        SELECT id{f", {push.PUSHED}" if pushed else ""} FROM posted
        """,  # noqa: S608 - fixed text
        {"records": orjson.dumps(records).decode()},
    )
    if pushed and rows and rows[0]["pushed"]:
        session.ring()
    return len(rows)


async def listed(
    session: Session, user_id: UUID, *, status: ReadStatus = "all", before: UUID | None = None
) -> list[dict[str, Any]]:
    """A page of a person's notices, newest first, from before the one that was shown last."""
    rows = await fetch(
        session,
        """
        SELECT * FROM inbox_notifications
        WHERE user_id = %(user)s
          AND (%(status)s = 'all' OR (read_at IS NULL) = (%(status)s = 'unread'))
          AND (%(before)s::uuid IS NULL OR (created_at, id) < (
              SELECT created_at, id FROM inbox_notifications WHERE id = %(before)s AND user_id = %(user)s))
        ORDER BY created_at DESC, id DESC LIMIT %(page)s
        """,
        {"user": user_id, "status": status, "before": before, "page": PAGE},
    )
    return [_view(row) for row in rows]


async def unread(session: Session, user_id: UUID) -> int:
    """How many notices a person has not read."""
    [row] = await fetch(
        session,
        "SELECT count(*) AS found FROM inbox_notifications WHERE user_id = %(user)s AND read_at IS NULL",
        {"user": user_id},
    )
    return int(row["found"])


async def mark(session: Session, user_id: UUID, notice_id: UUID, *, read: bool) -> dict[str, Any]:
    """Tick a person's notice off, or on again; raises NotFound."""
    rows = await fetch(
        session,
        """
        UPDATE inbox_notifications SET read_at = CASE WHEN %(read)s THEN coalesce(read_at, now()) END
        WHERE id = %(id)s AND user_id = %(user)s RETURNING *
        """,
        {"id": notice_id, "user": user_id, "read": read},
    )
    if not rows:
        raise NotFound
    return _view(rows[0])


def _view(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {key: row[key] for key in ("id", "user_id", "template", "title", "content")}
    read_at = row["read_at"]
    moments = {"read_at": rfc3339(read_at) if read_at else None, "created_at": rfc3339(row["created_at"])}
    return {**from_rest(shown), "details": from_rest(row["details"]), **moments}
