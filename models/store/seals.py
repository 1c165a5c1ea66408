"""The audit log sealed: entries are chained after they are committed, so that no transaction waits for another's hash.

One sealer at a time, in the order of (time, id). The mark moves past an entry only when every transaction has ended
that may have begun before it, so what is sealed later is later. The oldest may be cut off; the last hash of what is
gone stays, and that it is gone is an entry itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from models.rules import audit_chain
from models.store import audit
from models.store.database import Row, fetch
from models.store.session import Session

BATCH = 1000
SUBSYSTEM = "audit_retention"

_HOLD: LiteralString = "SELECT * FROM audit_mark FOR UPDATE SKIP LOCKED"
# An entry's time is that of its transaction's beginning. One that has only read for so long is not about to write.
_HORIZON: LiteralString = """
    SELECT least(min(xact_start), clock_timestamp() - interval '1 second') AS horizon
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND (backend_xid IS NOT NULL OR xact_start > clock_timestamp() - interval '5 minutes')
"""
_COLUMNS: LiteralString = """
    a.id, a.time, a.organization_id, a.user_id, a.action, a.resource_type, a.resource_id, a.resource_target, a.diff,
    a.details, a.status_code, a.request_id, a.ip, a.user_agent
"""
_OPEN: LiteralString = f"""
    SELECT {_COLUMNS} FROM audit_logs a
    WHERE (a.time, a.id) > (%(time)s::timestamptz, %(entry_id)s::uuid) AND a.time < %(horizon)s::timestamptz
    ORDER BY a.time, a.id LIMIT %(limit)s
"""  # noqa: S608 - fixed text
_SEAL: LiteralString = """
    WITH sealed AS (
        INSERT INTO audit_seals (position, entry_id, hash)
        SELECT * FROM unnest(%(positions)s::bigint[], %(entries)s::uuid[], %(hashes)s::bytea[]))
    UPDATE audit_mark SET position = %(position)s, hash = %(hash)s, time = %(time)s, entry_id = %(entry_id)s
"""


async def seal(session: Session, limit: int = BATCH) -> int:
    """Chain the next entries, so many at most; how many they were. None while another process does it."""
    held = await fetch(session, _HOLD)
    if not held:
        return 0
    [mark] = held
    [horizon] = await fetch(session, _HORIZON)
    asked = {"time": mark["time"], "entry_id": mark["entry_id"], "horizon": horizon["horizon"], "limit": limit}
    rows = await fetch(session, _OPEN, asked, prepare=False)
    if not rows:
        return 0
    hashes, last = [], bytes(mark["hash"])
    for row in rows:
        last = audit_chain.follow(last, audit_chain.entry(row))
        hashes.append(last)
    end = mark["position"] + len(rows)
    await fetch(
        session,
        _SEAL,
        {
            "positions": list(range(mark["position"] + 1, end + 1)),
            "entries": [row["id"] for row in rows],
            "hashes": hashes,
            "position": end,
            "hash": last,
            "time": rows[-1]["time"],
            "entry_id": rows[-1]["id"],
        },
    )
    return len(rows)


_OLDEST: LiteralString = """
    SELECT s.position, s.hash, a.time FROM audit_seals s LEFT JOIN audit_logs a ON a.id = s.entry_id
    WHERE s.position > %(cut)s ORDER BY s.position LIMIT %(limit)s
"""
_CUT: LiteralString = """
    WITH gone AS (DELETE FROM audit_seals WHERE position <= %(position)s RETURNING entry_id),
    forgotten AS (DELETE FROM audit_logs a USING gone WHERE a.id = gone.entry_id)
    UPDATE audit_mark SET cut_position = %(position)s, cut_hash = %(hash)s
"""


async def cut(session: Session, cutoff: datetime, limit: int) -> int:
    """Delete the oldest sealed entries that are older, so many at most; how many, and an entry says so."""
    held = await fetch(session, _HOLD)
    if not held:
        return 0
    [mark] = held
    oldest = await fetch(session, _OLDEST, {"cut": mark["cut_position"], "limit": limit})
    kept = next((at for at, row in enumerate(oldest) if row["time"] is not None and row["time"] >= cutoff), len(oldest))
    # A seal without its entry is evidence: it goes when something after it goes, not before.
    while kept and oldest[kept - 1]["time"] is None:
        kept -= 1
    if not kept:
        return 0
    end = oldest[kept - 1]
    await fetch(session, _CUT, {"position": end["position"], "hash": bytes(end["hash"])})
    audit.record(
        session,
        action="delete",
        resource_type="audit_log",
        resource_id=UUID(int=0),
        target=f"up to {end['position']}",
        details=audit.by_background_job(
            SUBSYSTEM, position=end["position"], hash=bytes(end["hash"]).hex(), entries=kept, before=cutoff.isoformat()
        ),
    )
    return kept


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the log is sealed, and up to where it was cut off."""

    position: int
    hash: str
    time: datetime
    entry_id: UUID
    cut_position: int
    cut_hash: str


async def mark(session: Session) -> Mark:
    """The mark as it is now."""
    [row] = await fetch(session, "SELECT * FROM audit_mark")
    return Mark(
        row["position"],
        bytes(row["hash"]).hex(),
        row["time"],
        row["entry_id"],
        row["cut_position"],
        bytes(row["cut_hash"]).hex(),
    )


_LINKS: LiteralString = f"""
    SELECT s.position, s.hash, s.entry_id, {_COLUMNS} FROM audit_seals s LEFT JOIN audit_logs a ON a.id = s.entry_id
    WHERE s.position > %(after)s AND s.position <= %(upto)s ORDER BY s.position LIMIT %(limit)s
"""  # noqa: S608 - fixed text
_UNSEALED: LiteralString = f"""
    SELECT {_COLUMNS} FROM audit_logs a
    WHERE (a.time, a.id) > (%(time)s::timestamptz, %(id)s::uuid)
        AND NOT EXISTS (SELECT FROM audit_seals s WHERE s.entry_id = a.id)
    ORDER BY a.time, a.id LIMIT %(limit)s
"""  # noqa: S608 - fixed text


async def links(session: Session, after: int, upto: int, limit: int = BATCH) -> list[dict[str, Any]]:
    """The next seals of the chain with their entries; None stands for one that is not there."""
    rows = await fetch(session, _LINKS, {"after": after, "upto": upto, "limit": limit})
    return [
        {
            "position": row["position"],
            "hash": bytes(row["hash"]).hex(),
            "entry_id": str(row["entry_id"]),
            "entry": None if row["id"] is None else audit_chain.entry(row),
        }
        for row in rows
    ]


async def unsealed(
    session: Session, after: tuple[datetime, UUID], limit: int = BATCH
) -> tuple[list[dict[str, Any]], tuple[datetime, UUID] | None]:
    """The next entries without a seal, and after which to go on."""
    rows: Sequence[Row] = await fetch(session, _UNSEALED, {"time": after[0], "id": after[1], "limit": limit})
    told = [
        {"position": None, "hash": None, "entry_id": str(row["id"]), "entry": audit_chain.entry(row)} for row in rows
    ]
    return told, (rows[-1]["time"], rows[-1]["id"]) if len(rows) == limit else None
