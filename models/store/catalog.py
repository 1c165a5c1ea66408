"""Model configurations: which there are, which is the default, and which one a step runs with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from models.errors import Conflict, NotFound
from models.rules import model_choice
from models.rules.credentials import FIELDS, Policy
from models.store import notices, preferences
from models.store.database import Row, fetch, fetch_together
from models.store.people import is_unique_violation
from models.store.secrets import Cipher
from models.store.session import Session
from models.store.user_keys import HAS_KEY, keys_of

_MODEL: LiteralString = """
    c.id, c.ai_provider_id, p.type AS provider, c.model, c.display_name, c.enabled, c.is_default, c.context_limit,
    c.compression_threshold, c.options, c.created_at, c.updated_at
"""
_ORDER: LiteralString = "p.type, c.model, c.updated_at DESC, c.id DESC"
# Settings as clients write them, and as a model call takes them.
_SETTINGS = {
    "region": "aws_region_name",
    "access_key": "aws_access_key_id",
    "access_key_secret": "aws_secret_access_key",
    "session_token": "aws_session_token",
    "api_version": "api_version",
}
SECRET_SETTINGS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
"""Those that are credentials, under litellm's names."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """All that a model step needs to know of its model. Secrets are still encrypted: open them where they are used."""

    model_config_id: UUID
    ai_provider_id: UUID
    provider: str
    provider_name: str
    base_url: str
    model: str
    options: dict[str, Any]
    context_limit: int
    compression_threshold: int
    has_user_keys: bool
    policy: Policy
    api_keys: tuple[str, ...] = field(repr=False)
    settings: str | None = field(repr=False)

    def api_key(self, cipher: Cipher) -> str:
        """The oldest key in plain text, "" if there is none; raises SecretUnreadable."""
        return cipher.decrypt(self.api_keys[0]) if self.api_keys else ""

    def provider_settings(self, cipher: Cipher) -> dict[str, Any]:
        """The provider's settings in plain text, under litellm's names; raises SecretUnreadable."""
        opened = cipher.decrypt_document(self.settings)
        return {_SETTINGS[key]: value for key, value in opened.items() if key in _SETTINGS}


async def changed(session: Session) -> None:
    """Tell every process, when this commits, that providers, keys or models changed."""
    await fetch(session, "SELECT pg_notify(%(channel)s, '')", {"channel": notices.CATALOG})


async def hold(session: Session) -> None:
    """Changes of the catalogue go one after the other: there is one default, and it follows from all the rest."""
    await fetch(session, "SELECT pg_advisory_xact_lock(hashtext('turnstone catalogue'))")


async def resolve(
    session: Session, model_config_id: UUID | None, fallbacks: Sequence[UUID | None] = ()
) -> ResolvedModel | None:
    """The first usable of: the requested model, the fallbacks in order, the default. None if there is none.

    Usable is what is enabled, not deleted, and of an enabled provider; whether a key is there is the caller's question.
    """
    wanted = [each for each in (model_config_id, *fallbacks) if each is not None]
    rows = await fetch(
        session,
        """
        SELECT c.id AS model_config_id, c.ai_provider_id, p.type AS provider,
               coalesce(nullif(p.display_name, ''), p.name) AS provider_name, p.base_url, c.model, c.options,
               c.context_limit, c.compression_threshold, p.settings, p.central_api_key_enabled,
               p.allow_user_api_key, p.allow_central_api_key_fallback,
               EXISTS (SELECT FROM user_ai_provider_keys u WHERE u.ai_provider_id = p.id) AS has_user_keys,
               ARRAY(SELECT k.api_key FROM ai_provider_keys k WHERE k.provider_id = p.id ORDER BY k.created_at, k.id)
                   AS api_keys
        FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
        WHERE c.enabled AND NOT c.deleted AND p.enabled AND NOT p.deleted
          AND (c.id = ANY(%(wanted)s::uuid[]) OR c.is_default)
        ORDER BY array_position(%(wanted)s::uuid[], c.id) NULLS LAST LIMIT 1
        """,
        {"wanted": wanted},
    )
    if not rows:
        return None
    policy = Policy(**{name: rows[0].pop(name) for name in FIELDS})
    return ResolvedModel(**{**rows[0], "api_keys": tuple(rows[0]["api_keys"])}, policy=policy)


# What is stored of a person's choice is the id, or a word that is no id.
_FOR_NEW_CHAT: LiteralString = f"""
SELECT c.id FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
LEFT JOIN user_configs own ON own.user_id = %(owner)s AND own.key = %(choice)s AND own.value = c.id::text
    AND EXISTS (SELECT FROM site_configs WHERE key = %(gate)s AND value = 'true')
WHERE c.enabled AND NOT c.deleted AND p.enabled AND NOT p.deleted
  AND (c.is_default OR (own.user_id IS NOT NULL AND {HAS_KEY}))
ORDER BY own.user_id IS NOT NULL DESC LIMIT 1"""  # noqa: S608 - fixed text


async def for_new_chat(
    session: Session, owner_id: UUID, *keys: str, own_keys: bool = True
) -> tuple[UUID | None, dict[str, str]]:
    """The owner's own choice of a model or the default, if they are usable; and the deployment's values of `keys`."""
    choice = {"choice": model_choice.personal_key(model_choice.ROOT), "gate": model_choice.GATE}
    models, values = await fetch_together(
        session,
        [
            (_FOR_NEW_CHAT, {**choice, **keys_of(owner_id, own_keys)}),
            (preferences.SITE, preferences.named(keys)),
        ],
    )
    return models[0]["id"] if models else None, {row["key"]: row["value"] for row in values}


async def provider_types(session: Session) -> list[str]:
    """The types of the providers that have a usable model."""
    rows = await fetch(
        session,
        """
        SELECT DISTINCT p.type FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
        WHERE c.enabled AND NOT c.deleted AND p.enabled AND NOT p.deleted ORDER BY p.type
        """,
    )
    return [row["type"] for row in rows]


async def existing(session: Session, ids: Collection[UUID]) -> dict[UUID, str]:
    """Those of these models that there are, enabled or not, with their names."""
    rows = await fetch(
        session,
        "SELECT id, model FROM chat_model_configs WHERE id = ANY(%(ids)s::uuid[]) AND NOT deleted",
        {"ids": list(ids)},
    )
    return {row["id"]: row["model"] for row in rows}


async def exists(session: Session, model_config_id: UUID) -> bool:
    """Is there such a model, enabled or not?"""
    rows = await fetch(
        session,
        "SELECT EXISTS (SELECT FROM chat_model_configs WHERE id = %(id)s AND NOT deleted) AS found",
        {"id": model_config_id},
    )
    return bool(rows[0]["found"])


async def models(session: Session, *, usable_only: bool) -> list[Row]:
    """The model configurations; with `usable_only`, enabled ones of enabled providers."""
    return await fetch(
        session,
        f"""
        SELECT {_MODEL} FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
        WHERE NOT c.deleted AND (NOT %(usable)s OR (c.enabled AND p.enabled)) ORDER BY {_ORDER}
        """,  # noqa: S608 - fixed text
        {"usable": usable_only},
    )


async def get(session: Session, model_config_id: UUID) -> Row:
    """A model configuration; raises NotFound."""
    rows = await fetch(
        session,
        f"""
        SELECT {_MODEL} FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
        WHERE c.id = %(id)s AND NOT c.deleted
        """,  # noqa: S608 - fixed text
        {"id": model_config_id},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def create(
    session: Session,
    *,
    ai_provider_id: UUID,
    model: str,
    display_name: str,
    enabled: bool,
    is_default: bool,
    context_limit: int,
    compression_threshold: int,
    options: dict[str, Any],
    created_by: UUID | None,
) -> Row:
    """A new model configuration; the first one becomes the default by itself. Raises Conflict."""
    await hold(session)
    if is_default:
        await _unset_default(session)
    new_id = uuid7()
    try:
        async with session.begin_nested():
            await fetch(
                session,
                """
                INSERT INTO chat_model_configs (id, ai_provider_id, model, display_name, enabled, is_default,
                    context_limit, compression_threshold, options, created_by, updated_by)
                VALUES (%(id)s, %(provider)s, %(model)s, %(display_name)s, %(enabled)s, %(is_default)s,
                    %(context_limit)s, %(threshold)s, %(options)s::jsonb, %(created_by)s, %(created_by)s)
                """,
                {
                    "id": new_id,
                    "provider": ai_provider_id,
                    "model": model,
                    "display_name": display_name,
                    "enabled": enabled,
                    "is_default": is_default,
                    "context_limit": context_limit,
                    "threshold": compression_threshold,
                    "options": orjson.dumps(options).decode(),
                    "created_by": created_by,
                },
            )
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict("Chat model config already exists.") from clash
        raise
    await ensure_default(session)
    await changed(session)
    return await get(session, new_id)


async def update(
    session: Session,
    model_config_id: UUID,
    *,
    ai_provider_id: UUID | None = None,
    model: str | None = None,
    display_name: str | None = None,
    enabled: bool | None = None,
    is_default: bool | None = None,
    context_limit: int | None = None,
    compression_threshold: int | None = None,
    options: dict[str, Any] | None = None,
    updated_by: UUID | None = None,
) -> Row:
    """Change what is given; the default moves to this model, or on to another one. Call `hold` before reading."""
    if is_default:
        await _unset_default(session)
    await fetch(
        session,
        """
        UPDATE chat_model_configs SET ai_provider_id = coalesce(%(provider)s, ai_provider_id),
            model = coalesce(%(model)s, model), display_name = coalesce(%(display_name)s, display_name),
            enabled = coalesce(%(enabled)s, enabled), is_default = coalesce(%(is_default)s, is_default),
            context_limit = coalesce(%(context_limit)s, context_limit),
            compression_threshold = coalesce(%(threshold)s, compression_threshold),
            options = coalesce(%(options)s::jsonb, options), updated_by = %(updated_by)s, updated_at = now()
        WHERE id = %(id)s
        """,
        {
            "id": model_config_id,
            "provider": ai_provider_id,
            "model": model,
            "display_name": display_name,
            "enabled": enabled,
            "is_default": is_default,
            "context_limit": context_limit,
            "threshold": compression_threshold,
            "options": None if options is None else orjson.dumps(options).decode(),
            "updated_by": updated_by,
        },
    )
    await ensure_default(session, rather_not=model_config_id if is_default is False else None)
    await changed(session)
    return await get(session, model_config_id)


async def delete(session: Session, model_config_id: UUID) -> None:
    """Hide the model; the default moves on. Chats that used it fall back to the default. Raises NotFound."""
    await hold(session)
    rows = await fetch(
        session,
        """
        UPDATE chat_model_configs SET deleted = true, deleted_at = now(), is_default = false, updated_at = now()
        WHERE id = %(id)s AND NOT deleted RETURNING id
        """,
        {"id": model_config_id},
    )
    if not rows:
        raise NotFound
    await ensure_default(session)
    await changed(session)


async def ensure_default(session: Session, *, rather_not: UUID | None = None) -> None:
    """If there are models but no default, the first in list order becomes it (`rather_not` only if it is alone)."""
    await fetch(
        session,
        f"""
        UPDATE chat_model_configs SET is_default = true WHERE id = (
            SELECT c.id FROM chat_model_configs c JOIN ai_providers p ON p.id = c.ai_provider_id
            WHERE NOT c.deleted
              AND NOT EXISTS (SELECT FROM chat_model_configs d WHERE d.is_default AND NOT d.deleted)
            ORDER BY c.id IS NOT DISTINCT FROM %(rather_not)s, {_ORDER} LIMIT 1)
        """,  # noqa: S608 - fixed text
        {"rather_not": rather_not},
    )


async def _unset_default(session: Session) -> None:
    await fetch(session, "UPDATE chat_model_configs SET is_default = false WHERE is_default AND NOT deleted")
