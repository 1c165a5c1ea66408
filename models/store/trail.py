"""The audit log as those see it who audit: newest first, with the names of whom and what it is about."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, LiteralString
from uuid import UUID

from models.parts import from_rest
from models.rules.audit_search import AuditFilter
from models.store.audit import CHAT, OWN_KEY, PROVIDER
from models.store.database import Row, fetch_together
from models.store.session import Session

MOST_COUNTED = 10_000

_WHICH: LiteralString = """
    FROM audit_logs a LEFT JOIN users u ON u.id = a.user_id LEFT JOIN organizations o ON o.id = a.organization_id
    WHERE (%(everywhere)s OR a.organization_id = ANY(%(organizations)s::uuid[]))
        AND (%(resource_type)s::text IS NULL OR a.resource_type = %(resource_type)s)
        AND (%(resource_id)s::uuid IS NULL OR a.resource_id = %(resource_id)s)
        AND (%(resource_target)s::text IS NULL OR a.resource_target = %(resource_target)s)
        AND (%(action)s::text IS NULL OR a.action = lower(%(action)s))
        AND (%(username)s::text IS NULL OR lower(u.username) = lower(%(username)s))
        AND (%(email)s::text IS NULL OR lower(u.email) = lower(%(email)s))
        AND (%(organization)s::text IS NULL OR o.id::text = lower(%(organization)s) OR o.name = %(organization)s)
        AND (%(request_id)s::text IS NULL OR a.request_id = %(request_id)s)
        AND (%(since)s::timestamptz IS NULL OR a.time >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR a.time < %(until)s)
"""
# What became of the resources is looked up for the page alone, not hashed for all that there are.
_PAGE: LiteralString = f"""
    WITH page AS MATERIALIZED (
        SELECT a.id, a.time, a.request_id, a.organization_id, a.user_id, a.action, a.resource_type, a.resource_id,
            a.resource_target, a.status_code, a.diff, a.details, u.username, u.name AS user_name, u.email, u.avatar_url,
            o.name AS organization_name, o.display_name AS organization_display_name, o.icon AS organization_icon
        {_WHICH}
            AND (%(after_id)s::uuid IS NULL
                 OR (a.time, a.id) < (SELECT l.time, l.id FROM audit_logs l WHERE l.id = %(after_id)s))
        ORDER BY a.time DESC, a.id DESC LIMIT %(limit)s OFFSET %(offset)s)
    SELECT page.*, CASE resource_type
        WHEN '{CHAT}' THEN NOT EXISTS (SELECT FROM chats c WHERE c.id = resource_id)
        WHEN '{PROVIDER}' THEN NOT EXISTS (SELECT FROM ai_providers p WHERE p.id = resource_id AND NOT p.deleted)
        WHEN '{OWN_KEY}' THEN NOT EXISTS (
            SELECT FROM user_ai_provider_keys k
            WHERE k.ai_provider_id = resource_id AND k.user_id::text = details ->> 'user_id')
        ELSE false END AS is_deleted
    FROM page ORDER BY time DESC, id DESC
"""  # noqa: S608 - fixed text
_COUNT: LiteralString = f"SELECT count(*) AS found FROM (SELECT {_WHICH} LIMIT {MOST_COUNTED}) AS counted"  # noqa: S608 - fixed text


async def entries(
    session: Session,
    asked: AuditFilter,
    *,
    organizations: Sequence[UUID] | None,
    limit: int,
    offset: int = 0,
    after_id: UUID | None = None,
) -> tuple[list[Row], int]:
    """A page of entries and how many there are, up to MOST_COUNTED; in one round trip.

    `organizations` None is everywhere, entries that belong to none included.
    """
    params: dict[str, Any] = {
        **asdict(asked),
        "everywhere": organizations is None,
        "organizations": list(organizations or ()),
        "limit": limit,
        "offset": offset,
        "after_id": after_id,
    }
    rows, [counted] = await fetch_together(session, [(_PAGE, params), (_COUNT, params)])
    return [{**row, "diff": from_rest(row["diff"]), "details": from_rest(row["details"])} for row in rows], counted[
        "found"
    ]
