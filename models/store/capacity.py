"""The slots of running turns, where they are limited: counted from where chats stand, so none is ever lost."""

from collections.abc import Collection, Sequence
from typing import Any, LiteralString
from uuid import UUID

from models.rules import capacity
from models.rules.capacity import Limits, Waiter
from models.store.database import Row, fetch, fetch_together
from models.store.session import Session

# Held by whoever begins a turn, after its chat's row: nobody who holds it asks for a row that others may hold.
_HOLD: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended('turnstone capacity ' || %(held)s, 0))"
# A turn of a sub-agent is part of its root's.
_RUNNING: LiteralString = """
SELECT owner_id, count(*) AS running FROM chats
WHERE organization_id = %(organization)s AND status = 'running' AND parent_chat_id IS NULL GROUP BY owner_id"""
# Those that may begin, as far as slots are free; without a free one nobody is looked for. Whoever is left out stands
# behind all who are found, and so does a chat of the same owner that has only come.
_WAITING: LiteralString = """
WITH running AS MATERIALIZED (
    SELECT owner_id, count(*) AS running FROM chats
    WHERE organization_id = %(organization)s AND status = 'running' AND parent_chat_id IS NULL GROUP BY owner_id),
slots AS MATERIALIZED (
    SELECT CASE WHEN %(per_organization)s = 0 THEN NULL
        ELSE greatest(0, %(per_organization)s - coalesce(sum(running), 0))::bigint END AS free FROM running)
SELECT w.*, greatest(s.served_at, w.begun) AS turn
FROM (SELECT id, owner_id, snapshot_version, capacity_queued_at AS since,
          row_number() OVER queue AS place, first_value(capacity_queued_at) OVER queue AS begun
      FROM chats WHERE organization_id = %(organization)s AND capacity_queued_at IS NOT NULL
          AND (%(only)s::uuid IS NULL OR owner_id = %(only)s) AND coalesce((SELECT free FROM slots), 1) > 0
      WINDOW queue AS (PARTITION BY owner_id ORDER BY capacity_queued_at, id)) AS w
LEFT JOIN capacity_shares s ON s.organization_id = %(organization)s AND s.owner_id = w.owner_id
LEFT JOIN running r ON r.owner_id = w.owner_id
WHERE %(per_user)s = 0 OR w.place + coalesce(r.running, 0) <= %(per_user)s
ORDER BY place, turn, since, w.id LIMIT (SELECT free FROM slots)"""
_OTHERS: LiteralString = """
SELECT FROM chats WHERE organization_id = %(organization)s AND capacity_queued_at IS NOT NULL
    AND (%(only)s::uuid IS NULL OR owner_id = %(only)s) AND id <> %(chat)s LIMIT 1"""
_SERVED = """
INSERT INTO capacity_shares (organization_id, owner_id, served_at)
VALUES (%(organization)s, %(owner)s, clock_timestamp())
ON CONFLICT (organization_id, owner_id) DO UPDATE SET served_at = excluded.served_at"""
_SOMEBODY_WAITS = "SELECT DISTINCT organization_id FROM chats WHERE capacity_queued_at IS NOT NULL"
_WAITS_BESIDE = """
SELECT DISTINCT w.organization_id FROM chats c
JOIN chats w ON w.organization_id = c.organization_id AND w.capacity_queued_at IS NOT NULL
WHERE c.id = ANY(%(chats)s::uuid[])"""


async def admits(session: Session, chat: Row, limits: Limits) -> bool:
    """May this pending chat, whose row is locked, begin now? Exact: who else asks waits for our transaction's end."""
    organization, owner = chat["organization_id"], chat["owner_id"]
    # With an organization's limit its turns begin one after another; else an owner's do.
    alone = None if limits.per_organization else owner
    held = f"{organization} {alone or ''}"
    others = {"organization": organization, "only": alone, "chat": chat["id"]}
    asked = [(_HOLD, {"held": held}), *_standing(organization, limits, alone), (_OTHERS, others)]
    _, counted, rows, somebody = await fetch_together(session, asked)
    waiting = [_waiter(row) for row in rows]
    if all(each.chat_id != chat["id"] for each in waiting):
        before = sum(each.owner_id == owner for each in waiting)
        turn = next((each.turn for each in waiting if each.owner_id == owner), chat["locked_at"])
        waiting.append(Waiter(chat["id"], owner, before + 1, chat["locked_at"], turn))
    if chat["id"] not in capacity.first(waiting, _running(counted), limits):
        return False
    # Where nobody else waits nobody is overtaken: whoever comes later waits since later.
    if somebody:
        await fetch(session, _SERVED, {"organization": organization, "owner": owner})
    return True


async def due(session: Session, limits: Limits, *, beside: Collection[UUID] | None = None) -> list[Row]:
    """The waiting chats that may begin now (id, owner_id, snapshot_version), in the organizations of these, or all."""
    asked = {} if beside is None else {"chats": list(beside)}
    found = await fetch(session, _SOMEBODY_WAITS if beside is None else _WAITS_BESIDE, asked)
    if not found:
        return []
    statements = [each for row in found for each in _standing(row["organization_id"], limits)]
    read = await fetch_together(session, statements)
    able: list[Row] = []
    for counted, rows in zip(read[::2], read[1::2], strict=True):
        by_id = {row["id"]: row for row in rows}
        able += [by_id[each] for each in capacity.first(map(_waiter, rows), _running(counted), limits)]
    return able


def _standing(
    organization: UUID, limits: Limits, only: UUID | None = None
) -> list[tuple[LiteralString, dict[str, Any]]]:
    counts = {"per_user": limits.per_user, "per_organization": limits.per_organization}
    params = {"organization": organization}
    return [(_RUNNING, params), (_WAITING, {**params, **counts, "only": only})]


def _running(rows: Sequence[Row]) -> dict[UUID, int]:
    return {row["owner_id"]: row["running"] for row in rows}


def _waiter(row: Row) -> Waiter:
    return Waiter(row["id"], row["owner_id"], row["place"], row["since"], row["turn"])
