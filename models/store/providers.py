"""AI providers and their keys: what is stored is encrypted, what is listed is masked."""

import re
from dataclasses import asdict, dataclass
from typing import Any, LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Conflict, NotFound
from models.rules.credentials import FIELDS, Policy
from models.store import audit, catalog, secrets
from models.store.audit import Author
from models.store.database import Row, fetch
from models.store.people import is_unique_violation
from models.store.secrets import Cipher
from models.store.session import Session

ANY_KEY = Policy()
"""The policy of providers that say none: one's own key, else the provider's."""
_PROVIDER: LiteralString = """
    p.id, p.type, p.name, p.display_name, p.enabled, p.base_url, p.settings, p.central_api_key_enabled,
    p.allow_user_api_key, p.allow_central_api_key_fallback, p.created_at, p.updated_at,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'masked', k.masked, 'created_at', k.created_at)
                               ORDER BY k.created_at, k.id), '[]')
     FROM ai_provider_keys k WHERE k.provider_id = p.id) AS api_keys
"""


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key that stays when the keys of a provider are replaced."""

    id: UUID


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to add, in plain text."""

    secret: str


async def listed(session: Session) -> list[Row]:
    """All providers that are not deleted, by name."""
    return await fetch(session, f"SELECT {_PROVIDER} FROM ai_providers p WHERE NOT p.deleted ORDER BY p.name")  # noqa: S608 - fixed text


async def get(session: Session, provider: UUID | str, *, lock: bool = False) -> Row:
    """A provider by id or name; raises NotFound. `lock` holds the catalogue still until the transaction ends."""
    if lock:
        await catalog.hold(session)
    rows = await fetch(
        session,
        f"""
        SELECT {_PROVIDER} FROM ai_providers p
        WHERE NOT p.deleted AND (p.id::text = lower(%(text)s) OR p.name = %(text)s)
        ORDER BY p.id::text = lower(%(text)s) DESC LIMIT 1
        """,  # noqa: S608 - fixed text
        {"text": str(provider)},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def key_in_use(session: Session, provider_id: UUID) -> str | None:
    """The key that turns use, the oldest, still encrypted; None where there is none."""
    rows = await fetch(
        session,
        "SELECT api_key FROM ai_provider_keys WHERE provider_id = %(id)s ORDER BY created_at, id LIMIT 1",
        {"id": provider_id},
    )
    return rows[0]["api_key"] if rows else None


async def create(
    session: Session,
    cipher: Cipher,
    *,
    kind: str,
    name: str,
    display_name: str,
    enabled: bool,
    base_url: str,
    api_keys: list[str],
    settings: dict[str, Any] | None = None,
    policy: Policy = ANY_KEY,
) -> Row:
    """A new provider with its keys; raises Conflict when the name is taken."""
    provider_id = uuid7()
    try:
        async with session.begin_nested():
            await fetch(
                session,
                """
                INSERT INTO ai_providers (id, type, name, display_name, enabled, base_url, settings,
                    central_api_key_enabled, allow_user_api_key, allow_central_api_key_fallback)
                VALUES (%(id)s, %(type)s, %(name)s, %(display_name)s, %(enabled)s, %(base_url)s, %(settings)s,
                    %(central_api_key_enabled)s, %(allow_user_api_key)s, %(allow_central_api_key_fallback)s)
                """,
                {
                    "id": provider_id,
                    "type": kind,
                    "name": name,
                    "display_name": display_name,
                    "enabled": enabled,
                    "base_url": base_url,
                    "settings": cipher.encrypt_document(settings),
                    **asdict(policy),
                },
            )
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict(f'AI provider "{name}" already exists.') from clash
        raise
    for key in api_keys:
        await _add_key(session, cipher, provider_id, key)
    await catalog.changed(session)
    return await get(session, provider_id)


async def update(
    session: Session,
    provider_id: UUID,
    *,
    display_name: str | None = None,
    enabled: bool | None = None,
    base_url: str | None = None,
    settings: str | None = None,
    policy: Policy | None = None,
) -> None:
    """Change what is given; `settings` is already encrypted."""
    await fetch(
        session,
        """
        UPDATE ai_providers SET display_name = coalesce(%(display_name)s, display_name),
            enabled = coalesce(%(enabled)s, enabled), base_url = coalesce(%(base_url)s, base_url),
            settings = coalesce(%(settings)s, settings),
            central_api_key_enabled = coalesce(%(central_api_key_enabled)s, central_api_key_enabled),
            allow_user_api_key = coalesce(%(allow_user_api_key)s, allow_user_api_key),
            allow_central_api_key_fallback =
                coalesce(%(allow_central_api_key_fallback)s, allow_central_api_key_fallback), updated_at = now()
        WHERE id = %(id)s
        """,
        {
            **(asdict(policy) if policy else dict.fromkeys(FIELDS)),
            "id": provider_id,
            "display_name": display_name,
            "enabled": enabled,
            "base_url": base_url,
            "settings": settings,
        },
    )
    await catalog.changed(session)


async def replace_keys(session: Session, cipher: Cipher, provider_id: UUID, keys: list[KeptKey | NewKey]) -> None:
    """Keep the keys named by id, add the new ones, delete all others."""
    kept = [key.id for key in keys if isinstance(key, KeptKey)]
    await fetch(
        session,
        "DELETE FROM ai_provider_keys WHERE provider_id = %(id)s AND id <> ALL(%(kept)s)",
        {"id": provider_id, "kept": kept},
    )
    for key in keys:
        if isinstance(key, NewKey):
            await _add_key(session, cipher, provider_id, key.secret)
    await catalog.changed(session)


def told(session: Session, before: Row | None, after: Row | None, by: Author) -> None:
    """Tell the audit log what became of a provider, if anything; None is where it was not there yet, or no longer."""
    row = after or before
    assert row is not None
    action, status = ("create", 201) if before is None else ("delete", 204) if after is None else ("write", 200)
    was, now = _told(before), _told(after)
    diff = audit.changed(**{name: (was[name], now[name]) for name in _NOTHING if was[name] != now[name]})
    diff |= {name: audit.MASKED for name in _SECRET if (before or {}).get(name) != (after or {}).get(name)}
    if not diff:
        return
    audit.record(
        session,
        action=action,
        resource_type=audit.PROVIDER,
        resource_id=row["id"],
        target=row["name"],
        user_id=by.user_id,
        diff=diff,
        status_code=status,
        request_id=by.request_id,
    )


_NOTHING = {"type": "", "name": "", "display_name": "", "enabled": False, "base_url": "", **asdict(ANY_KEY)}
_SECRET = ("api_keys", "settings")
_CREDENTIALS = re.compile(r"(?<=//)[^/?#]*@|[?#].*$")


def _told(row: Row | None) -> Row:
    if row is None:
        return _NOTHING
    return {**{name: row[name] for name in _NOTHING}, "base_url": _CREDENTIALS.sub("", row["base_url"])}


async def _add_key(session: Session, cipher: Cipher, provider_id: UUID, secret: str) -> None:
    # clock_timestamp: keys of one transaction keep the order they were given in.
    await fetch(
        session,
        """
        INSERT INTO ai_provider_keys (id, provider_id, api_key, masked, created_at)
        VALUES (%(id)s, %(provider)s, %(api_key)s, %(masked)s, clock_timestamp())
        """,
        {
            "id": uuid7(),
            "provider": provider_id,
            "api_key": cipher.encrypt(secret),
            "masked": secrets.mask(secret),
        },
    )


async def delete(session: Session, provider_id: UUID) -> None:
    """Hide the provider and its models, forget its keys. The row stays, so that set-up does not make it again."""
    await catalog.hold(session)
    await fetch(
        session,
        """
        UPDATE ai_providers SET deleted = true, enabled = false, settings = NULL, updated_at = now() WHERE id = %(id)s
        """,
        {"id": provider_id},
    )
    await fetch(session, "DELETE FROM ai_provider_keys WHERE provider_id = %(id)s", {"id": provider_id})
    await fetch(session, "DELETE FROM user_ai_provider_keys WHERE ai_provider_id = %(id)s", {"id": provider_id})
    await fetch(
        session,
        """
        UPDATE chat_model_configs SET deleted = true, deleted_at = now(), is_default = false, updated_at = now()
        WHERE ai_provider_id = %(id)s AND NOT deleted
        """,
        {"id": provider_id},
    )
    await catalog.ensure_default(session)
    await catalog.changed(session)
