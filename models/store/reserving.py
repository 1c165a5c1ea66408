"""Money for model calls: reserved before each in every budget it falls under, settled with what it came to.

A budget's row of a period is locked before it is changed, several always in the order of their ids; chats come first,
then reservations, then budgets, so nobody waits in a ring. `settled + reserved` is within the limit at the commit of
every reservation. What is settled is what the call cost where that is known, else an estimate: the prompt, and what the
stream log holds of the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import FenceLost
from models.store.database import Row, fetch, fetch_together
from models.store.session import Session

MOST = 2**63 - 1
BATCH = 1000
EPOCH = date(1970, 1, 1)  # when the one period of a budget without periods began
ASIDE = "aside"  # a call beside the turn: no attempt stands for it

STARTS: LiteralString = """CASE b.period
    WHEN 'day' THEN (now() AT TIME ZONE 'UTC')::date
    WHEN 'week' THEN date_trunc('week', now() AT TIME ZONE 'UTC')::date
    WHEN 'month' THEN date_trunc('month', now() AT TIME ZONE 'UTC')::date
    ELSE '1970-01-01'::date END"""
ROOT: LiteralString = "coalesce(c.root_chat_id, c.parent_chat_id, c.id)"
"""Sub-agents spend what their root may."""
APPLIES: LiteralString = (
    "b.organization_id = c.organization_id "  # noqa: S608 - fixed text
    f"AND b.scope_id = ANY(ARRAY[c.organization_id, c.owner_id, {ROOT}]"
    " || ARRAY(SELECT g.group_id FROM group_members g WHERE g.user_id = c.owner_id))"
)
"""Does the budget `b` count what the chat `c` spends? Ids are unique whatever they name."""
_LEFT: LiteralString = "b.limit_micros - coalesce(s.settled_micros + s.reserved_micros, 0)"
NEAREST: LiteralString = f"""(
    SELECT jsonb_build_object(
        'scope', b.scope, 'limit_micros', b.limit_micros, 'remaining_micros', greatest({_LEFT}, 0))
    FROM budgets b LEFT JOIN budget_periods s ON s.budget_id = b.id AND s.starts_on = {STARTS}
    WHERE {APPLIES} ORDER BY {_LEFT}, b.id LIMIT 1)"""  # noqa: S608 - fixed text
"""The budget of the chat `c` that has the least left."""
BUDGETED: LiteralString = f"EXISTS (SELECT FROM budgets b WHERE {APPLIES}) AS is_budgeted"
RESERVED: LiteralString = "EXISTS (SELECT FROM budget_reservations r WHERE r.chat_id = c.id) AS has_reserved"
"""Asked with the lock of the chat `c`, so that only who has to do with budgets has anything to do for them."""

# Tokens are about four bytes of text; a price is micro-dollars a token.
_STREAMED: LiteralString = """(
    SELECT coalesce(sum(octet_length(coalesce(l.part ->> 'text', l.part ->> 'args_delta',
        l.part ->> 'result_delta', ''))), 0) FROM stream_log l
    WHERE l.chat_id = closed.chat_id AND l.history_version = closed.history_version
      AND l.generation_attempt = closed.generation_attempt)"""
_CLOSE: LiteralString = """closed AS (DELETE FROM budget_reservations r WHERE {which} RETURNING r.*),
priced AS (
    SELECT closed.*, paid IS NULL AS guessed, coalesce(paid, least(closed.amount_micros,
        closed.prompt_micros + ceil({streamed} / 4.0 * closed.output_price))) AS micros
    FROM closed, LATERAL (SELECT CASE WHEN {mine} THEN %(paid)s::bigint END AS paid) AS known),
owed AS (
    SELECT o.budget_id, o.starts_on, sum(p.amount_micros) AS released, sum(p.micros) AS micros,
        sum(CASE WHEN p.guessed THEN p.micros ELSE 0 END) AS guessed,
        sum(greatest(p.micros - p.amount_micros, 0)) AS over
    FROM priced p, LATERAL unnest(p.budget_ids, p.starts_on) AS o(budget_id, starts_on) GROUP BY 1, 2),
held AS (
    SELECT owed.*, s.warned_percent AS told_of, b.limit_micros, b.warn_percents
    FROM owed JOIN budget_periods s USING (budget_id, starts_on) JOIN budgets b ON b.id = s.budget_id
    ORDER BY s.budget_id, s.starts_on FOR NO KEY UPDATE OF s),
settled AS (
    UPDATE budget_periods s SET reserved_micros = greatest(s.reserved_micros - held.released, 0),
        settled_micros = least(s.settled_micros + held.micros, 9223372036854775807),
        estimated_micros = least(s.estimated_micros + held.guessed, 9223372036854775807),
        overrun_micros = least(s.overrun_micros + held.over, 9223372036854775807),
        warned_percent = greatest(s.warned_percent, (
            SELECT max(percent) FROM unnest(held.warn_percents) AS percent
            WHERE (s.settled_micros + held.micros) * 100 >= percent * held.limit_micros::numeric))
    FROM held WHERE s.budget_id = held.budget_id AND s.starts_on = held.starts_on
    RETURNING s.*, held.told_of),
warned AS (
    SELECT b.organization_id, b.scope, b.scope_id, by.chat_id, c.owner_id, jsonb_build_object(
        'id', b.id, 'organization_id', b.organization_id, 'scope', b.scope, 'scope_id', b.scope_id,
        'percent', settled.warned_percent, 'limit_micros', b.limit_micros, 'period', b.period,
        'settled_micros', settled.settled_micros, 'reserved_micros', settled.reserved_micros) AS budget
    FROM settled JOIN budgets b ON b.id = settled.budget_id
    CROSS JOIN LATERAL (SELECT p.chat_id FROM priced p WHERE b.id = ANY(p.budget_ids) LIMIT 1) AS by
    LEFT JOIN chats c ON c.id = by.chat_id
    WHERE settled.warned_percent > settled.told_of),
posted AS (
    INSERT INTO webhook_deliveries (endpoint_id, event, chat_id, data)
    SELECT e.id, 'budget.warning', warned.chat_id, jsonb_build_object('budget', warned.budget)
    FROM warned JOIN webhook_endpoints e ON e.enabled AND (e.organization_id = warned.organization_id
        OR e.user_id = warned.owner_id AND warned.scope IN ('user', 'chat'))
    WHERE e.events = '{{}}' OR 'budget.warning' = ANY(e.events) RETURNING id),
noticed AS (
    SELECT pg_notify('turnstone_budgets',
        jsonb_build_array(warned.owner_id, warned.chat_id, warned.budget)::text)::text AS told
    FROM warned WHERE warned.owner_id IS NOT NULL)"""

SETTLED: LiteralString = _CLOSE.format(
    which="""r.chat_id = %(id)s AND r.kind <> 'aside'
        AND (r.history_version, r.generation_attempt) <> (%(live_history)s, %(live_attempt)s)""",
    mine="(closed.history_version, closed.generation_attempt) = (%(was_history)s, %(was_attempt)s)",
    streamed=_STREAMED,
)
"""Pieces of a move's statement: settle what the chat's attempts reserved, but for the one that lives on."""
_ONE_SETTLED: LiteralString = _CLOSE.format(which="r.id = %(reservation)s", mine="true", streamed=_STREAMED)
"""The same for one reservation."""
COUNTED: LiteralString = """(SELECT count(*) FROM settled) AS settled, (SELECT count(told) FROM noticed) AS noticed,
    (SELECT count(*) FROM posted) AS posted"""
"""Selected by such a statement, so that budgets are always locked before totals that nobody selects.

Where something was `posted`, the courier is to be rung.
"""
_SETTLE_ONE: LiteralString = f"WITH {_ONE_SETTLED} SELECT {COUNTED}"
_RELEASE: LiteralString = f"""
WITH stale AS (
    SELECT r.id FROM budget_reservations r LEFT JOIN chats c ON c.id = r.chat_id
    WHERE r.created_at < now() - %(age)s AND (r.kind = 'aside' OR NOT coalesce(
        c.status IN ('running', 'interrupting') AND c.retry_state IS NULL
        AND (c.history_version, c.generation_attempt) = (r.history_version, r.generation_attempt), false))
    ORDER BY r.id LIMIT %(most)s FOR UPDATE OF r SKIP LOCKED),
{_CLOSE.format(which="r.id IN (SELECT id FROM stale)", mine="false", streamed=_STREAMED)}
SELECT (SELECT count(*) FROM closed) AS closed, {COUNTED}"""  # noqa: S608 - fixed text

_HOLD: LiteralString = """
WITH mine AS MATERIALIZED (
    SELECT budget_ids, starts_on FROM budget_reservations WHERE chat_id = ANY(%(chats)s::uuid[])
    ORDER BY id FOR UPDATE)
SELECT FROM budget_periods s WHERE (s.budget_id, s.starts_on) IN (
    SELECT o.* FROM mine, LATERAL unnest(mine.budget_ids, mine.starts_on) AS o(budget_id, starts_on))
ORDER BY s.budget_id, s.starts_on FOR NO KEY UPDATE OF s"""

# A budget that is being deleted is waited for, and then counts no more.
_ENSURE: LiteralString = f"""
INSERT INTO budget_periods (budget_id, starts_on)
SELECT b.id, {STARTS} FROM chats c JOIN budgets b ON {APPLIES} WHERE c.id = %(id)s AND NOT EXISTS (
    SELECT FROM budget_periods s WHERE s.budget_id = b.id AND s.starts_on = {STARTS})
ORDER BY b.id FOR KEY SHARE OF b
ON CONFLICT DO NOTHING"""  # noqa: S608 - fixed text
# The whole amount where there is room for it, else as much as there is if that will do, else nothing.
_RESERVE: LiteralString = f"""
WITH held AS MATERIALIZED (
    SELECT s.budget_id, s.starts_on, b.scope, b.limit_micros, s.settled_micros, s.reserved_micros
    FROM chats c JOIN budgets b ON {APPLIES} JOIN budget_periods s ON s.budget_id = b.id AND s.starts_on = {STARTS}
    WHERE c.id = %(id)s ORDER BY s.budget_id, s.starts_on FOR NO KEY UPDATE OF s),
fence AS MATERIALIZED (
    SELECT %(kind)s = 'aside' OR EXISTS (
        SELECT FROM chats WHERE id = %(id)s AND status = 'running' AND retry_state IS NULL
          AND (history_version, generation_attempt) = (%(history)s, %(attempt)s)) AS stands),
granted AS MATERIALIZED (
    SELECT CASE WHEN room >= %(amount)s THEN %(amount)s WHEN room >= %(least)s THEN room END AS micros
    FROM (SELECT min(limit_micros - settled_micros - reserved_micros) AS room FROM held) found, fence
    WHERE fence.stands AND room IS NOT NULL),
taken AS (
    UPDATE budget_periods s SET reserved_micros = s.reserved_micros + granted.micros FROM held, granted
    WHERE s.budget_id = held.budget_id AND s.starts_on = held.starts_on AND granted.micros IS NOT NULL),
made AS (
    INSERT INTO budget_reservations (id, chat_id, kind, history_version, generation_attempt, amount_micros,
        prompt_micros, output_price, budget_ids, starts_on)
    SELECT %(reservation)s, %(id)s, %(kind)s, %(history)s, %(attempt)s, granted.micros, %(prompt)s, %(price)s,
        ARRAY(SELECT budget_id FROM held ORDER BY 1), ARRAY(SELECT starts_on FROM held ORDER BY budget_id)
    FROM granted WHERE granted.micros IS NOT NULL)
SELECT fence.stands, granted.micros, nearest.*
FROM fence LEFT JOIN granted ON true LEFT JOIN (
    SELECT scope, limit_micros, settled_micros, reserved_micros FROM held
    ORDER BY limit_micros - settled_micros - reserved_micros, budget_id LIMIT 1) AS nearest ON true"""  # noqa: S608

_EXHAUSTED: LiteralString = f"""
SELECT b.period, s.starts_on, s.settled_micros, b.limit_micros, now() AS now
FROM (SELECT %(organization)s::uuid AS organization_id, %(owner)s::uuid AS owner_id, asked.root AS id,
        NULL::uuid AS root_chat_id, NULL::uuid AS parent_chat_id
    FROM (SELECT (SELECT {ROOT} FROM chats c WHERE c.id = %(chat)s) AS root) AS asked) AS c
JOIN budgets b ON {APPLIES} JOIN budget_periods s ON s.budget_id = b.id AND s.starts_on = {STARTS}
WHERE s.settled_micros >= b.limit_micros
ORDER BY s.starts_on DESC LIMIT 1"""  # noqa: S608 - fixed text
EXHAUSTED = _EXHAUSTED
"""The budget of a chat, or of a new one, that is used up; the parameters are organization, owner and chat."""


@dataclass(frozen=True, slots=True)
class Call:
    """A model call that is to be paid for: at most `amount`, and `least` for one that is worth making.

    `prompt_micros` is what its prompt will likely cost; `output_price` is micro-dollars for a token of the answer.
    """

    chat_id: UUID
    kind: str
    amount: int
    least: int
    prompt_micros: int
    output_price: Decimal
    history_version: int = 0
    generation_attempt: int = 0


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was set aside for a call."""

    id: UUID
    micros: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No room for the call in this budget. `is_spent`: there will be none when the calls under way are settled."""

    scope: str
    limit_micros: int
    settled_micros: int
    reserved_micros: int
    is_spent: bool


async def reserve(session: Session, call: Call) -> Reserved | Refused | None:
    """Set money aside in all the chat's budgets or in none; None when it has none any more. Raises FenceLost.

    Less than the whole amount, but not less than `least`, is set aside where there is no more. The transaction is over
    with it.
    """
    reservation = uuid7()
    params = {
        "id": call.chat_id,
        "kind": call.kind,
        "amount": min(call.amount, MOST),
        "least": min(call.least, call.amount, MOST),
        "prompt": min(call.prompt_micros, MOST),
        "price": call.output_price,
        "history": call.history_version,
        "attempt": call.generation_attempt,
        "reservation": reservation,
    }
    _, [row] = await fetch_together(session, [(_ENSURE, {"id": call.chat_id}), (_RESERVE, params)], last=True)
    if not row["stands"]:
        raise FenceLost
    if row["scope"] is None:
        return None
    if row["micros"] is not None:
        return Reserved(reservation, row["micros"])
    return Refused(
        row["scope"],
        row["limit_micros"],
        row["settled_micros"],
        row["reserved_micros"],
        row["limit_micros"] - row["settled_micros"] < params["least"],
    )


async def hold(session: Session, chat_ids: Sequence[UUID]) -> None:
    """Lock all that settling what these chats have reserved may touch: before it is settled piece by piece."""
    await fetch(session, _HOLD, {"chats": list(chat_ids)})


async def settle(session: Session, reservation: UUID, paid: int | None) -> None:
    """Settle one reservation with what the call cost; None is estimated. One that is settled stays as it is."""
    [row] = await fetch(session, _SETTLE_ONE, {"reservation": reservation, "paid": paid})
    if row["posted"]:
        session.ring()


async def release(session: Session, age: timedelta) -> int:
    """Settle what is older than this and belongs to no attempt that lives; how many, at most BATCH."""
    [row] = await fetch(session, _RELEASE, {"age": age, "most": BATCH, "paid": None})
    if row["posted"]:
        session.ring()
    return int(row["closed"])


def settle_with(
    pieces: list[str], select: list[str], params: dict[str, Any], before: Row, after: Row, paid: int | None
) -> None:
    """Have a move's statement settle what the chat's attempts have reserved, but for the one that lives on.

    `paid` is what the attempt that was current has cost, None if nobody knows.
    """
    if not before["has_reserved"]:
        return
    lives = after["status"] in ("running", "interrupting") and after["retry_state"] is None
    pieces.append(SETTLED)
    select.append(COUNTED)
    params |= {
        "live_history": after["history_version"] if lives else -1,
        "live_attempt": after["generation_attempt"] if lives else -1,
        "was_history": before["history_version"],
        "was_attempt": before["generation_attempt"],
        "paid": None if paid is None else min(paid, MOST),
    }
