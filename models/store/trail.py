"""The audit log as those see it who audit: newest first, with the names of whom and what it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from models.parts import from_rest
from models.rules.audit_chain import entry
from models.rules.audit_search import AuditFilter
from models.store.audit import CHAT, OWN_KEY, PROVIDER
from models.store.database import Row, fetch, fetch_together
from models.store.session import Session

MOST_COUNTED = 10_000

_FROM: LiteralString = """
    FROM audit_logs a LEFT JOIN users u ON u.id = a.user_id LEFT JOIN organizations o ON o.id = a.organization_id
"""
# Only what is asked for stands in the statement, so that an index can answer it.
_WHEN_ASKED: Mapping[str, LiteralString] = {
    "organizations": "a.organization_id = ANY(%(organizations)s::uuid[])",
    "resource_type": "a.resource_type = %(resource_type)s",
    "resource_id": "a.resource_id = %(resource_id)s",
    "resource_target": "a.resource_target = %(resource_target)s",
    "action": "a.action = lower(%(action)s)",
    "user_ids": "a.user_id = ANY(%(user_ids)s::uuid[])",
    "organization_ids": "a.organization_id = ANY(%(organization_ids)s::uuid[])",
    "request_id": "a.request_id = %(request_id)s",
    "ip": "a.ip = %(ip)s",
    "status_code": "a.status_code = %(status_code)s",
    "since": "a.time >= %(since)s",
    "until": "a.time < %(until)s",
    "after_id": "(a.time, a.id) < (SELECT l.time, l.id FROM audit_logs l WHERE l.id = %(after_id)s)",
    "from_time": "(a.time, a.id) > (%(from_time)s::timestamptz, %(from_id)s::uuid)",
}


_WHO: LiteralString = """
    SELECT id FROM users
    WHERE (%(username)s::text IS NULL OR lower(username) = lower(%(username)s))
        AND (%(email)s::text IS NULL OR lower(email) = lower(%(email)s))
"""
_WHERE: LiteralString = (
    "SELECT id FROM organizations WHERE id::text = lower(%(organization)s) OR name = %(organization)s"
)


async def _asked(session: Session, asked: AuditFilter, organizations: Sequence[UUID] | None) -> dict[str, Any]:
    """The parameters of what is asked. Names are looked up first: of ids the planner knows how rare they are."""
    params = asdict(asked) | {"organizations": None if organizations is None else list(organizations)}
    if asked.username is not None or asked.email is not None:
        params["user_ids"] = [row["id"] for row in await fetch(session, _WHO, params)]
    if asked.organization is not None:
        params["organization_ids"] = [row["id"] for row in await fetch(session, _WHERE, params)]
    return params


def _which(params: Mapping[str, Any]) -> LiteralString:
    asked = [condition for name, condition in _WHEN_ASKED.items() if params.get(name) is not None]
    return " AND ".join(asked or ["true"])


# What became of the resources is looked up for the page alone, not hashed for all that there are.
_IS_DELETED: LiteralString = f"""
    CASE resource_type
        WHEN '{CHAT}' THEN NOT EXISTS (SELECT FROM chats c WHERE c.id = resource_id)
        WHEN '{PROVIDER}' THEN NOT EXISTS (SELECT FROM ai_providers p WHERE p.id = resource_id AND NOT p.deleted)
        WHEN '{OWN_KEY}' THEN NOT EXISTS (
            SELECT FROM user_ai_provider_keys k
            WHERE k.ai_provider_id = resource_id AND k.user_id::text = details ->> 'user_id')
        ELSE false END AS is_deleted
"""  # noqa: S608 - fixed text


def _page(which: LiteralString) -> LiteralString:
    return f"""
        WITH page AS MATERIALIZED (
            SELECT a.id, a.time, a.request_id, a.organization_id, a.user_id, a.action, a.resource_type, a.resource_id,
                a.resource_target, a.status_code, a.diff, a.details, a.ip, a.user_agent, u.username,
                u.name AS user_name, u.email, u.avatar_url, o.name AS organization_name,
                o.display_name AS organization_display_name, o.icon AS organization_icon
            {_FROM} WHERE {which} ORDER BY a.time DESC, a.id DESC LIMIT %(limit)s OFFSET %(offset)s)
        SELECT page.*, {_IS_DELETED} FROM page ORDER BY time DESC, id DESC
    """  # noqa: S608 - fixed text


def _count(which: LiteralString) -> LiteralString:
    return f"SELECT count(*) AS found FROM (SELECT FROM audit_logs a WHERE {which} LIMIT {MOST_COUNTED}) AS counted"  # noqa: S608 - fixed text


async def entries(
    session: Session,
    asked: AuditFilter,
    *,
    organizations: Sequence[UUID] | None,
    limit: int,
    offset: int = 0,
    after_id: UUID | None = None,
) -> tuple[list[Row], int]:
    """A page of entries and how many there are, up to MOST_COUNTED; in one round trip, two by a name.

    `organizations` None is everywhere, entries that belong to none included.
    """
    params = await _asked(session, asked, organizations)
    counted = _count(_which(params))
    params |= {"limit": limit, "offset": offset, "after_id": after_id}
    rows, [found] = await fetch_together(session, [(_page(_which(params)), params), (counted, params)])
    return [{**row, "diff": from_rest(row["diff"]), "details": from_rest(row["details"])} for row in rows], found[
        "found"
    ]


async def exported(
    session: Session,
    asked: AuditFilter,
    *,
    organizations: Sequence[UUID] | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> tuple[list[dict[str, Any]], tuple[datetime, UUID] | None]:
    """The next entries, oldest first, with their places in the chain if they are sealed; and after which to go on."""
    params = await _asked(session, asked, organizations)
    if after is not None:
        params |= {"from_time": after[0], "from_id": after[1]}
    rows = await fetch(
        session,
        f"""
        SELECT a.*, s.position, s.hash FROM audit_logs a LEFT JOIN audit_seals s ON s.entry_id = a.id
        WHERE {_which(params)} ORDER BY a.time, a.id LIMIT %(limit)s
        """,  # noqa: S608 - fixed text
        params | {"limit": limit},
        prepare=False,
    )
    told = [
        {**entry(row), "position": row["position"], "hash": None if row["hash"] is None else bytes(row["hash"]).hex()}
        for row in rows
    ]
    return told, (rows[-1]["time"], rows[-1]["id"]) if len(rows) == limit else None
