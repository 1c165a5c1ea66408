"""Webhook endpoints of people and organizations, and the log of what is delivered to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Conflict, NotFound
from models.parts import to_rest
from models.rules.webhooks import OVERLAP, PATIENCE, TEST
from models.steps import DeliveryRequest
from models.store import audit, people
from models.store.database import Row, fetch
from models.store.session import Session

MOST_ENDPOINTS = 20  # of a person, or of an organization
GRACE = timedelta(minutes=2)  # after which a delivery that is due is taken for lost
_PURGE_BATCH = 5000

_SHOWN: LiteralString = """id, user_id, organization_id, url, description, events, enabled, disabled_reason,
    failing_since, created_at, updated_at"""
_HELD: LiteralString = "(user_id = %(user)s OR organization_id = %(organization)s)"
_LOGGED: LiteralString = """id, endpoint_id, event, chat_id, data, status, attempts, due_at, status_code, error,
    response, created_at, finished_at"""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose endpoints they are: a person's, or an organization's."""

    user_id: UUID | None = None
    organization_id: UUID | None = None

    @property
    def params(self) -> dict[str, Any]:
        return {"user": self.user_id, "organization": self.organization_id}


async def create(
    session: Session, holder: Holder, *, url: str, description: str, events: list[str], secret: str, by: UUID
) -> Row:
    """A new endpoint with this encrypted secret; raises Conflict when there are too many."""
    lock = str(holder.user_id or holder.organization_id)
    await fetch(session, "SELECT pg_advisory_xact_lock(hashtextextended(%(lock)s, 7))", {"lock": f"webhooks {lock}"})
    [had] = await fetch(session, f"SELECT count(*) AS found FROM webhook_endpoints WHERE {_HELD}", holder.params)  # noqa: S608
    if had["found"] >= MOST_ENDPOINTS:
        raise Conflict("Too many webhooks.", f"At most {MOST_ENDPOINTS} are kept.")
    [row] = await fetch(
        session,
        f"""INSERT INTO webhook_endpoints (id, user_id, organization_id, created_by, url, description, events, secret)
            VALUES (%(id)s, %(user)s, %(organization)s, %(by)s, %(url)s, %(description)s, %(events)s::text[],
                %(secret)s)
            RETURNING {_SHOWN}""",  # noqa: S608 - fixed text
        {
            **holder.params,
            "id": uuid7(),
            "by": by,
            "url": url,
            "description": to_rest(description),
            "events": events,
            "secret": secret,
        },
    )
    return row


async def listed(session: Session, holder: Holder) -> list[Row]:
    """The holder's endpoints, oldest first."""
    return await fetch(session, f"SELECT {_SHOWN} FROM webhook_endpoints WHERE {_HELD} ORDER BY id", holder.params)  # noqa: S608


async def get(session: Session, holder: Holder, endpoint_id: UUID) -> Row:
    """The endpoint; raises NotFound when it is not the holder's."""
    return _one(
        await fetch(
            session,
            f"SELECT {_SHOWN} FROM webhook_endpoints WHERE id = %(id)s AND {_HELD}",  # noqa: S608 - fixed text
            {**holder.params, "id": endpoint_id},
        )
    )


async def change(session: Session, holder: Holder, endpoint_id: UUID, fields: Mapping[str, Any]) -> Row:
    """Change url, description, events or enabled; what is enabled begins without its failures. Raises NotFound."""
    sets = [f"{name} = %({name})s" for name in ("url", "description", "events", "enabled") if name in fields]
    if fields.get("enabled"):
        sets += ["failing_since = NULL", "disabled_reason = ''"]
    return _one(
        await fetch(
            session,
            f"""UPDATE webhook_endpoints SET {", ".join([*sets, "updated_at = now()"])}
                WHERE id = %(id)s AND {_HELD} RETURNING {_SHOWN}""",  # noqa: S608 - our own column names
            {**to_rest(dict(fields)), **holder.params, "id": endpoint_id},
        )
    )


async def delete(session: Session, holder: Holder, endpoint_id: UUID) -> None:
    """Forget the endpoint and its log; raises NotFound. What is on its way finds nobody any more."""
    _one(
        await fetch(
            session,
            f"DELETE FROM webhook_endpoints WHERE id = %(id)s AND {_HELD} RETURNING id",  # noqa: S608 - fixed text
            {**holder.params, "id": endpoint_id},
        )
    )
    await fetch(session, "DELETE FROM webhook_deliveries WHERE endpoint_id = %(id)s", {"id": endpoint_id})


async def rotate(session: Session, holder: Holder, endpoint_id: UUID, secret: str) -> Row:
    """Sign with this encrypted secret from now on, and for a while with the one before it too. Raises NotFound."""
    return _one(
        await fetch(
            session,
            f"""UPDATE webhook_endpoints SET previous_secret = secret, previous_until = now() + %(overlap)s::interval,
                    secret = %(secret)s, updated_at = now()
                WHERE id = %(id)s AND {_HELD} RETURNING {_SHOWN}""",  # noqa: S608 - fixed text
            {**holder.params, "id": endpoint_id, "secret": secret, "overlap": OVERLAP},
        )
    )


async def deliveries(session: Session, endpoint_id: UUID, *, before: int | None, limit: int) -> list[Row]:
    """The endpoint's log, newest first."""
    return await fetch(
        session,
        f"""SELECT {_LOGGED} FROM webhook_deliveries
            WHERE endpoint_id = %(id)s AND id < coalesce(%(before)s, 9223372036854775807)
            ORDER BY id DESC LIMIT %(limit)s""",  # noqa: S608 - fixed text
        {"id": endpoint_id, "before": before, "limit": limit},
    )


async def test(session: Session, endpoint_id: UUID) -> Row:
    """An event that says nothing, to be delivered once."""
    [row] = await fetch(
        session,
        f"""INSERT INTO webhook_deliveries (endpoint_id, event, due_at)
            VALUES (%(id)s, %(event)s, now() + %(grace)s::interval) RETURNING {_LOGGED}""",  # noqa: S608 - fixed text
        {"id": endpoint_id, "event": TEST, "grace": GRACE},
    )
    return row


async def replay(session: Session, endpoint_id: UUID, delivery_id: int) -> Row:
    """Deliver it again, with all attempts anew; raises NotFound."""
    return _one(
        await fetch(
            session,
            f"""UPDATE webhook_deliveries
                SET status = 'pending', attempts = 0, finished_at = NULL, due_at = now() + %(grace)s::interval
                WHERE id = %(delivery)s AND endpoint_id = %(id)s RETURNING {_LOGGED}""",  # noqa: S608 - fixed text
            {"id": endpoint_id, "delivery": delivery_id, "grace": GRACE},
        )
    )


async def claim_due(session: Session, limit: int) -> list[DeliveryRequest]:
    """Deliveries whose time has come, oldest first; whoever claims one begins it after the commit.

    One that was claimed and not attempted is due again after a while.
    """
    rows = await fetch(
        session,
        """
        UPDATE webhook_deliveries SET due_at = now() + %(grace)s::interval WHERE id IN (
            SELECT id FROM webhook_deliveries WHERE status = 'pending' AND due_at <= now()
            ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING id, endpoint_id
        """,
        {"grace": GRACE, "limit": limit},
    )
    return [DeliveryRequest(row["endpoint_id"], row["id"]) for row in sorted(rows, key=lambda row: row["id"])]


async def unclaim(session: Session, requests: Sequence[DeliveryRequest]) -> None:
    """What was claimed and not begun is due at once."""
    await fetch(
        session,
        "UPDATE webhook_deliveries SET due_at = now() WHERE id = ANY(%(ids)s::bigint[]) AND status = 'pending'",
        {"ids": [request.delivery_id for request in requests]},
    )


async def to_deliver(session: Session, request: DeliveryRequest) -> Row | None:
    """The delivery with its endpoint's url and secrets, if it is still to be made."""
    rows = await fetch(
        session,
        f"""
        SELECT d.id, d.event, d.data, d.attempts, d.created_at, e.id AS endpoint_id, e.url, e.enabled, e.secret,
            CASE WHEN e.previous_until > now() THEN e.previous_secret END AS previous_secret,
            EXISTS (SELECT FROM users u WHERE u.id = e.user_id AND {people.BARRED}) AS is_barred
        FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
        WHERE d.id = %(delivery)s AND d.endpoint_id = %(endpoint)s AND d.status = 'pending'
        """,  # noqa: S608 - fixed text
        {"delivery": request.delivery_id, "endpoint": request.endpoint_id},
    )
    return rows[0] if rows else None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt came to. `wait` is the time to the next one, None when there is none."""

    delivered: bool
    status_code: int | None = None
    error: str = ""
    response: str = ""
    wait: timedelta | None = None


async def attempted(session: Session, request: DeliveryRequest, made: Attempt) -> None:
    """Write down the attempt, and for how long the endpoint has been failing."""
    status = "delivered" if made.delivered else "pending" if made.wait is not None else "failed"
    params = {
        "delivery": request.delivery_id,
        "endpoint": request.endpoint_id,
        "status": status,
        "over": status != "pending",
        "code": made.status_code,
        "error": to_rest(made.error),
        "response": to_rest(made.response),
        # The run that waits comes first; whoever finds it overdue takes it for lost.
        "wait": (made.wait or timedelta()) + GRACE,
    }
    await fetch(
        session,
        """
        UPDATE webhook_deliveries SET status = %(status)s, attempts = attempts + 1, status_code = %(code)s,
            error = %(error)s, response = %(response)s, due_at = now() + %(wait)s::interval,
            finished_at = CASE WHEN %(over)s THEN now() END
        WHERE id = %(delivery)s AND endpoint_id = %(endpoint)s AND status = 'pending'
        """,
        params,
    )
    since = "NULL" if made.delivered else "coalesce(failing_since, now())"
    await fetch(
        session,
        f"""UPDATE webhook_endpoints SET failing_since = {since}
            WHERE id = %(endpoint)s AND (failing_since IS NOT NULL) = %(delivered)s""",  # noqa: S608 - fixed text
        {**params, "delivered": made.delivered},
    )


async def refuse(session: Session, request: DeliveryRequest, why: str) -> None:
    """Give a delivery up without an attempt."""
    await fetch(
        session,
        """UPDATE webhook_deliveries SET status = 'failed', error = %(why)s, finished_at = now()
           WHERE id = %(delivery)s AND endpoint_id = %(endpoint)s AND status = 'pending'""",
        {"why": why, "delivery": request.delivery_id, "endpoint": request.endpoint_id},
    )


async def disable(session: Session, endpoint_id: UUID, why: str, *, at_once: bool) -> Row | None:
    """Disable an endpoint that takes nothing for too long, or `at_once`; the endpoint, if this did it."""
    rows = await fetch(
        session,
        f"""UPDATE webhook_endpoints SET enabled = false, disabled_reason = %(why)s, updated_at = now()
            WHERE id = %(id)s AND enabled AND (%(at_once)s OR failing_since <= now() - %(patience)s::interval)
            RETURNING {_SHOWN}, created_by""",  # noqa: S608 - fixed text
        {"id": endpoint_id, "why": why, "at_once": at_once, "patience": PATIENCE},
    )
    if not rows:
        return None
    audit.record(
        session,
        action="write",
        resource_type="webhook",
        resource_id=endpoint_id,
        target=str(endpoint_id)[:8],
        organization_id=rows[0]["organization_id"],
        user_id=rows[0]["created_by"],
        diff=audit.changed(enabled=(True, False)),
        details=audit.by_background_job("webhook_delivery"),
    )
    return rows[0]


async def purge(session: Session, age: timedelta) -> int:
    """Forget deliveries that were over long ago, a bounded number at once, and those of endpoints that are gone."""
    rows = await fetch(
        session,
        """
        DELETE FROM webhook_deliveries WHERE id IN (
            SELECT id FROM webhook_deliveries d
            WHERE created_at <= now() - %(age)s::interval
              AND (status <> 'pending' OR NOT EXISTS (SELECT FROM webhook_endpoints e WHERE e.id = d.endpoint_id))
            ORDER BY created_at LIMIT %(batch)s)
        RETURNING id
        """,
        {"age": age, "batch": _PURGE_BATCH},
    )
    return len(rows)


def _one(rows: list[Row]) -> Row:
    if not rows:
        raise NotFound
    return rows[0]
