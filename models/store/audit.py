"""The audit log: who did what to what, written in the transaction that does it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.governance import AuditEntry

ACTOR = "turnstone"


async def record(
    session: AsyncSession,
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
    session.add(
        AuditEntry(
            action=action,
            resource_type=resource_type,
            resource_id=resource_id,
            resource_target=target,
            organization_id=organization_id,
            user_id=user_id,
            diff=dict(diff or {}),
            details=dict(details or {}),
            status_code=status_code,
            request_id=request_id,
        )
    )
    await session.flush()


def changed(**fields: tuple[Any, Any]) -> dict[str, Any]:
    """A diff that shows each field's old and new value."""
    return {name: {"old": old, "new": new, "secret": False} for name, (old, new) in fields.items()}


def by_background_job(subsystem: str, **more: Any) -> dict[str, Any]:
    """Details that say that nobody did it, and which job did."""
    return {"automatic_actor": ACTOR, "automatic_subsystem": subsystem, **more}


def encoded(details: Mapping[str, Any]) -> str:
    """Details as JSON, to be looked for in the log."""
    return orjson.dumps(dict(details)).decode()
