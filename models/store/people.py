"""Users, their tokens and who they are when a token comes in."""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
from uuid_utils.compat import uuid7

from models.errors import Conflict, NotFound
from models.principal import Grants, Principal, Scope, SiteRole
from models.store import notices, secrets
from models.store.database import Row, fetch
from models.store.session import Session

DEFAULT_LIFETIME = timedelta(days=30)
FOREVER = timedelta(days=3650)

BARRED: LiteralString = "(u.deleted OR u.status = 'suspended')"
"""May the user `u` do nothing, and is nothing to be done in their name?"""

_USER: LiteralString = """
    u.id, u.username, u.name, u.email, u.avatar_url, u.created_at, u.updated_at, u.last_seen_at, u.status,
    u.login_type, u.is_service_account, u.roles,
    ARRAY(SELECT m.organization_id FROM organization_members m WHERE m.user_id = u.id ORDER BY 1) AS organization_ids
"""

_WHO: LiteralString = """
    u.id, u.username, u.roles,
    (SELECT coalesce(jsonb_object_agg(m.organization_id, to_jsonb(m.roles)), '{}')
     FROM organization_members m WHERE m.user_id = u.id) AS organizations,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(r.organization_id, r.everywhere, r.own)), '[]')
     FROM organization_members m
     JOIN custom_roles r ON r.organization_id = m.organization_id AND r.name = ANY(m.roles)
     WHERE m.user_id = u.id) AS grants,
    ARRAY(SELECT g.group_id FROM group_members g WHERE g.user_id = u.id) AS groups,
    NOT EXISTS (SELECT FROM chat_usage_limit_config WHERE enabled) AS spends_freely,
    EXISTS (SELECT FROM budgets) AS is_budgeted
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A valid token's principal, and how long the token is still good."""

    principal: Principal
    expires_in: timedelta


async def find_by_token(session: Session, digest: bytes) -> Found | None:
    """Who this token stands for; None if it is unknown or expired, or its user suspended or deleted."""
    rows = await fetch(
        session,
        f"""
        SELECT k.id AS token_id, k.scopes, k.expires_at - now() AS expires_in, {_WHO},
               k.last_used IS NULL OR k.last_used < now() - interval '1 minute' OR u.status = 'dormant' AS stale
        FROM api_keys k JOIN users u ON u.id = k.user_id
        WHERE k.hashed_secret = %(digest)s AND k.expires_at > now() AND NOT {BARRED}
        """,  # noqa: S608 - fixed text
        {"digest": digest},
    )
    if not rows:
        return None
    row = rows[0]
    if row["stale"]:
        await _touch(session, row["token_id"], row["id"])
    return Found(_principal(row, frozenset(row["scopes"]), row["token_id"]), row["expires_in"])


async def principal(session: Session, user_id: UUID, *, or_suspended: bool = False) -> Principal | None:
    """The user with all that they may do, for what is done in their name; None if they are suspended or deleted.

    `or_suspended`: what they may do once they are active again.
    """
    status = "true" if or_suspended else "u.status <> 'suspended'"
    rows = await fetch(
        session,
        f"SELECT {_WHO} FROM users u WHERE u.id = %(id)s AND NOT u.deleted AND {status}",  # noqa: S608 - fixed text
        {"id": user_id},
    )
    return _principal(rows[0]) if rows else None


def _principal(row: Row, scopes: frozenset[str] = frozenset(), token_id: str = "") -> Principal:
    organizations = {UUID(key): frozenset(roles) for key, roles in row["organizations"].items()}
    return Principal(
        user_id=row["id"],
        username=row["username"],
        site_roles=frozenset(row["roles"]),
        organizations=organizations,
        grants=_grants(row["grants"]),
        groups=frozenset((*organizations, *row["groups"])),
        scopes=scopes or frozenset({Scope.ALL}),
        token_id=token_id,
        spends_freely=row["spends_freely"],
        is_budgeted=row["is_budgeted"],
    )


def _grants(rows: list[tuple[str, list[str], list[str]]]) -> dict[UUID, Grants]:
    found: dict[UUID, Grants] = {}
    for organization, everywhere, own in rows:
        given = Grants(frozenset(everywhere), frozenset(own))
        found[UUID(organization)] = found.get(UUID(organization), Grants()) | given
    return found


async def _touch(session: Session, token_id: str, user_id: UUID) -> None:
    """Note the use, at most once a minute; a session in use lives on, and who comes is dormant no more."""
    await fetch(
        session,
        """
        WITH used AS (
            UPDATE api_keys SET last_used = now(), expires_at = CASE WHEN kind = 'session'
                THEN greatest(expires_at, now() + make_interval(secs => lifetime_seconds)) ELSE expires_at END
            WHERE id = %(token)s
        )
        UPDATE users SET last_seen_at = now(), status = CASE status WHEN 'dormant' THEN 'active' ELSE status END
        WHERE id = %(user)s
        """,
        {"token": token_id, "user": user_id},
    )


async def changed(session: Session, whom: UUID | str) -> None:
    """Tell every process, when this commits, to forget what it knows of a user or token ("*": of everybody)."""
    await fetch(session, "SELECT pg_notify(%(channel)s, %(whom)s)", {"channel": notices.PEOPLE, "whom": str(whom)})


async def any_user(session: Session) -> bool:
    """Is there a user already?"""
    return bool((await fetch(session, "SELECT EXISTS (SELECT FROM users WHERE NOT deleted) AS found"))[0]["found"])


async def hold_set_up(session: Session) -> None:
    """Only one transaction at a time creates the first user, the first organization and the first models."""
    await fetch(session, "SELECT pg_advisory_xact_lock(hashtext('turnstone set-up'))")


async def create(
    session: Session,
    *,
    username: str,
    email: str,
    name: str = "",
    password_hash: str = "",
    roles: tuple[str, ...] = (),
    status: str = "active",
    service: bool = False,
) -> UUID:
    """A new user, without a password if no hash is given; raises Conflict when name or address is taken.

    A service account (`service`) has tokens only, and no address.
    """
    try:
        async with session.begin_nested():
            rows = await fetch(
                session,
                """
                INSERT INTO users (id, username, email, name, password_hash, login_type, roles, status,
                    is_service_account)
                VALUES (%(id)s, %(username)s, %(email)s, %(name)s, %(password_hash)s, %(login_type)s, %(roles)s,
                    %(status)s, %(service)s)
                RETURNING id
                """,
                {
                    "id": uuid7(),
                    "username": username,
                    "email": email,
                    "name": name,
                    "password_hash": password_hash,
                    "login_type": "password" if password_hash else "none",
                    "roles": list(roles),
                    "status": status,
                    "service": service,
                },
            )
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict("User already exists.", "The username or email address is taken.") from clash
        raise
    found: UUID = rows[0]["id"]
    return found


def is_unique_violation(error: Exception) -> bool:
    """Did a statement fail because such a row exists?"""
    return isinstance(error, psycopg.errors.UniqueViolation)


async def get(session: Session, user: UUID | str) -> Row:
    """A user by id or username, with `organization_ids`; raises NotFound."""
    if isinstance(user, str):
        with contextlib.suppress(ValueError):
            user = UUID(user)
    by_id = isinstance(user, UUID)
    rows = await fetch(
        session,
        f"""
        SELECT {_USER} FROM users u
        WHERE NOT u.deleted AND {"u.id = %(user)s" if by_id else "lower(u.username) = lower(%(user)s)"}
        """,  # noqa: S608 - fixed text
        {"user": user},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def search(session: Session, *, text: str = "", limit: int = 0, offset: int = 0) -> tuple[list[Row], int]:
    """Users whose name, username or address contains `text`, by username, and how many there are in all."""
    rows = await fetch(
        session,
        f"""
        SELECT {_USER}, count(*) OVER () AS total FROM users u
        WHERE NOT u.deleted AND (%(text)s = '' OR position(lower(%(text)s) IN lower(u.username)) > 0
            OR position(lower(%(text)s) IN lower(u.email)) > 0 OR position(lower(%(text)s) IN lower(u.name)) > 0)
        ORDER BY lower(u.username), u.id LIMIT nullif(%(limit)s, 0)::bigint OFFSET %(offset)s
        """,  # noqa: S608 - fixed text
        {"text": text, "limit": limit, "offset": offset},
    )
    if rows:
        return rows, rows[0]["total"]
    counted = await search(session, text=text, limit=1) if offset else ([], 0)
    return [], counted[1]


async def password_of(session: Session, email: str, *, hold: bool = False) -> tuple[UUID, str] | None:
    """The user of an address who may sign in with a password, and its hash; held, both stay so until this commits."""
    rows = await fetch(
        session,
        f"""
        SELECT id, password_hash FROM users
        WHERE lower(email) = lower(%(email)s) AND email <> '' AND NOT deleted AND status <> 'suspended'
            AND login_type = 'password'
        {"FOR SHARE" if hold else ""}
        """,  # noqa: S608 - fixed text
        {"email": email},
    )
    return (rows[0]["id"], rows[0]["password_hash"]) if rows else None


async def password_hash(session: Session, user_id: UUID) -> str:
    """The stored hash of a user's password, "" if they have none."""
    rows = await fetch(session, "SELECT password_hash FROM users WHERE id = %(id)s", {"id": user_id})
    return str(rows[0]["password_hash"]) if rows else ""


async def set_password(session: Session, user_id: UUID, hashed: str, *, keep_token: str = "") -> None:
    """A new password ends the user's login sessions, but for the one that asks."""
    await fetch(
        session,
        "UPDATE users SET password_hash = %(hash)s, login_type = 'password', updated_at = now() WHERE id = %(id)s",
        {"hash": hashed, "id": user_id},
    )
    await end_sessions(session, user_id, keep=keep_token)


async def set_roles(session: Session, user_id: UUID, roles: list[str]) -> None:
    """Replace the site roles; raises Conflict rather than leave no owner."""
    if SiteRole.OWNER not in roles:
        await _keep_an_owner(session, user_id)
    await fetch(
        session,
        "UPDATE users SET roles = %(roles)s, updated_at = now() WHERE id = %(id)s",
        {"roles": sorted(set(roles)), "id": user_id},
    )
    await changed(session, user_id)


async def set_status(session: Session, user_id: UUID, status: str) -> None:
    """`active` or `suspended`, which ends their login sessions; raises Conflict rather than leave no owner."""
    if status == "suspended":
        await _keep_an_owner(session, user_id)
    await fetch(
        session,
        "UPDATE users SET status = %(status)s, updated_at = now() WHERE id = %(id)s",
        {"status": status, "id": user_id},
    )
    if status == "suspended":
        await end_sessions(session, user_id)
    await changed(session, user_id)


async def delete(session: Session, user_id: UUID) -> None:
    """The user is gone for everybody, their rows stay; raises Conflict rather than leave no owner."""
    await _keep_an_owner(session, user_id)
    await fetch(session, "UPDATE users SET deleted = true, updated_at = now() WHERE id = %(id)s", {"id": user_id})
    await fetch(session, "DELETE FROM api_keys WHERE user_id = %(id)s", {"id": user_id})
    await fetch(session, "DELETE FROM user_ai_provider_keys WHERE user_id = %(id)s", {"id": user_id})
    await fetch(session, "DELETE FROM user_links WHERE user_id = %(id)s", {"id": user_id})
    await fetch(session, "DELETE FROM webhook_endpoints WHERE user_id = %(id)s", {"id": user_id})
    await fetch(session, "DELETE FROM webpush_subscriptions WHERE user_id = %(id)s", {"id": user_id})
    await fetch(session, "DELETE FROM organization_members WHERE user_id = %(id)s", {"id": user_id})
    await fetch(session, "DELETE FROM group_members WHERE user_id = %(id)s", {"id": user_id})
    await changed(session, user_id)


async def _keep_an_owner(session: Session, leaving: UUID) -> None:
    owners = await fetch(
        session,
        "SELECT id, status FROM users WHERE 'owner' = ANY(roles) AND NOT deleted ORDER BY id FOR UPDATE",
    )
    if leaving in (row["id"] for row in owners) and not any(
        row["status"] != "suspended" for row in owners if row["id"] != leaving
    ):
        raise Conflict("The last owner cannot be removed, suspended or demoted.")


async def create_token(
    session: Session,
    user_id: UUID,
    *,
    kind: str,
    lifetime: timedelta,
    name: str = "",
    scopes: tuple[str, ...] = (),
    secret: str | None = None,
    ip_address: str = "",
    user_agent: str = "",
) -> tuple[str, str]:
    """A new token: its id, and its secret, which can never be read again. `secret` is an operator's own choice."""
    token_id, token = secrets.random_word(10), secret or secrets.new_token(kind)
    await fetch(
        session,
        """
        INSERT INTO api_keys (id, user_id, hashed_secret, kind, token_name, scopes, lifetime_seconds, ip_address,
            user_agent, expires_at)
        VALUES (%(id)s, %(user)s, %(digest)s, %(kind)s, %(name)s, %(scopes)s, %(seconds)s, %(ip_address)s,
                %(user_agent)s, now() + make_interval(secs => %(seconds)s))
        """,
        {
            "id": token_id,
            "user": user_id,
            "digest": secrets.digest(token),
            "kind": kind,
            "name": name,
            "scopes": list(scopes),
            "seconds": int(lifetime.total_seconds()),
            "ip_address": ip_address,
            "user_agent": user_agent,
        },
    )
    return token_id, token


async def tokens(session: Session, user_id: UUID) -> list[Row]:
    """The user's living API tokens, newest first; login sessions are not among them."""
    return await fetch(
        session,
        """
        SELECT id, user_id, kind, token_name, scopes, lifetime_seconds, created_at, updated_at, expires_at, last_used
        FROM api_keys WHERE user_id = %(user)s AND kind = 'token' AND expires_at > now() ORDER BY created_at DESC, id
        """,
        {"user": user_id},
    )


async def end_sessions(session: Session, user_id: UUID, *, keep: str = "") -> None:
    """Sign the user out everywhere, but for the session `keep`; their API tokens stay."""
    await fetch(
        session,
        "DELETE FROM api_keys WHERE user_id = %(id)s AND kind = 'session' AND id <> %(keep)s",
        {"id": user_id, "keep": keep},
    )
    await changed(session, user_id)


async def has_token(session: Session, token: str) -> datetime | None:
    """When this token expires, None if there is none."""
    rows = await fetch(
        session, "SELECT expires_at FROM api_keys WHERE hashed_secret = %(digest)s", {"digest": secrets.digest(token)}
    )
    return rows[0]["expires_at"] if rows else None


async def delete_token(session: Session, user_id: UUID, token_id: str) -> None:
    """Revoke a token or session of the user; raises NotFound."""
    rows = await fetch(
        session,
        "DELETE FROM api_keys WHERE id = %(id)s AND user_id = %(user)s RETURNING id",
        {"id": token_id, "user": user_id},
    )
    if not rows:
        raise NotFound
    await changed(session, token_id)
