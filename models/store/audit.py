"""The audit log: who did what to what, written in the transaction that does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString, NotRequired, TypedDict, Unpack
from uuid import UUID, uuid5

import orjson
from uuid_utils.compat import uuid7

from models.parts import to_rest
from models.rules import redaction
from models.store import deeds
from models.store.database import fetch
from models.store.session import Session

ACTOR = "turnstone"
CHAT, PROVIDER, PROVIDER_KEY = "chat", "ai_provider", "ai_provider_key"
OWN_KEY = "user_ai_provider_key"
"""Types of resources. That of one's own key is its provider."""

# What may be shown of what a request asks for. Of everything else it is told that it changed, and no more.
_HARMLESS = frozenset(
    [
        "add_users",
        "ai_provider_id",
        "allow_users",
        "audit_retention_days",
        "auto_archive_days",
        "avatar_url",
        "compression_threshold",
        "context_limit",
        "debug_logging_enabled",
        "debug_retention_days",
        "description",
        "display_name",
        "email",
        "enable_desktop",
        "enabled",
        "events",
        "icon",
        "include_default_system_prompt",
        "is_default",
        "lifetime",
        "limit_micros",
        "login_type",
        "max_output_tokens",
        "max_uses_per_run",
        "mode",
        "model",
        "model_config_id",
        "name",
        "organization_id",
        "organization_ids",
        "period",
        "provider",
        "provisioner",
        "remove_users",
        "retention_days",
        "roles",
        "scopes",
        "spend_limit_micros",
        "template_id",
        "template_ids",
        "template_version_id",
        "template_version_preset_id",
        "threshold_percent",
        "token_name",
        "transition",
        "ttl_ms",
        "username",
        "workspace_ttl_ms",
        "warn_percents",
    ]
)
_LONGEST = 2000  # characters of one value

# What a chat's entries show, and what stands there for nothing (admin.md 5): a new chat has changed from that.
_TRACKED: Mapping[str, Any] = {
    "id": "",
    "owner_id": "",
    "archived": False,
    "pin_order": 0,
    "plan_mode": "",
    "labels": {},
    "mcp_server_ids": [],
    "user_acl": {},
    "group_acl": {},
}
# That it changed is told, what it was and is are not: people paste secrets, and titles are made of what they say.
_SECRET = ("title",)
MASKED = {"old": "", "new": "", "secret": True}

_INSERT: LiteralString = """
    INSERT INTO audit_logs (id, action, resource_type, resource_id, resource_target, organization_id, user_id,
        diff, details, status_code, request_id, ip, user_agent)"""
_VALUES: LiteralString = f"""{_INSERT}
    VALUES (%(id)s, %(action)s, %(resource_type)s, %(resource_id)s, %(target)s, %(organization_id)s, %(user_id)s,
        %(diff)s::jsonb, %(details)s::jsonb, %(status_code)s, %(request_id)s, %(ip)s, %(user_agent)s)
"""
# The row as this transaction leaves it: what it was asked and what came of it need not be the same.
_COMPARED: LiteralString = f"""{_INSERT}
    SELECT %(id)s, 'write', '{CHAT}', c.id, left(c.id::text, 8), c.organization_id, %(user_id)s,
        compared.diff, '{{}}', %(status_code)s, %(request_id)s, %(ip)s, %(user_agent)s
    FROM chats c CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(was.key, CASE WHEN was.key = ANY(%(secret)s::text[]) THEN %(masked)s::jsonb
            ELSE jsonb_build_object('old', was.value, 'new', now.value, 'secret', false) END) AS diff
        FROM jsonb_each(%(before)s::jsonb) AS was
        JOIN (SELECT key, coalesce(nullif(value, 'null'), '""') AS value FROM jsonb_each(to_jsonb(c))) AS now
            USING (key)
        WHERE was.value <> now.value) AS compared
    WHERE c.id = %(chat)s AND compared.diff IS NOT NULL
"""  # noqa: S608 - fixed text


@dataclass(frozen=True, slots=True)
class Author:
    """Who does something, and the request that it is done by."""

    user_id: UUID
    request_id: str = ""


class Told(TypedDict):
    """What an entry says; request, address and user agent come from the request at hand."""

    action: str
    resource_type: str
    resource_id: UUID
    target: NotRequired[str]
    organization_id: NotRequired[UUID | None]
    user_id: NotRequired[UUID | None]
    diff: NotRequired[Mapping[str, Any] | None]
    details: NotRequired[Mapping[str, Any] | None]
    status_code: NotRequired[int]
    request_id: NotRequired[str]


def record(session: Session, **told: Unpack[Told]) -> None:
    """Add an entry with the commit; it is there if, and only if, what it tells of is."""
    session.finish_with(_VALUES, _values(**told))


async def record_alone(session: Session, **told: Unpack[Told]) -> None:
    """Add an entry in a transaction that does nothing else: of what was refused."""
    await fetch(session, _VALUES, _values(**told))


async def record_once(session: Session, entry_id: UUID, **told: Unpack[Told]) -> None:
    """Add an entry under this id, unless there is one already."""
    await fetch(session, f"{_VALUES} ON CONFLICT (id) DO NOTHING", {**_values(**told), "id": entry_id})


def _values(**told: Unpack[Told]) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "action": told["action"],
        "resource_type": told["resource_type"],
        "resource_id": told["resource_id"],
        "target": told.get("target", ""),
        "organization_id": told.get("organization_id"),
        "user_id": told.get("user_id"),
        "diff": encoded(told.get("diff") or {}),
        "details": encoded(told.get("details") or {}),
        "status_code": told.get("status_code", 200),
        **_from_where(told.get("request_id", "")),
    }


def tell(session: Session) -> None:
    """Tell what the request at hand does in this transaction, if it is to be told and its handler has not done so."""
    deed = deeds.current()
    kind = deed.kind
    if deed.is_told or kind is None:
        return
    record(
        session,
        action=kind.action,
        resource_type=kind.resource_type,
        resource_id=deed.resource_id,
        target=deed.target,
        organization_id=deed.organization_id,
        user_id=deed.user_id,
        diff=_asked(deed, kind.action),
        status_code=deed.status_code,
    )


def _asked(deed: deeds.Deed, action: str) -> dict[str, Any]:
    """What a request changes: what it asks for beside what there was, where that is known."""
    if action == "delete":
        gone = {name: _bounded(value) for name, value in deed.before.items() if name in _HARMLESS and value}
        return changed(**{name: (value, _nothing(value)) for name, value in gone.items()})
    diff = {}
    for name, new in deed.body.items():
        if new is None or not isinstance(name, str):
            continue
        if name not in _HARMLESS:
            diff[name[:100]] = MASKED
            continue
        old, new = _bounded(deed.before.get(name)), _bounded(new)
        if action == "create" and old is None:
            old = _nothing(new)
        if old != new:
            diff |= changed(**{name: (old, new)})
    return diff


def _bounded(value: Any) -> Any:
    return redaction.document(str(value) if isinstance(value, UUID | datetime) else value, limit=_LONGEST)


def _nothing(value: Any) -> Any:
    """What stands for a value that is not there yet, or no longer."""
    return None if value is None else type(value)()


async def key_used(session: Session, provider_id: UUID, name: str, owner_id: UUID, day: date, *, own: bool) -> None:
    """Tell that a provider's key, or an owner's own, is used for the owner's chats; once a day, whoever tells it."""
    kind = OWN_KEY if own else PROVIDER_KEY
    await record_once(
        session,
        uuid5(provider_id, f"{kind} {owner_id} {day}"),
        action="use",
        resource_type=kind,
        resource_id=provider_id,
        target=name,
        user_id=owner_id,
        details=by_background_job("model_call", user_id=str(owner_id)),
    )


def chat_created(
    session: Session, chat: Mapping[str, Any], by: Author, details: Mapping[str, Any] | None = None
) -> None:
    """Tell of a new chat, as it is in its row."""
    shown = _shown(chat)
    record(
        session,
        action="create",
        resource_type=CHAT,
        resource_id=chat["id"],
        target=str(chat["id"])[:8],
        organization_id=chat["organization_id"],
        user_id=by.user_id,
        diff=changed(**{name: (nothing, shown[name]) for name, nothing in _TRACKED.items() if shown[name] != nothing})
        | dict.fromkeys(_SECRET, MASKED),
        details=details,
        status_code=201,
        request_id=by.request_id,
    )


def chat_changed(session: Session, before: Mapping[str, Any], by: Author) -> None:
    """Tell what this transaction has changed of a chat when it ends, which was so before; if anything."""
    was = _shown(before) | {name: before[name] for name in _SECRET}
    session.finish_with(
        _COMPARED,
        {
            "id": uuid7(),
            "chat": before["id"],
            "before": encoded(was),
            "secret": list(_SECRET),
            "masked": encoded(MASKED),
            "user_id": by.user_id,
            "status_code": 204,
            **_from_where(by.request_id),
        },
    )


def _from_where(request_id: str) -> dict[str, str]:
    """Which request it is, and whence; what that request does is told now."""
    deed = deeds.current()
    deed.is_told = True
    return {"request_id": request_id or deed.request_id, "ip": deed.ip, "user_agent": deed.user_agent}


def _shown(chat: Mapping[str, Any]) -> dict[str, Any]:
    return {name: nothing if chat[name] is None else chat[name] for name, nothing in _TRACKED.items()}


def changed(**fields: tuple[Any, Any]) -> dict[str, Any]:
    """A diff that shows each field's old and new value."""
    return {name: {"old": old, "new": new, "secret": False} for name, (old, new) in fields.items()}


def by_background_job(subsystem: str, **more: Any) -> dict[str, Any]:
    """Details that say that nobody did it, and which job did."""
    return {"automatic_actor": ACTOR, "automatic_subsystem": subsystem, **more}


def encoded(details: Mapping[str, Any]) -> str:
    """Details as JSON, to be looked for in the log."""
    return orjson.dumps(to_rest(dict(details))).decode()
