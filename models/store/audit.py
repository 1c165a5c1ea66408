"""The audit log: who did what to what, written in the transaction that does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from models.parts import to_rest
from models.store.session import Session

ACTOR = "turnstone"
CHAT, PROVIDER, OWN_KEY = "chat", "ai_provider", "user_ai_provider_key"
"""Types of resources. That of one's own key is its provider."""

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
        diff, details, status_code, request_id)"""
_VALUES: LiteralString = f"""{_INSERT}
    VALUES (%(id)s, %(action)s, %(resource_type)s, %(resource_id)s, %(target)s, %(organization_id)s, %(user_id)s,
        %(diff)s::jsonb, %(details)s::jsonb, %(status_code)s, %(request_id)s)
"""
# The row as this transaction leaves it: what it was asked and what came of it need not be the same.
_COMPARED: LiteralString = f"""{_INSERT}
    SELECT %(id)s, 'write', '{CHAT}', c.id, left(c.id::text, 8), c.organization_id, %(user_id)s,
        compared.diff, '{{}}', %(status_code)s, %(request_id)s
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


def record(
    session: Session,
    *,
    action: str,
    resource_type: str,
    resource_id: UUID,
    target: str = "",
    organization_id: UUID | None = None,
    user_id: UUID | None = None,
    diff: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    status_code: int = 200,
    request_id: str = "",
) -> None:
    """Add an entry with the commit; it is there if, and only if, what it tells of is."""
    session.finish_with(
        _VALUES,
        {
            "id": uuid7(),
            "action": action,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "target": target,
            "organization_id": organization_id,
            "user_id": user_id,
            "diff": encoded(diff or {}),
            "details": encoded(details or {}),
            "status_code": status_code,
            "request_id": request_id,
        },
    )


def chat_created(session: Session, chat: Mapping[str, Any], by: Author) -> None:
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
            "request_id": by.request_id,
        },
    )


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
