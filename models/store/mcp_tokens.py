"""People's tokens for MCP servers with OAuth2: kept encrypted, renewed by one at a time."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from models.rules.oauth import Client, Failed, Grant
from models.store.database import Database, Row, fetch
from models.store.secrets import Cipher
from models.store.session import Session

EARLY = 60  # seconds before its end a token is renewed

_HELD = """
SELECT t.*, c.oauth2_client_id, c.oauth2_client_secret, c.oauth2_token_url, c.oauth2_resource,
    coalesce(t.expiry <= now() + make_interval(secs => %(early)s), false) AS old,
    coalesce(t.expiry <= now(), false) AS over
FROM mcp_server_user_tokens t JOIN mcp_server_configs c ON c.id = t.mcp_server_config_id
WHERE t.mcp_server_config_id = %(server)s AND t.user_id = %(user)s"""

Renew = Callable[[Client, str], Awaitable[Grant]]


def client(config: Row, cipher: Cipher) -> Client:
    """What a server's configuration makes of us at its authorization server."""
    secret = config["oauth2_client_secret"]
    return Client(
        config["oauth2_client_id"],
        config["oauth2_token_url"],
        cipher.decrypt(secret) if secret else "",
        config["oauth2_resource"],
    )


async def keep(session: Session, cipher: Cipher, server_id: UUID, user_id: UUID, grant: Grant) -> None:
    """The person's token from now on; what was not granted anew stays."""
    await fetch(
        session,
        """
        INSERT INTO mcp_server_user_tokens
            (id, mcp_server_config_id, user_id, access_token, refresh_token, token_type, expiry)
        VALUES (%(id)s, %(server)s, %(user)s, %(access)s, %(refresh)s, %(kind)s,
            now() + make_interval(secs => %(seconds)s))
        ON CONFLICT (mcp_server_config_id, user_id) DO UPDATE SET access_token = excluded.access_token,
            refresh_token = coalesce(nullif(excluded.refresh_token, ''), mcp_server_user_tokens.refresh_token),
            token_type = excluded.token_type, expiry = excluded.expiry, updated_at = now()
        """,
        {
            "id": uuid7(),
            "server": server_id,
            "user": user_id,
            "access": cipher.encrypt(grant.access_token),
            "refresh": cipher.encrypt(grant.refresh_token) if grant.refresh_token else "",
            "kind": grant.token_type,
            "seconds": grant.seconds,
        },
    )


async def forget(session: Session, server_id: UUID, user_id: UUID) -> None:
    """The person is not connected any more."""
    await fetch(
        session,
        "DELETE FROM mcp_server_user_tokens WHERE mcp_server_config_id = %(server)s AND user_id = %(user)s",
        {"server": server_id, "user": user_id},
    )


async def forget_all(session: Session, server_id: UUID) -> None:
    """Nobody is connected any more: what the tokens were good for has changed."""
    await fetch(
        session,
        "DELETE FROM mcp_server_user_tokens WHERE mcp_server_config_id = %(server)s",
        {"server": server_id},
    )


async def present(
    database: Database, cipher: Cipher, server_id: UUID, user_id: UUID, renew: Renew, *, spent: str = ""
) -> tuple[str, datetime | None] | None:
    """A token that the server should take, with its end; None where the person must connect (again).

    One that is about to end, or is the `spent` one that was refused, is renewed under its row's lock: whoever comes
    meanwhile waits, and finds the new one. A token that cannot be renewed for now is shown for as long as it holds.
    """
    given = {"server": server_id, "user": user_id, "early": EARLY}
    async with database.read() as session:
        rows = await fetch(session, _HELD, given)
    if not rows:
        return None
    if not _wants_renewal(rows[0], cipher, spent):
        return cipher.decrypt(rows[0]["access_token"]), rows[0]["expiry"]
    async with database.begin() as session:
        rows = await fetch(session, f"{_HELD} FOR UPDATE OF t", given)
        if not rows:
            return None
        row = rows[0]
        if _wants_renewal(row, cipher, spent):
            if not row["refresh_token"]:
                return None if row["over"] or spent else (cipher.decrypt(row["access_token"]), row["expiry"])
            try:
                grant = await renew(client(row, cipher), cipher.decrypt(row["refresh_token"]))
            except Failed as failed:
                if failed.for_good:
                    await forget(session, server_id, user_id)
                    return None
                return None if row["over"] or spent else (cipher.decrypt(row["access_token"]), row["expiry"])
            await keep(session, cipher, server_id, user_id, grant)
            [row] = await fetch(session, _HELD, given)
        return cipher.decrypt(row["access_token"]), row["expiry"]


def _wants_renewal(row: Row, cipher: Cipher, spent: str) -> bool:
    return bool(row["old"]) or (bool(spent) and cipher.decrypt(row["access_token"]) == spent)
