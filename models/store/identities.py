"""Whom a provider's subject is here: found, linked or made as they sign in, and their tokens there kept fresh.

An account is found by (issuer, subject), which no two people ever share. An address is another matter: whoever can make
a provider say that an address is theirs would take over the account that has it. So an address links an account once,
and only where the provider has verified it, the account signs in in this way and no other (`login_type` oidc, which an
admin gave it), and it was never linked to somebody else at this issuer. An account with a password is never linked.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from models import oidc
from models.errors import Conflict, Unavailable
from models.rules.sign_in import LONGEST_USERNAME, Access, Identity, Refused
from models.settings import Settings
from models.store import audit, belongings, people, secrets
from models.store.database import Database, Row, fetch
from models.store.secrets import Cipher
from models.store.session import Session

log = logging.getLogger(__name__)

OIDC = "oidc"  # a login type
NEAR = 60  # seconds before its end that a token is refreshed
LEASE = 20  # seconds that one refresh may take, the store's part included
POLL = 0.1  # seconds between two looks at somebody else's refresh
_NAMES_TRIED = 5


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who has signed in."""

    user_id: UUID
    created: bool


async def sign_in(
    session: Session,
    cipher: Cipher,
    settings: Settings,
    who: Identity,
    access: Access,
    tokens: oidc.Tokens,
    request_id: str = "",
) -> Arrival:
    """The account of who signs in, with what their claims give it, and an entry in the audit log; raises Refused."""
    await _one_at_a_time(session, who)
    row = await _linked(session, who) or await _linkable(session, who)
    created = row is None
    user_id = await _sign_up(session, settings, who) if row is None else row["id"]
    await _link(session, cipher, user_id, who, tokens)
    if row is not None:
        await _describe(session, row, who)
    changes = await belongings.settle(session, settings, user_id, access, joins=created)
    await people.changed(session, user_id)
    user = await people.get(session, user_id)
    audit.record(
        session,
        action="login",
        resource_type="user",
        resource_id=user_id,
        target=user["username"],
        user_id=user_id,
        diff=audit.changed(**changes.diff),
        details={"login_type": OIDC, "issuer": who.issuer, "signed_up": created, **changes.notes},
        request_id=request_id,
    )
    return Arrival(user_id, created)


async def refused(
    session: Session, why: str, *, status_code: int, who: Identity | None, user_id: UUID | None, request_id: str
) -> None:
    """Note in the audit log, with this commit, that somebody was not let in."""
    rows = await fetch(
        session,
        "SELECT user_id FROM user_links WHERE issuer = %(issuer)s AND subject = %(subject)s",
        {"issuer": who.issuer if who else "", "subject": who.subject if who else ""},
    )
    whose = user_id or (rows[0]["user_id"] if rows else None)
    audit.record(
        session,
        action="login",
        resource_type="user",
        resource_id=whose or UUID(int=0),
        target=who.email if who else "",
        user_id=whose,
        details={"login_type": OIDC, "refused": why, **({"issuer": who.issuer} if who else {})},
        status_code=status_code,
        request_id=request_id,
    )


async def let_sign_in(session: Session, user_id: UUID) -> None:
    """This account signs in with the provider and in no other way: its first verified sign-in links it."""
    await fetch(
        session,
        "UPDATE users SET login_type = 'oidc', password_hash = '', updated_at = now() WHERE id = %(user)s",
        {"user": user_id},
    )
    await fetch(session, "DELETE FROM api_keys WHERE user_id = %(user)s AND kind = 'session'", {"user": user_id})
    await people.changed(session, user_id)


async def _one_at_a_time(session: Session, who: Identity) -> None:
    """Two sign-ins of one person are one after the other, and so are two who claim one address.

    Their rows are not locked: who is demoted locks those of all owners, and two of them would wait for each other.
    """
    for word in sorted({f"subject {who.issuer} {who.subject}", f"address {who.email.lower()}"}):
        await fetch(session, "SELECT pg_advisory_xact_lock(hashtextextended(%(word)s, 0))", {"word": word})


async def _linked(session: Session, who: Identity) -> Row | None:
    """The user of this subject. Whoever was deleted is gone: their link with them, and they may begin anew."""
    rows = await fetch(
        session,
        """
        SELECT u.id, u.username, u.name, u.email, u.status, u.login_type, u.deleted
        FROM user_links l JOIN users u ON u.id = l.user_id
        WHERE l.issuer = %(issuer)s AND l.subject = %(subject)s
        """,
        {"issuer": who.issuer, "subject": who.subject},
    )
    if rows and rows[0]["deleted"]:
        await fetch(session, "DELETE FROM user_links WHERE user_id = %(user)s", {"user": rows[0]["id"]})
        return None
    return _admitted(rows[0]) if rows else None


async def _linkable(session: Session, who: Identity) -> Row | None:
    """The account with this address, if it may be linked; raises Refused if it may not."""
    rows = await fetch(
        session,
        """
        SELECT u.id, u.username, u.name, u.email, u.status, u.login_type,
            EXISTS (SELECT FROM user_links l WHERE l.user_id = u.id AND l.issuer = %(issuer)s) AS is_another
        FROM users u WHERE lower(u.email) = lower(%(email)s) AND NOT u.deleted
        """,
        {"issuer": who.issuer, "email": who.email},
    )
    if not rows:
        return None
    row = rows[0]
    if not who.verified:
        raise Refused("Verify your email address.", "There is an account with it, and no proof that it is yours.")
    if row["is_another"]:
        detail = "The account with your address belongs to another identity at the provider."
        raise Refused("This account is somebody else's.", detail, row["id"])
    return _admitted(row)


def _admitted(row: Row) -> Row:
    if row["login_type"] != OIDC:
        detail = f'Your account has the login type "{row["login_type"]}"; an administrator can change that.'
        raise Refused("Incorrect login type.", detail, row["id"])
    if row["status"] == "suspended":
        raise Refused("Your account is suspended.", "Please ask an administrator to activate it.", row["id"])
    return row


async def _sign_up(session: Session, settings: Settings, who: Identity) -> UUID:
    if not settings.oidc_allow_signups:
        raise Refused("Signups are disabled.", "There is no account with your address; ask an administrator for one.")
    if not await people.any_user(session):
        # Whoever comes first through the provider must not keep the deployment from having an owner.
        raise Refused("The initial user has not been created!", "It is created with a password, and is the owner.")
    for attempt in range(_NAMES_TRIED):
        more = f"-{secrets.random_word(4).lower()}" if attempt else ""
        username = who.username[: LONGEST_USERNAME - len(more)].rstrip("-") + more
        try:
            user_id = await people.create(session, username=username, email=who.email, name=who.name)
        except Conflict:
            continue  # the address is nobody's, so it is the name
        await let_sign_in(session, user_id)
        return user_id
    raise Conflict("No free username was found.", f'Names like "{who.username}" are taken.')


async def _link(session: Session, cipher: Cipher, user_id: UUID, who: Identity, tokens: oidc.Tokens) -> None:
    """Keep the tokens of this sign-in. A link to an issuer that is no longer the deployment's is replaced."""
    await fetch(
        session,
        "DELETE FROM user_links WHERE user_id = %(user)s AND issuer <> %(issuer)s",
        {"user": user_id, "issuer": who.issuer},
    )
    await fetch(
        session,
        """
        INSERT INTO user_links (issuer, subject, user_id, access_token, refresh_token, expires_at)
        VALUES (%(issuer)s, %(subject)s, %(user)s, %(access)s, %(refresh)s,
                now() + make_interval(secs => %(lifetime)s))
        ON CONFLICT (issuer, subject) DO UPDATE SET access_token = excluded.access_token,
            refresh_token = coalesce(excluded.refresh_token, user_links.refresh_token),
            expires_at = excluded.expires_at, refreshing_until = NULL, updated_at = now()
        """,
        {"issuer": who.issuer, "subject": who.subject, "user": user_id, **_stored(cipher, tokens)},
    )


async def _describe(session: Session, row: Row, who: Identity) -> None:
    """Name and address as the provider has them now; an address that is not verified or is taken is left."""
    name = who.name or row["name"]
    email = who.email if who.verified else row["email"]
    if (name, email) == (row["name"], row["email"]):
        return
    await fetch(
        session,
        """
        UPDATE users SET name = %(name)s, updated_at = now(), email = CASE WHEN EXISTS (
            SELECT FROM users o WHERE lower(o.email) = lower(%(email)s) AND NOT o.deleted AND o.id <> %(user)s)
            THEN email ELSE %(email)s END
        WHERE id = %(user)s
        """,
        {"name": name, "email": email, "user": row["id"]},
    )


def _stored(cipher: Cipher, tokens: oidc.Tokens) -> Mapping[str, Any]:
    return {
        "access": cipher.encrypt(tokens.access),
        "refresh": cipher.encrypt(tokens.refresh) if tokens.refresh else None,
        "lifetime": tokens.lifetime,
    }


async def access_token(database: Database, cipher: Cipher, provider: oidc.Provider, owner: UUID) -> str | None:
    """What acts at the provider in the owner's name now; None for who did not sign in there, or must do so again.

    A token near its end is refreshed, by one caller of all processes at a time: providers take a refresh token that
    comes twice for a stolen one. No connection waits for the provider. Raises Unavailable while it does not answer.
    """
    for _ in range(int(LEASE / POLL) + 1):
        async with database.begin() as session:
            row = await _held(session, owner)
        if row is None:
            return None
        usable = None if row["over"] else cipher.decrypt(row["access_token"])
        if not row["near"] or row["refresh_token"] is None:
            return usable
        if row["lease"] is not None:
            return await _refreshed(database, cipher, provider, row) or usable
        if usable is not None:
            return usable
        await asyncio.sleep(POLL)
    raise Unavailable(detail="The identity provider's token is being refreshed.")


async def _held(session: Session, owner: UUID) -> Row | None:
    """The owner's link; with `lease` it is ours to refresh, which only one may have."""
    rows = await fetch(
        session,
        f"""
        SELECT l.issuer, l.subject, l.access_token, l.refresh_token,
            coalesce(l.expires_at <= now(), false) AS over,
            coalesce(l.expires_at <= now() + make_interval(secs => %(near)s), false) AS near
        FROM user_links l JOIN users u ON u.id = l.user_id
        WHERE l.user_id = %(owner)s AND NOT {people.BARRED} AND u.login_type = 'oidc'
        """,  # noqa: S608 - fixed text
        {"owner": owner, "near": NEAR},
    )
    if not rows:
        return None
    leased: list[Row] = []
    if rows[0]["near"] and rows[0]["refresh_token"] is not None:
        leased = await fetch(
            session,
            """
            UPDATE user_links SET refreshing_until = now() + make_interval(secs => %(lease)s)
            WHERE issuer = %(issuer)s AND subject = %(subject)s AND refresh_token = %(refresh_token)s
                AND (refreshing_until IS NULL OR refreshing_until < now())
            RETURNING refreshing_until AS lease
            """,
            {**rows[0], "lease": LEASE},
        )
    return {**rows[0], "lease": leased[0]["lease"] if leased else None}


async def _refreshed(database: Database, cipher: Cipher, provider: oidc.Provider, row: Row) -> str | None:
    """A fresh access token; None where the provider gives none, after which its refresh token is not tried again."""
    try:
        tokens = await provider.refresh(cipher.decrypt(row["refresh_token"]))
    except oidc.NotAccepted:
        await _put(database, row, "refresh_token = NULL", {})
        return None
    except oidc.Away:
        await _put(database, row, "refresh_token = refresh_token", {})
        if row["over"]:
            raise
        return None
    await _put(
        database,
        row,
        """
        access_token = %(access)s, refresh_token = %(refresh)s, updated_at = now(),
        expires_at = now() + make_interval(secs => %(lifetime)s)
        """,
        _stored(cipher, tokens),
    )
    return tokens.access


async def _put(database: Database, row: Row, changes: LiteralString, values: Mapping[str, Any]) -> None:
    """Change the link and give it back; nothing where a new sign-in or somebody else's lease has come between."""
    async with database.begin() as session:
        await fetch(
            session,
            f"""
            UPDATE user_links SET refreshing_until = NULL, {changes}
            WHERE issuer = %(issuer)s AND subject = %(subject)s AND refreshing_until = %(lease)s
            """,  # noqa: S608 - fixed text
            {**values, "issuer": row["issuer"], "subject": row["subject"], "lease": row["lease"]},
        )
