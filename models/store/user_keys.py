"""People's own keys of AI providers: encrypted, never shown again, and used for their chats before the provider's."""

from typing import Any, LiteralString
from uuid import UUID

from models.errors import NotFound
from models.rules.profiles import KEYLESS
from models.store import audit
from models.store.database import Row, fetch
from models.store.notices import CATALOG
from models.store.secrets import Cipher
from models.store.session import Session

# rules.credentials.Policy.source in SQL. Takes `keyless`, `own_keys` and `owner`, of a provider `p`.
HAS_KEY: LiteralString = """
    ((p.central_api_key_enabled
      AND (p.allow_central_api_key_fallback OR NOT (%(own_keys)s AND p.allow_user_api_key))
      AND (p.type = ANY(%(keyless)s) OR EXISTS (SELECT FROM ai_provider_keys k WHERE k.provider_id = p.id)))
     OR (%(own_keys)s AND p.allow_user_api_key AND EXISTS (
         SELECT FROM user_ai_provider_keys u WHERE u.user_id = %(owner)s AND u.ai_provider_id = p.id)))
"""
_PROVIDER: LiteralString = """
    p.id, p.type, p.name, coalesce(nullif(p.display_name, ''), p.name) AS display_name, p.enabled, p.deleted,
    p.allow_user_api_key, u.user_id IS NOT NULL AS has_user_api_key,
    EXISTS (SELECT FROM ai_provider_keys k WHERE k.provider_id = p.id) AS has_provider_api_key
"""


def keys_of(owner_id: UUID, own_keys: bool) -> dict[str, Any]:
    """The parameters of `HAS_KEY`: is there a key that the owner's chats could use? Their own count if `own_keys`."""
    return {"owner": owner_id, "own_keys": own_keys, "keyless": list(KEYLESS)}


async def listed(session: Session, user_id: UUID) -> list[Row]:
    """The providers for which a person may keep a key, or has one, by name."""
    return await fetch(
        session,
        f"""
        SELECT {_PROVIDER} FROM ai_providers p
        LEFT JOIN user_ai_provider_keys u ON u.ai_provider_id = p.id AND u.user_id = %(user)s
        WHERE NOT p.deleted AND (p.enabled OR u.user_id IS NOT NULL) ORDER BY p.name
        """,  # noqa: S608 - fixed text
        {"user": user_id},
    )


async def provider(session: Session, user_id: UUID, provider_id: UUID) -> Row:
    """A provider as `listed` has it, held still until the transaction ends; raises NotFound."""
    rows = await fetch(
        session,
        f"""
        SELECT {_PROVIDER} FROM ai_providers p
        LEFT JOIN user_ai_provider_keys u ON u.ai_provider_id = p.id AND u.user_id = %(user)s
        WHERE p.id = %(provider)s AND NOT p.deleted FOR SHARE OF p
        """,  # noqa: S608 - fixed text
        {"user": user_id, "provider": provider_id},
    )
    if not rows:
        raise NotFound("AI provider not found.")
    return rows[0]


async def providers_with(session: Session, user_id: UUID) -> set[UUID]:
    """The providers that a person has a key for."""
    rows = await fetch(
        session, "SELECT ai_provider_id FROM user_ai_provider_keys WHERE user_id = %(user)s", {"user": user_id}
    )
    return {row["ai_provider_id"] for row in rows}


async def stored(session: Session, user_id: UUID, provider_id: UUID) -> str | None:
    """A person's key, still encrypted."""
    rows = await fetch(
        session,
        "SELECT api_key FROM user_ai_provider_keys WHERE user_id = %(user)s AND ai_provider_id = %(provider)s",
        {"user": user_id, "provider": provider_id},
    )
    return rows[0]["api_key"] if rows else None


async def put(
    session: Session, cipher: Cipher, user_id: UUID, row: Row, secret: str, *, by: UUID, request_id: str = ""
) -> None:
    """Keep a key for the provider of this row, in place of an older one; workers use it from the next step on."""
    [kept] = await fetch(
        session,
        """
        INSERT INTO user_ai_provider_keys (user_id, ai_provider_id, api_key)
        VALUES (%(user)s, %(provider)s, %(key)s)
        ON CONFLICT (user_id, ai_provider_id) DO UPDATE SET api_key = excluded.api_key, updated_at = now()
        RETURNING created_at = updated_at AS is_new
        """,
        {"user": user_id, "provider": row["id"], "key": cipher.encrypt(secret)},
    )
    action = "create" if kept["is_new"] else "write"
    _record(session, action, user_id, row["id"], row["name"], by, request_id)
    session.tell(CATALOG, "")


async def delete(session: Session, user_id: UUID, provider_id: UUID, *, by: UUID, request_id: str = "") -> None:
    """Forget a person's key; nothing happens where there is none."""
    rows = await fetch(
        session,
        """
        DELETE FROM user_ai_provider_keys u USING ai_providers p
        WHERE u.user_id = %(user)s AND u.ai_provider_id = %(provider)s AND p.id = u.ai_provider_id RETURNING p.name
        """,
        {"user": user_id, "provider": provider_id},
    )
    if rows:
        _record(session, "delete", user_id, provider_id, rows[0]["name"], by, request_id, status=204)
        session.tell(CATALOG, "")


def _record(
    session: Session,
    action: str,
    user_id: UUID,
    provider_id: UUID,
    name: str,
    by: UUID,
    request_id: str,
    status: int = 200,
) -> None:
    audit.record(
        session,
        action=action,
        resource_type=audit.OWN_KEY,
        resource_id=provider_id,
        target=name,
        user_id=by,
        diff={"api_key": audit.MASKED},
        details={"user_id": str(user_id)},
        status_code=status,
        request_id=request_id,
    )
