"""Budgets as administrators set them and as those who spend see them (`store.reserving` is what keeps them)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Invalid, NotFound, UsageLimited
from models.principal import Principal
from models.rules import periods
from models.store.database import Row, fetch
from models.store.people import changed
from models.store.reserving import STARTS
from models.store.session import Session

NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""When a budget without periods begins anew."""
SUBJECTS: dict[str, LiteralString] = {
    "organization": "SELECT FROM organizations WHERE id = %(subject)s AND id = %(organization)s",
    "group": "SELECT FROM groups WHERE id = %(subject)s AND organization_id = %(organization)s",
    "user": "SELECT FROM organization_members WHERE user_id = %(subject)s AND organization_id = %(organization)s",
    "chat": """SELECT FROM chats WHERE id = %(subject)s AND organization_id = %(organization)s
        AND root_chat_id IS NULL AND parent_chat_id IS NULL""",
}
_STANDING: LiteralString = f"""
SELECT b.id, b.organization_id, b.scope, b.scope_id, b.limit_micros, b.period, b.warn_percents, b.created_at,
    b.updated_at, coalesce(s.settled_micros, 0) AS settled_micros, coalesce(s.reserved_micros, 0) AS reserved_micros,
    coalesce(s.estimated_micros, 0) AS estimated_micros, coalesce(s.overrun_micros, 0) AS overrun_micros,
    {STARTS} AS starts_on, CASE b.scope
        WHEN 'organization' THEN (SELECT o.name FROM organizations o WHERE o.id = b.scope_id)
        WHEN 'group' THEN (SELECT g.name FROM groups g WHERE g.id = b.scope_id)
        WHEN 'user' THEN (SELECT u.username FROM users u WHERE u.id = b.scope_id) END AS scope_name
FROM budgets b LEFT JOIN budget_periods s ON s.budget_id = b.id AND s.starts_on = {STARTS}"""  # noqa: S608 - fixed text
_ONE: LiteralString = "b.organization_id = %(organization)s AND b.scope = %(scope)s AND b.scope_id = %(subject)s"
# In the order of those who settle.
_WARN_ANEW: LiteralString = """
UPDATE budget_periods s SET warned_percent = 0 FROM (
    SELECT budget_id, starts_on FROM budget_periods WHERE budget_id = %(id)s ORDER BY starts_on FOR NO KEY UPDATE) held
WHERE s.budget_id = held.budget_id AND s.starts_on = held.starts_on"""
_ORDER: LiteralString = (
    "ORDER BY b.organization_id, array_position(ARRAY['organization', 'group', 'user', 'chat'], b.scope), b.id"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a budget allows, and at which percents of it people are warned."""

    limit_micros: int
    period: str
    warn_percents: Sequence[int]


async def listed(session: Session, organization_id: UUID) -> list[Row]:
    """The organization's budgets with where they stand, the widest first."""
    params = {"organization": organization_id}
    return [
        _stands(row)
        for row in await fetch(session, f"{_STANDING} WHERE b.organization_id = %(organization)s {_ORDER}", params)
    ]


async def everywhere(session: Session, *, limit: int, offset: int) -> list[Row]:
    """The budgets of all organizations, one after another, so many of them."""
    rows = await fetch(
        session, f"{_STANDING} {_ORDER} LIMIT %(limit)s OFFSET %(offset)s", {"limit": limit, "offset": offset}
    )
    return [_stands(row) for row in rows]


async def get(session: Session, organization_id: UUID, scope: str, subject: UUID) -> Row:
    """One budget with where it stands; raises NotFound."""
    params = {"organization": organization_id, "scope": scope, "subject": subject}
    rows = await fetch(session, f"{_STANDING} WHERE {_ONE}", params)
    if not rows:
        raise NotFound
    return _stands(rows[0])


async def terms(session: Session, organization_id: UUID, scope: str, subject: UUID) -> Row | None:
    """What a budget allows, if there is one; so it stays until the transaction ends."""
    rows = await fetch(
        session,
        f"""SELECT b.id, b.limit_micros, b.period, b.warn_percents FROM budgets b WHERE {_ONE} FOR NO KEY UPDATE""",  # noqa: S608
        {"organization": organization_id, "scope": scope, "subject": subject},
    )
    return rows[0] if rows else None


async def of_person(session: Session, person: Principal) -> list[Row]:
    """The budgets that count what this person spends in their organizations, but for those of single chats."""
    params = {
        "organizations": list(person.organizations),
        "ids": [person.user_id, *person.groups, *person.organizations],
    }
    rows = await fetch(
        session,
        f"""{_STANDING} WHERE b.organization_id = ANY(%(organizations)s::uuid[])
            AND b.scope_id = ANY(%(ids)s::uuid[]) {_ORDER}""",
        params,
    )
    return [_stands(row) for row in rows]


async def put(session: Session, organization_id: UUID, scope: str, subject: UUID, terms: Terms, *, by: UUID) -> Row:
    """Set the budget of an organization, group, member or root chat; raises NotFound, or Invalid above the outermost.

    Other terms are warned of anew. What was spent in the period still counts, unless the period is another one.
    """
    params: dict[str, Any] = {
        "id": uuid7(),
        "organization": organization_id,
        "scope": scope,
        "subject": subject,
        "limit": terms.limit_micros,
        "period": terms.period,
        "percents": sorted(set(terms.warn_percents)),
        "by": by,
    }
    if not await fetch(session, SUBJECTS[scope], params):
        raise NotFound
    above = await fetch(
        session,
        """SELECT limit_micros FROM budgets WHERE organization_id = %(organization)s AND scope = 'organization'
            AND scope <> %(scope)s AND period = %(period)s AND limit_micros < %(limit)s""",
        params,
    )
    if above:
        raise Invalid("Invalid budget.", f"The organization's own budget is {above[0]['limit_micros']} micro-dollars.")
    [row] = await fetch(
        session,
        """
        INSERT INTO budgets AS b (id, organization_id, scope, scope_id, limit_micros, period, warn_percents, created_by)
        VALUES (%(id)s, %(organization)s, %(scope)s, %(subject)s, %(limit)s, %(period)s, %(percents)s::int[], %(by)s)
        ON CONFLICT (organization_id, scope, scope_id) DO UPDATE SET limit_micros = excluded.limit_micros,
            period = excluded.period, warn_percents = excluded.warn_percents, updated_at = now()
        RETURNING b.id
        """,
        params,
    )
    await fetch(session, _WARN_ANEW, {"id": row["id"]})
    await changed(session, "*")  # principals know whether there are budgets
    [found] = await fetch(session, f"{_STANDING} WHERE b.id = %(id)s", {"id": row["id"]})
    return _stands(found)


async def delete(session: Session, organization_id: UUID, scope: str, subject: UUID) -> None:
    """Take a budget away, with what it has counted; raises NotFound. What is reserved holds nobody up any more."""
    rows = await fetch(
        session,
        """DELETE FROM budgets WHERE organization_id = %(organization)s AND scope = %(scope)s
            AND scope_id = %(subject)s RETURNING id""",
        {"organization": organization_id, "scope": scope, "subject": subject},
    )
    if not rows:
        raise NotFound
    await changed(session, "*")


def refuse(used_up: Row) -> None:
    """Raise UsageLimited for a budget that `reserving.EXHAUSTED` has found."""
    raise UsageLimited(used_up["settled_micros"], used_up["limit_micros"], _end(used_up["period"], used_up["now"]))


def _end(period: str, now: datetime) -> datetime:
    named = periods.named(period)
    return NEVER if named is None else periods.window(named, now).end


def _stands(row: Row) -> Row:
    """With the period as two moments, and what is left; a budget without periods has neither beginning nor end."""
    start = datetime.combine(row["starts_on"], time(), UTC)
    named = periods.named(row["period"])
    window = periods.window(named, start) if named else None
    left = row["limit_micros"] - row["settled_micros"] - row["reserved_micros"]
    return {
        **{key: value for key, value in row.items() if key != "starts_on"},
        "remaining_micros": max(left, 0),
        "period_start": window.start if window else None,
        "period_end": window.end if window else None,
    }
