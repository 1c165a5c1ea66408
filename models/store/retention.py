"""How long things are kept, and the batches in which what is over is archived or deleted.

Each batch is one short transaction: it takes what nobody holds (SKIP LOCKED) and judges it again under its lock, so
that any number of workers may do the same job at once, and one that dies leaves nothing half done.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from models.store import audit, moves, preferences
from models.store.database import Row, fetch, fetch_together
from models.store.session import Session

RETENTION = "agents_chat_retention_days"
DEBUG_RETENTION = "agents_chat_debug_retention_days"
AUTO_ARCHIVE = "agents_chat_auto_archive_days"
AUDIT_RETENTION = "audit_retention_days"
DEFAULTS = {RETENTION: 30, DEBUG_RETENTION: 30, AUTO_ARCHIVE: 0, AUDIT_RETENTION: 0}
MOST_DAYS = 3650

SUBSYSTEM = "chat_auto_archive"
BUSY = ["pending", "running", "interrupting", "requires_action"]
# What a turn still writes, or what a change has only just made pointless, is left for the next round.
SKEW = timedelta(seconds=30)
STALE = timedelta(minutes=10)
LOST = timedelta(days=1)


async def days(session: Session, key: str) -> int:
    """So many days, 0 for never; raises ValueError when what is stored is no such number."""
    stored = (await preferences.site(session, key)).get(key)
    if stored is None:
        return DEFAULTS[key]
    if not (stored.isascii() and stored.isdigit() and int(stored) <= MOST_DAYS):
        raise ValueError(f"the setting {key} holds {stored!r}, which is no number of days")
    return int(stored)


async def set_days(session: Session, key: str, value: int) -> None:
    """Keep for so many days from now on; what is over goes with the next round."""
    await preferences.put_site(session, {key: str(value)})


def midnight_before(at: datetime, age: int) -> datetime:
    """Midnight UTC of the day that is so many days before: all that is last of one date is over together."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=age)


# Of an archived chat that is still being stopped, the partial answer is yet to come.
_DELETE_CHATS: LiteralString = """
    WITH gone AS (
        DELETE FROM chats WHERE id IN (
            SELECT id FROM chats WHERE archived AND archived_at < %(cutoff)s AND status <> ALL(%(busy)s::text[])
            ORDER BY archived_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING id),
    forgotten AS (
        DELETE FROM chat_message_words WHERE message_id IN (
            SELECT m.id FROM chat_messages m JOIN gone ON gone.id = m.chat_id))
    SELECT id FROM gone
"""


async def delete_archived(session: Session, cutoff: datetime, limit: int) -> int:
    """Delete chats that were archived before, oldest first, with everything in them."""
    rows = await fetch(session, _DELETE_CHATS, {"cutoff": cutoff, "busy": BUSY, "limit": limit})
    if rows:
        audit.record(
            session,
            action="delete",
            resource_type=audit.CHAT,
            resource_id=UUID(int=0),
            target=f"{len(rows)} archived",
            details=audit.by_background_job("chat_retention", chats=[str(row["id"]) for row in rows]),
        )
    return len(rows)


# The second look is a statement of its own: a link that was made meanwhile holds the file's key.
_ORPHANS: LiteralString = """
    SELECT id FROM chat_files f
    WHERE created_at < %(cutoff)s AND NOT EXISTS (SELECT 1 FROM chat_file_links l WHERE l.file_id = f.id)
    ORDER BY created_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
_DELETE_FILES: LiteralString = """
    DELETE FROM chat_files f
    WHERE id = ANY(%(ids)s) AND NOT EXISTS (SELECT 1 FROM chat_file_links l WHERE l.file_id = f.id)
    RETURNING id
"""


async def delete_orphan_files(session: Session, cutoff: datetime, limit: int) -> int:
    """Delete files that were uploaded before and that no chat uses, oldest first."""
    found = [row["id"] for row in await fetch(session, _ORPHANS, {"cutoff": cutoff, "limit": limit})]
    return len(await fetch(session, _DELETE_FILES, {"ids": found})) if found else 0


# The newest message by id is the newest by time, but for what was committed out of turn within moments.
_IDLE: LiteralString = """
    NOT c.archived AND c.pin_order = 0 AND c.parent_chat_id IS NULL AND c.created_at < %(cutoff)s
    AND NOT EXISTS (
        SELECT 1 FROM chats f LEFT JOIN LATERAL (
            SELECT m.created_at FROM chat_messages m WHERE m.chat_id = f.id AND NOT m.deleted ORDER BY m.id DESC LIMIT 1
        ) newest ON true
        WHERE (f.id = c.id OR f.root_chat_id = c.id OR f.parent_chat_id = c.id)
          AND (f.status = ANY(%(busy)s::text[]) OR newest.created_at >= %(cutoff)s))
"""
_IDLE_ROOTS: LiteralString = f"""
    SELECT c.id FROM chats c WHERE {_IDLE} ORDER BY c.created_at, c.id LIMIT %(limit)s
"""  # noqa: S608 - fixed text
# In the order of `moves.archive`, which locks the same rows again.
_HOLD: LiteralString = """
    SELECT id FROM chats WHERE id = %(id)s OR root_chat_id = %(id)s OR parent_chat_id = %(id)s
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
_COUNT: LiteralString = """
    SELECT count(*) AS found FROM chats WHERE id = %(id)s OR root_chat_id = %(id)s OR parent_chat_id = %(id)s
"""
_STILL_IDLE: LiteralString = f"""
    SELECT c.id, c.owner_id, c.organization_id FROM chats c WHERE c.id = %(id)s AND {_IDLE}
"""  # noqa: S608 - fixed text


async def idle_roots(session: Session, cutoff: datetime, limit: int) -> list[UUID]:
    """Roots in whose family nobody said anything since, oldest first; not the pinned ones, nor any at work."""
    rows = await fetch(session, _IDLE_ROOTS, {"cutoff": cutoff, "busy": BUSY, "limit": limit}, prepare=False)
    return [row["id"] for row in rows]


async def archive_idle(session: Session, root: UUID, cutoff: datetime, tick: str) -> int:
    """Archive the family if it is still idle under its lock, with an audit entry; 0 if somebody holds it or spoke."""
    params = {"id": root, "cutoff": cutoff, "busy": BUSY}
    held, [counted], still = await fetch_together(session, [(_HOLD, params), (_COUNT, params), (_STILL_IDLE, params)])
    if not still or len(held) < counted["found"]:
        return 0
    moved = await moves.archive(session, root)
    audit.record(
        session,
        action="write",
        resource_type="chat",
        resource_id=root,
        target=str(root)[:8],
        organization_id=still[0]["organization_id"],
        user_id=still[0]["owner_id"],
        diff=audit.changed(archived=(False, True)),
        details=audit.by_background_job(SUBSYSTEM, tick=tick),
    )
    return len(moved)


# Audit entries are what is known of a tick for certain, whoever worked at it and died.
_ARCHIVED_IN: LiteralString = """
    SELECT * FROM (
        SELECT c.owner_id, c.title, coalesce(
                (SELECT max(newest.created_at) FROM chats f, LATERAL (
                    SELECT m.created_at FROM chat_messages m
                    WHERE m.chat_id = f.id AND NOT m.deleted ORDER BY m.id DESC LIMIT 1) newest
                 WHERE f.id = c.id OR f.root_chat_id = c.id OR f.parent_chat_id = c.id), c.created_at) AS last_activity,
            row_number() OVER (PARTITION BY c.owner_id ORDER BY c.created_at, c.id) AS place,
            count(*) OVER (PARTITION BY c.owner_id) AS total
        FROM audit_logs a JOIN chats c ON c.id = a.resource_id
        WHERE a.time > now() - interval '1 day' AND a.details @> %(mark)s::jsonb
    ) archived
    WHERE place <= %(most)s ORDER BY owner_id, place
"""


async def archived_in(session: Session, tick: str, most: int) -> list[Row]:
    """The chats that a tick archived, by owner, oldest first, at most so many each; `total` counts all of the owner."""
    mark = audit.encoded(audit.by_background_job(SUBSYSTEM, tick=tick))
    return await fetch(session, _ARCHIVED_IN, {"mark": mark, "most": most})


_FORGET_OLD: LiteralString = """
    DELETE FROM chat_debug_runs WHERE id IN (
        SELECT id FROM chat_debug_runs WHERE updated_at < %(cutoff)s
        ORDER BY updated_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
_FORGET_GONE: LiteralString = """
    DELETE FROM chat_debug_runs WHERE id IN (
        SELECT run.id FROM chat_debug_runs run
        WHERE run.updated_at < now() - %(skew)s AND (
            EXISTS (SELECT 1 FROM chats WHERE chats.id = run.chat_id AND chats.archived)
            OR EXISTS (SELECT 1 FROM chat_messages gone
                WHERE gone.id IN (run.trigger_message_id, run.history_tip_message_id) AND gone.deleted))
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
# A turn whose last step ended well is complete, whoever failed to note it.
_CLOSE_STALE: LiteralString = """
    WITH stale AS (
        SELECT run.id, (
            SELECT step.status FROM chat_debug_steps step WHERE step.run_id = run.id ORDER BY step_number DESC LIMIT 1
        ) AS last
        FROM chat_debug_runs run JOIN chats ON chats.id = run.chat_id
        WHERE run.finished_at IS NULL AND run.updated_at < now() - %(stale)s
          AND (chats.status <> ALL(%(busy)s::text[]) OR run.updated_at < now() - %(lost)s)
        LIMIT %(limit)s FOR UPDATE OF run SKIP LOCKED
    ), steps AS (
        UPDATE chat_debug_steps step SET status = 'interrupted', updated_at = now(), finished_at = now()
        FROM stale WHERE step.run_id = stale.id AND step.finished_at IS NULL
    )
    UPDATE chat_debug_runs run SET updated_at = now(), finished_at = now(), status = CASE
        WHEN stale.last IN ('completed', 'error') THEN stale.last ELSE 'interrupted' END
    FROM stale WHERE run.id = stale.id
    RETURNING run.id
"""


async def forget_debug_before(session: Session, cutoff: datetime, limit: int) -> int:
    """Delete debug runs that nobody wrote to since, finished or not."""
    return len(await fetch(session, _FORGET_OLD, {"cutoff": cutoff, "limit": limit}))


async def forget_debug_of_the_gone(session: Session, limit: int) -> int:
    """Delete debug runs of archived chats, and of messages that were edited away."""
    return len(await fetch(session, _FORGET_GONE, {"skew": SKEW, "limit": limit}))


async def close_stale_debug(session: Session, limit: int) -> int:
    """End debug runs whose end nobody noted: the chat has long come to rest, or nothing was heard for a day."""
    params: dict[str, Any] = {"stale": STALE, "lost": LOST, "busy": BUSY, "limit": limit}
    return len(await fetch(session, _CLOSE_STALE, params))


_FORGET_NOTICES: LiteralString = """
    DELETE FROM inbox_notifications WHERE id IN (
        SELECT id FROM inbox_notifications WHERE read_at < %(cutoff)s LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING id
"""


async def forget_read_notices(session: Session, cutoff: datetime, limit: int) -> int:
    """Delete notices that were read before."""
    return len(await fetch(session, _FORGET_NOTICES, {"cutoff": cutoff, "limit": limit}))


def by_owner(rows: Sequence[Row]) -> dict[UUID, list[Row]]:
    """The rows of each owner, in their order."""
    families: dict[UUID, list[Row]] = {}
    for row in rows:
        families.setdefault(row["owner_id"], []).append(row)
    return families
