"""Failed sign-ins, counted for all processes together: an attempt is counted before it is judged, and taken back after.

So of many attempts at once none is free. What does not exist is counted as what does, and so tells nothing.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from models.errors import Exhausted
from models.rules import lockout
from models.store.database import fetch, fetch_together
from models.store.session import Session

_THERE = """
    INSERT INTO sign_in_failures (key) SELECT key FROM unnest(%(keys)s::text[]) AS key ORDER BY key
    ON CONFLICT DO NOTHING
"""
_HELD = """
    SELECT key, CASE WHEN updated_at > now() - %(forgotten)s THEN failures ELSE 0 END AS failures,
        greatest(locked_until - now(), interval '0') AS wait
    FROM sign_in_failures WHERE key = ANY(%(keys)s::text[]) ORDER BY key FOR UPDATE
"""
_COUNTED = """
    UPDATE sign_in_failures f SET failures = n.failures, updated_at = now(),
        locked_until = CASE WHEN n.wait > interval '0' THEN now() + n.wait END
    FROM unnest(%(keys)s::text[], %(failures)s::int[], %(waits)s::interval[]) AS n(key, failures, wait)
    WHERE f.key = n.key
"""
# A few of the old go with each attempt: the table stays small, and nobody need sweep it. It waits
# for nobody, and comes last, so that it holds up nobody who waits for what is held here.
_TIDY = """
    DELETE FROM sign_in_failures WHERE key IN (
        SELECT key FROM sign_in_failures WHERE updated_at < now() - %(forgotten)s
        ORDER BY updated_at LIMIT 10 FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that was counted: its keys, and the failures that they have with it."""

    failures: dict[str, int]


def account(email: str) -> str:
    """The key of an account, whether there is one or not."""
    return "account " + hashlib.sha256(email.lower().encode()).hexdigest()


def address(ip: str) -> str:
    """The key of where an attempt comes from."""
    return "address " + hashlib.sha256(lockout.network(ip).encode()).hexdigest()


async def attempt(session: Session, *keys: str) -> Attempt:
    """Count an attempt as failed until it has succeeded; raises Exhausted while one of the keys must wait."""
    asked = {"keys": sorted(keys), "forgotten": lockout.FORGOTTEN}
    _, rows = await fetch_together(session, [(_THERE, asked), (_HELD, asked)])
    wait = max(row["wait"] or timedelta() for row in rows)
    if wait:
        raise Exhausted("Too many attempts to sign in.", retry_after=wait)
    failures = {row["key"]: row["failures"] + 1 for row in rows}
    counted = {
        "keys": list(failures),
        "failures": list(failures.values()),
        "waits": [lockout.delay(count, _free(key)) for key, count in failures.items()],
    }
    await fetch_together(session, [(_COUNTED, counted), (_TIDY, asked)])
    return Attempt(failures)


async def succeeded(session: Session, made: Attempt) -> None:
    """The attempt was right: its account is as new, its address gets back what was counted, and no more.

    Else whoever has an account of their own could guess at others for ever.
    """
    for key, failures in sorted(made.failures.items()):
        if key.startswith("account "):
            await forgive(session, key)
            continue
        await fetch(
            session,
            """
            UPDATE sign_in_failures SET failures = greatest(failures - 1, 0),
                locked_until = CASE WHEN failures <> %(failures)s THEN locked_until END
            WHERE key = %(key)s
            """,
            {"key": key, "failures": failures},
        )


async def forgive(session: Session, key: str) -> None:
    """Nothing is held against it any more."""
    await fetch(session, "DELETE FROM sign_in_failures WHERE key = %(key)s", {"key": key})


def _free(key: str) -> int:
    return lockout.OF_ACCOUNT if key.startswith("account ") else lockout.OF_ADDRESS
