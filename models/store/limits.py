"""Spend limits: who has which, what an owner has spent in the period, and when that is too much (admin.md 8.3).

What was spent is not summed over messages, of which there may be millions: the statement that stores a priced message
adds its cost to a running total (`store.spending`).
"""

import logging
from dataclasses import dataclass
from datetime import date
from typing import LiteralString
from uuid import UUID

import psycopg

from models.errors import UsageLimited
from models.principal import Principal
from models.rules import limits, periods
from models.rules.periods import LONGEST, Period, Window
from models.store import budgets, reserving
from models.store.database import Row, fetch, fetch_together
from models.store.people import changed
from models.store.session import Session

log = logging.getLogger(__name__)

# One round trip for all that decides. Membership of Everyone, whose id is its organization's, has no rows of its own.
_STANDING = """
SELECT now() AS now, k.period, k.default_limit_micros, u.chat_spend_limit_micros AS own_limit_micros,
    (SELECT jsonb_object_agg(lowest.organization_id, lowest.micros) FROM (
        SELECT g.organization_id, min(g.chat_spend_limit_micros) AS micros
        FROM organization_members m JOIN groups g ON g.organization_id = m.organization_id
        WHERE m.user_id = u.id AND g.chat_spend_limit_micros IS NOT NULL
          AND (%(organization)s::uuid IS NULL OR g.organization_id = %(organization)s)
          AND (g.id = g.organization_id
               OR EXISTS (SELECT FROM group_members gm WHERE gm.group_id = g.id AND gm.user_id = u.id))
        GROUP BY g.organization_id) AS lowest) AS group_limits,
    (SELECT jsonb_agg(jsonb_build_array(s.day, s.organization_id, s.spent_micros)) FROM chat_spend s
     WHERE s.owner_id = u.id AND s.day > (now() AT TIME ZONE 'UTC')::date - %(days)s) AS spent
FROM chat_usage_limit_config k CROSS JOIN users u
WHERE k.enabled AND u.id = %(owner)s
"""
_SAVE, _RELEASE, _BACK = "SAVEPOINT look", "RELEASE SAVEPOINT look", "ROLLBACK TO SAVEPOINT look"
_MEMBERS = """
    CASE WHEN g.id = g.organization_id
        THEN (SELECT count(*) FROM organization_members m JOIN users u ON u.id = m.user_id
              WHERE m.organization_id = g.organization_id AND NOT u.deleted)
        ELSE (SELECT count(*) FROM group_members m JOIN users u ON u.id = m.user_id
              WHERE m.group_id = g.id AND NOT u.deleted)
    END AS member_count
"""
_USER = "id AS user_id, username, name, avatar_url, chat_spend_limit_micros AS spend_limit_micros"
_GROUP = f"""
    g.id AS group_id, g.name AS group_name, coalesce(nullif(g.display_name, ''), g.name) AS group_display_name,
    g.avatar_url AS group_avatar_url, {_MEMBERS}, g.chat_spend_limit_micros AS spend_limit_micros
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an owner is in the period that runs."""

    period: Period
    window: Window
    limit_micros: int
    spent_micros: int


async def standing(session: Session, owner_id: UUID, organization_id: UUID | None = None) -> Standing | None:
    """What the owner may spend and has spent, as chats of the organization see it; None when there are no limits."""
    rows = await fetch(session, _STANDING, _asked(owner_id, organization_id))
    return _judged(rows[0]) if rows else None


def _asked(owner_id: UUID, organization_id: UUID | None) -> Row:
    return {"owner": owner_id, "organization": organization_id, "days": LONGEST.days}


def _judged(row: Row) -> Standing:
    period: Period = row["period"]
    window = periods.window(period, row["now"])
    groups = {UUID(key): int(micros) for key, micros in (row["group_limits"] or {}).items()}
    limit = limits.effective(row["own_limit_micros"], groups, row["default_limit_micros"])
    counted = (limit.organization_id, None) if limit.organization_id else None
    spent = sum(
        micros
        for day, organization, micros in row["spent"] or ()
        if date.fromisoformat(day) >= window.start.date() and (counted is None or UUID(organization) in counted)
    )
    return Standing(period, window, limit.micros, spent)


async def require(session: Session, owner: Principal, organization_id: UUID, chat_id: UUID | None = None) -> None:
    """Raise UsageLimited when the owner has spent what they may, or a budget is used up. What fails lets them pass.

    Where there are no limits and budgets this asks nothing: principals are forgotten everywhere when that changes.
    Budgets are held before each model call as well, and there nothing passes.
    """
    if owner.spends_freely and not owner.is_budgeted:
        return
    # In one round trip, which fails by itself: the transaction around it goes on.
    looks: list[tuple[LiteralString, Row | None]] = []
    if not owner.spends_freely:
        looks.append((_STANDING, _asked(owner.user_id, organization_id)))
    if owner.is_budgeted:
        asked = {"organization": organization_id, "owner": owner.user_id, "chat": chat_id}
        looks.append((reserving.EXHAUSTED, asked))
    try:
        found = await fetch_together(session, [(_SAVE, None), *looks, (_RELEASE, None)])
    except psycopg.Error:
        log.warning("the spend limit of %s could not be looked up: passed", owner.user_id, exc_info=True)
        await fetch(session, _BACK)
        return
    if not owner.spends_freely:
        for stands in map(_judged, found[1]):
            if stands.spent_micros >= stands.limit_micros:
                raise UsageLimited(stands.spent_micros, stands.limit_micros, stands.window.end)
    if owner.is_budgeted:
        for used_up in found[-2]:
            budgets.refuse(used_up)


async def config(session: Session) -> Row | None:
    """The deployment's configuration: `enabled`, `default_limit_micros`, `period`, `updated_at`; None if never set."""
    rows = await fetch(session, "SELECT * FROM chat_usage_limit_config")
    return rows[0] if rows else None


async def configure(session: Session, limit_micros: int | None, period: Period | None) -> Row:
    """Set the default limit and the period, or with None switch all limits off; without a period it stays."""
    rows = await fetch(
        session,
        """
        INSERT INTO chat_usage_limit_config AS k (enabled, default_limit_micros, period)
        VALUES (%(enabled)s, %(limit)s, coalesce(%(period)s, 'month'))
        ON CONFLICT (singleton) DO UPDATE SET enabled = excluded.enabled,
            default_limit_micros = excluded.default_limit_micros, period = coalesce(%(period)s, k.period),
            updated_at = now()
        RETURNING *
        """,
        {"enabled": limit_micros is not None, "limit": limit_micros or 0, "period": period},
    )
    await changed(session, "*")  # principals know whether there are limits at all
    return rows[0]


async def user_overrides(session: Session) -> list[Row]:
    """Limits of single users, by username."""
    return await fetch(
        session,
        f"""
        SELECT {_USER} FROM users WHERE chat_spend_limit_micros IS NOT NULL AND NOT deleted ORDER BY lower(username), id
        """,  # noqa: S608 - fixed text
    )


async def group_overrides(session: Session) -> list[Row]:
    """Limits of groups, by name."""
    return await fetch(
        session,
        f"SELECT {_GROUP} FROM groups g WHERE g.chat_spend_limit_micros IS NOT NULL "  # noqa: S608 - fixed text
        "ORDER BY lower(g.name), g.id",
    )


async def unpriced_models(session: Session) -> int:
    """How many enabled models name neither an input nor an output price: what they spend is not counted."""
    rows = await fetch(
        session,
        """
        SELECT count(*) AS found FROM chat_model_configs
        WHERE enabled AND NOT deleted
          AND options #>> '{cost,input_price_per_million_tokens}' IS NULL
          AND options #>> '{cost,output_price_per_million_tokens}' IS NULL
        """,
    )
    return int(rows[0]["found"])


async def limit_user(session: Session, user_id: UUID, micros: int) -> Row | None:
    """Give a user a limit of their own; None if there is no such user."""
    rows = await fetch(
        session,
        f"""
        UPDATE users SET chat_spend_limit_micros = %(limit)s, updated_at = now()
        WHERE id = %(id)s AND NOT deleted RETURNING {_USER}
        """,  # noqa: S608 - fixed text
        {"id": user_id, "limit": micros},
    )
    return rows[0] if rows else None


async def limit_group(session: Session, group_id: UUID, micros: int) -> Row | None:
    """Give a group a limit; None if there is no such group."""
    rows = await fetch(
        session,
        f"""
        UPDATE groups g SET chat_spend_limit_micros = %(limit)s, updated_at = now()
        WHERE g.id = %(id)s RETURNING {_GROUP}
        """,  # noqa: S608 - fixed text
        {"id": group_id, "limit": micros},
    )
    return rows[0] if rows else None


async def free_user(session: Session, user_id: UUID) -> bool | None:
    """Take a user's own limit away: False if they had none, None if there is no such user."""
    return await _freed(
        session,
        """
        WITH had AS (
            SELECT id, chat_spend_limit_micros AS micros FROM users WHERE id = %(id)s AND NOT deleted FOR UPDATE),
        freed AS (UPDATE users u SET chat_spend_limit_micros = NULL, updated_at = now()
            FROM had WHERE u.id = had.id AND had.micros IS NOT NULL)
        SELECT micros FROM had
        """,
        user_id,
    )


async def free_group(session: Session, group_id: UUID) -> bool | None:
    """Take a group's limit away: False if it had none, None if there is no such group."""
    return await _freed(
        session,
        """
        WITH had AS (SELECT id, chat_spend_limit_micros AS micros FROM groups WHERE id = %(id)s FOR UPDATE),
        freed AS (UPDATE groups g SET chat_spend_limit_micros = NULL, updated_at = now()
            FROM had WHERE g.id = had.id AND had.micros IS NOT NULL)
        SELECT micros FROM had
        """,
        group_id,
    )


async def _freed(session: Session, statement: str, subject: UUID) -> bool | None:
    rows = await fetch(session, statement, {"id": subject})
    return rows[0]["micros"] is not None if rows else None
