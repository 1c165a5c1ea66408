"""Settings kept in the database: the deployment's, which administrators change, and each person's own.

A key nobody has set is simply missing: its default is the reader's business.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from models.store.database import fetch
from models.store.session import Session

SITE: LiteralString = "SELECT key, value FROM site_configs WHERE %(all)s OR key = ANY(%(keys)s)"
"""The deployment's values by key, for those who read something else in the same round trip."""

USER: LiteralString = (
    "SELECT key, value FROM user_configs WHERE user_id = %(user)s AND (%(all)s OR key = ANY(%(keys)s))"
)
"""The same of a person's; `user` is a parameter more."""


async def site(session: Session, *keys: str) -> dict[str, str]:
    """The deployment's values of these keys, those that are set; without keys, all."""
    rows = await fetch(session, SITE, named(keys))
    return {row["key"]: row["value"] for row in rows}


def named(keys: Sequence[str]) -> dict[str, Any]:
    """The parameters of `SITE`, and of `USER` without its own."""
    return {"all": not keys, "keys": list(keys)}


async def hold(session: Session, setting: str) -> None:
    """Changes of a setting go one after the other, until the transaction ends: what is read now stays true."""
    statement = "SELECT pg_advisory_xact_lock(hashtextextended('turnstone setting ' || %(setting)s, 0))"
    await fetch(session, statement, {"setting": setting})


async def put_site(session: Session, values: Mapping[str, str]) -> None:
    """Set values of the deployment, in key order so that two writers never wait for each other."""
    await fetch(
        session,
        """
        INSERT INTO site_configs (key, value)
        SELECT * FROM unnest(%(keys)s::text[], %(values)s::text[])
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()
        """,
        _columns(values),
    )


async def delete_site(session: Session, *keys: str) -> list[str]:
    """Take these back to their defaults; the keys that were set."""
    rows = await fetch(session, "DELETE FROM site_configs WHERE key = ANY(%(keys)s) RETURNING key", {"keys": [*keys]})
    return [row["key"] for row in rows]


async def user(session: Session, user_id: UUID, *keys: str) -> dict[str, str]:
    """A person's values of these keys, those that are set; without keys, all."""
    rows = await fetch(session, USER, {"user": user_id, **named(keys)})
    return {row["key"]: row["value"] for row in rows}


async def put_user(session: Session, user_id: UUID, values: Mapping[str, str]) -> None:
    """Set values of a person's own."""
    await fetch(
        session,
        """
        INSERT INTO user_configs (user_id, key, value)
        SELECT %(user)s, * FROM unnest(%(keys)s::text[], %(values)s::text[])
        ON CONFLICT (user_id, key) DO UPDATE SET value = excluded.value, updated_at = now()
        """,
        {"user": user_id, **_columns(values)},
    )


async def delete_user(session: Session, user_id: UUID, *keys: str) -> list[str]:
    """Take a person's values back to their defaults; the keys that were set."""
    rows = await fetch(
        session,
        "DELETE FROM user_configs WHERE user_id = %(user)s AND key = ANY(%(keys)s) RETURNING key",
        {"user": user_id, "keys": [*keys]},
    )
    return [row["key"] for row in rows]


def _columns(values: Mapping[str, str]) -> dict[str, list[str]]:
    keys = sorted(values)
    return {"keys": keys, "values": [values[key] for key in keys]}
