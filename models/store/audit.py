"""The audit log: who did what to what, written in the transaction that does it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from models.store.database import fetch
from models.store.session import Session

ACTOR = "turnstone"


async def record(
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
    """Add an entry; it is there if, and only if, what it tells of is."""
    await fetch(
        session,
        """
        INSERT INTO audit_logs (id, action, resource_type, resource_id, resource_target, organization_id, user_id,
            diff, details, status_code, request_id)
        VALUES (%(id)s, %(action)s, %(resource_type)s, %(resource_id)s, %(target)s, %(organization_id)s, %(user_id)s,
            %(diff)s::jsonb, %(details)s::jsonb, %(status_code)s, %(request_id)s)
        """,
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


def changed(**fields: tuple[Any, Any]) -> dict[str, Any]:
    """A diff that shows each field's old and new value."""
    return {name: {"old": old, "new": new, "secret": False} for name, (old, new) in fields.items()}


def by_background_job(subsystem: str, **more: Any) -> dict[str, Any]:
    """Details that say that nobody did it, and which job did."""
    return {"automatic_actor": ACTOR, "automatic_subsystem": subsystem, **more}


def encoded(details: Mapping[str, Any]) -> str:
    """Details as JSON, to be looked for in the log."""
    return orjson.dumps(dict(details)).decode()
