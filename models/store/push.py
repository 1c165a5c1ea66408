"""Web push: the key pair of the deployment, people's browsers, and what is on its way to them."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from uuid_utils.compat import uuid7

from models.errors import NotFound, Precondition
from models.rules import push as rules
from models.rules.moves import Move
from models.rules.push import TEST, encoded
from models.steps import DeliveryRequest
from models.store import people
from models.store.database import Database, Row, fetch
from models.store.secrets import Cipher
from models.store.session import Session

PUSH: Final = "push"  # the kind of such deliveries
MOST_SUBSCRIPTIONS = 20  # of a person
GRACE = timedelta(minutes=2)  # after which one that is due is taken for lost
_SCALAR_BYTES = 32


class ServerKey:
    """The public key that browsers subscribe to; the pair is made when somebody first asks, and stays."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher
        self._known = ""

    async def public(self) -> str:
        """The point in base64url; raises Precondition where secrets cannot be stored."""
        if not self._known:
            async with self._database.begin() as session:
                self._known = await _kept(session) or await _made(session, self._cipher)
        return self._known

    async def told(self) -> str | None:
        """The same, for who can do without it: None where there is none, or the database is away."""
        try:
            return await self.public()
        except (Precondition, psycopg.OperationalError):
            return None


async def _kept(session: Session) -> str:
    rows = await fetch(session, "SELECT public_key FROM webpush_keys")
    return str(rows[0]["public_key"]) if rows else ""


async def _made(session: Session, cipher: Cipher) -> str:
    """A pair of our own, unless somebody else was first."""
    pair = ec.generate_private_key(ec.SECP256R1())
    point = pair.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    scalar = pair.private_numbers().private_value.to_bytes(_SCALAR_BYTES, "big")
    await fetch(
        session,
        "INSERT INTO webpush_keys (public_key, private_key) VALUES (%(public)s, %(private)s) ON CONFLICT DO NOTHING",
        {"public": encoded(point), "private": cipher.encrypt(encoded(scalar))},
    )
    return await _kept(session)


async def subscribe(
    session: Session, cipher: Cipher, user_id: UUID, *, endpoint: str, p256dh_key: str, auth_key: str
) -> Row:
    """Have this browser told of what is the user's, and of nobody else's; of too many the oldest goes."""
    [row] = await fetch(
        session,
        """
        INSERT INTO webpush_subscriptions (id, user_id, endpoint_digest, endpoint, p256dh_key, auth_key)
        VALUES (%(id)s, %(user)s, %(digest)s, %(endpoint)s, %(p256dh)s, %(auth)s)
        ON CONFLICT (endpoint_digest) DO UPDATE SET user_id = excluded.user_id, endpoint = excluded.endpoint,
            p256dh_key = excluded.p256dh_key, auth_key = excluded.auth_key, created_at = now(),
            id = CASE WHEN webpush_subscriptions.user_id = excluded.user_id THEN webpush_subscriptions.id
                ELSE excluded.id END
        RETURNING id
        """,
        {
            "id": uuid7(),
            "user": user_id,
            "digest": _digest(endpoint),
            "endpoint": cipher.encrypt(endpoint),
            "p256dh": p256dh_key,
            "auth": cipher.encrypt(auth_key),
        },
    )
    await fetch(
        session,
        """
        DELETE FROM webpush_subscriptions WHERE id IN (
            SELECT id FROM webpush_subscriptions WHERE user_id = %(user)s
            ORDER BY created_at DESC, id DESC OFFSET %(most)s)
        """,
        {"user": user_id, "most": MOST_SUBSCRIPTIONS},
    )
    return row


async def unsubscribe(session: Session, user_id: UUID, endpoint: str) -> Row:
    """Forget the user's browser; raises NotFound."""
    rows = await fetch(
        session,
        "DELETE FROM webpush_subscriptions WHERE user_id = %(user)s AND endpoint_digest = %(digest)s RETURNING id",
        {"user": user_id, "digest": _digest(endpoint)},
    )
    if not rows:
        raise NotFound("Webpush subscription not found.")
    return rows[0]


async def test(session: Session, user_id: UUID) -> int:
    """Tell each of the user's browsers that it can be told; how many there are."""
    rows = await fetch(
        session,
        """
        INSERT INTO webpush_deliveries (subscription_id, kind)
        SELECT id, %(kind)s FROM webpush_subscriptions WHERE user_id = %(user)s RETURNING id
        """,
        {"user": user_id, "kind": TEST},
    )
    if rows:
        session.ring()
    return len(rows)


async def claim_due(session: Session, limit: int) -> list[DeliveryRequest]:
    """What is to be told now, oldest first; whoever claims it begins it after the commit."""
    rows = await fetch(
        session,
        """
        UPDATE webpush_deliveries SET due_at = now() + %(grace)s::interval WHERE id IN (
            SELECT id FROM webpush_deliveries WHERE due_at <= now()
            ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING id, subscription_id
        """,
        {"grace": GRACE, "limit": limit},
    )
    return [DeliveryRequest(row["subscription_id"], row["id"], PUSH) for row in sorted(rows, key=lambda row: row["id"])]


async def unclaim(session: Session, requests: Sequence[DeliveryRequest]) -> None:
    """What was claimed and not begun is due at once."""
    await fetch(
        session,
        "UPDATE webpush_deliveries SET due_at = now() WHERE id = ANY(%(ids)s::bigint[])",
        {"ids": [request.delivery_id for request in requests]},
    )


async def to_deliver(session: Session, request: DeliveryRequest) -> Row | None:
    """What is to be told, as it is now, to whom and signed with what; None if there is nobody to tell any more."""
    rows = await fetch(
        session,
        f"""
        SELECT d.kind, d.subject_id, d.attempts, now() - d.created_at AS age, s.endpoint, s.p256dh_key, s.auth_key,
            k.public_key, k.private_key, c.title, c.status, c.archived, c.last_error, c.last_turn_summary,
            c.last_model_config_id, c.history_version = d.history_version AS is_current,
            n.title AS notice_title, n.content AS notice_content
        FROM webpush_deliveries d
        JOIN webpush_subscriptions s ON s.id = d.subscription_id
        JOIN users u ON u.id = s.user_id AND NOT {people.BARRED}
        CROSS JOIN webpush_keys k
        LEFT JOIN chats c ON c.id = d.subject_id AND c.owner_id = s.user_id
        LEFT JOIN inbox_notifications n ON n.id = d.subject_id AND n.user_id = s.user_id
        WHERE d.id = %(delivery)s AND d.subscription_id = %(subscription)s
        """,  # noqa: S608 - fixed text
        _which(request),
    )
    return rows[0] if rows else None


async def again(session: Session, request: DeliveryRequest, wait: timedelta, *, attempted: bool) -> None:
    """It is told later: its run waits, and whoever finds it overdue takes that for lost."""
    await fetch(
        session,
        """
        UPDATE webpush_deliveries SET attempts = attempts + %(attempted)s::int, due_at = now() + %(wait)s::interval
        WHERE id = %(delivery)s AND subscription_id = %(subscription)s
        """,
        {**_which(request), "attempted": int(attempted), "wait": wait + GRACE},
    )


async def done(session: Session, request: DeliveryRequest, *, gone: bool = False) -> None:
    """It was told, or never will be. With `gone` its browser is there no more."""
    await fetch(
        session,
        "DELETE FROM webpush_deliveries WHERE id = %(delivery)s AND subscription_id = %(subscription)s",
        _which(request),
    )
    if gone:
        await fetch(session, "DELETE FROM webpush_subscriptions WHERE id = %(subscription)s", _which(request))


SUBSCRIBED: LiteralString = """EXISTS (
    SELECT FROM webpush_subscriptions s WHERE s.user_id = c.owner_id) AS is_subscribed"""
"""Asked with the lock of the chat `c`: where nobody is told, a move writes nothing for it."""
_ENDED: LiteralString = """pushed AS (
    INSERT INTO webpush_deliveries (subscription_id, kind, subject_id, history_version)
    SELECT s.id, %(pushed)s, c.id, c.history_version
    FROM changed c JOIN webpush_subscriptions s ON s.user_id = c.owner_id RETURNING 1)"""
NOTICED: LiteralString = """pushed AS (
    INSERT INTO webpush_deliveries (subscription_id, kind, subject_id)
    SELECT s.id, 'notice', n.id
    FROM posted n JOIN webpush_subscriptions s ON s.user_id = n.user_id RETURNING 1)"""
"""A piece of a statement that has new notices as `posted`."""
PUSHED: LiteralString = "EXISTS (SELECT FROM pushed) AS pushed"
"""Selected by such a statement: is there something to tell now?"""


def kind(chat: Row, move: Move, status: str) -> str | None:
    """What the owner's browsers are told when this move leaves the locked chat in this status; None: nothing."""
    return rules.kind(move, chat, status) if chat["is_subscribed"] else None


def tell_with(pieces: list[str], select: list[str], params: dict[str, Any], kind: str | None) -> None:
    """Have a move's statement, which has the changed chat as `changed`, tell the owner's browsers of it."""
    if kind is not None:
        pieces.append(_ENDED)
        select.append(PUSHED)
        params["pushed"] = kind


def _which(request: DeliveryRequest) -> dict[str, Any]:
    return {"delivery": request.delivery_id, "subscription": request.endpoint_id}


def _digest(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode()).hexdigest()
