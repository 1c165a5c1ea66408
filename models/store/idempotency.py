"""Answers kept under a caller's Idempotency-Key, so that the same request again gets the same answer (design §9).

The answer is stored in the transaction of the work it answers: either both are there or neither. Only answers of
work that was done are kept; a refused request changed nothing, and may be tried again under its key.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from models.errors import Conflict, Unprocessable
from models.store.database import fetch
from models.store.session import Session

_STILL_RUNNING = "A request with this Idempotency-Key is still running."
_PURGE_BATCH = 5000

# The lock is the transaction's: whoever holds it is at work under this key right now.
_CLAIM = """
    WITH slot AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtextextended(%(slot)s, 0)) AS mine)
    SELECT slot.mine, kept.fingerprint, kept.status, kept.body
    FROM slot LEFT JOIN idempotency_keys kept
      ON kept.user_id = %(user_id)s AND kept.key = %(key)s AND kept.created_at > now() - %(ttl)s::interval
"""

# Another transaction may have stored between our snapshot and our lock; then nothing is written here.
_KEEP = """
    INSERT INTO idempotency_keys AS kept (user_id, key, fingerprint, status, body)
    VALUES (%(user_id)s, %(key)s, %(fingerprint)s, %(status)s, %(body)s)
    ON CONFLICT (user_id, key) DO UPDATE
      SET fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body, created_at = now()
      WHERE kept.created_at <= now() - %(ttl)s::interval
    RETURNING key
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """One caller's key for one request, told apart by its fingerprint; `older` ones were made by keys since rotated."""

    user_id: UUID
    key: str
    fingerprint: bytes
    ttl: timedelta
    older: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer given before."""

    status: int
    body: bytes


async def claim(session: Session, asked: Claim) -> Kept | None:
    """The answer given before, or None when the work is to be done now.

    Raises Unprocessable when the key was used for another request, Conflict while that one is still running.
    """
    [row] = await fetch(
        session,
        _CLAIM,
        {"slot": f"{asked.user_id}:{asked.key}", "user_id": asked.user_id, "key": asked.key, "ttl": asked.ttl},
    )
    if row["fingerprint"] is not None:
        if bytes(row["fingerprint"]) not in (asked.fingerprint, *asked.older):
            raise Unprocessable(
                "Idempotency-Key was used for another request.",
                "The same key must come with the same method, path and body.",
            )
        return Kept(row["status"], bytes(row["body"] or b""))
    if not row["mine"]:
        raise Conflict(_STILL_RUNNING, "Try again to get its answer.")
    return None


async def keep(session: Session, asked: Claim, status: int, body: bytes) -> None:
    """Store the answer with the work; raises Conflict, undoing the work, when another request got there first."""
    stored = await fetch(
        session,
        _KEEP,
        {
            "user_id": asked.user_id,
            "key": asked.key,
            "fingerprint": asked.fingerprint,
            "status": status,
            "body": body,
            "ttl": asked.ttl,
        },
    )
    if not stored:
        raise Conflict(_STILL_RUNNING, "Try again to get its answer.")


async def purge(session: Session, ttl: timedelta) -> int:
    """Forget answers older than `ttl`, a bounded number at once; how many were forgotten."""
    rows = await fetch(
        session,
        """
        DELETE FROM idempotency_keys WHERE (user_id, key) IN (
            SELECT user_id, key FROM idempotency_keys WHERE created_at <= now() - %(ttl)s::interval
            ORDER BY created_at LIMIT %(batch)s)
        RETURNING key
        """,
        {"ttl": ttl, "batch": _PURGE_BATCH},
    )
    return len(rows)
