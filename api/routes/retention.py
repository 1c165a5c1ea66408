"""How long things are kept: everybody may know, the deployment's administrators decide."""

from functools import partial
from typing import Any

from fastapi import Response

from api.answers import nothing
from api.caller import Caller, DeploymentWriter, Insider
from api.errors import raises
from api.etags import TAGGED, Copy, Expectation, Expected, Kept
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas.retention import (
    AuditRetentionDays,
    AutoArchiveDays,
    DebugRetentionDays,
    RetentionDays,
    SetAuditRetentionDays,
    SetAutoArchiveDays,
    SetDebugRetentionDays,
    SetRetentionDays,
)
from models.errors import Forbidden, Invalid, NotFound, Stale
from models.store import retention
from models.store.session import Session

router = Router(tags=["retention"])


@router.get(
    "/config/retention-days",
    response_model=RetentionDays,
    responses=TAGGED,
    summary="Get how long archived chats are kept",
)
async def get_retention_days(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """Days after which an archived chat is deleted for good; 0 is never."""
    return await _get(resources, kept, retention.RETENTION, "retention_days")


@router.put(
    "/config/retention-days",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set how long archived chats are kept",
)
async def set_retention_days(
    body: SetRetentionDays, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Counted from the moment of archiving, also for chats that are archived already."""
    return await _set(resources, expected, retention.RETENTION, "retention_days", body.retention_days, "Retention days")


@router.get(
    "/config/debug-retention-days",
    response_model=DebugRetentionDays,
    responses=TAGGED,
    summary="Get how long debug runs are kept",
)
async def get_debug_retention_days(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """Days after which a debug run is deleted, whatever becomes of its chat; 0 is never."""
    return await _get(resources, kept, retention.DEBUG_RETENTION, "debug_retention_days")


@router.put(
    "/config/debug-retention-days",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set how long debug runs are kept",
)
async def set_debug_retention_days(
    body: SetDebugRetentionDays, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Counted from the last time that something was recorded in the run."""
    value = body.debug_retention_days
    return await _set(
        resources, expected, retention.DEBUG_RETENTION, "debug_retention_days", value, "Chat debug retention days"
    )


@router.get(
    "/config/auto-archive-days",
    response_model=AutoArchiveDays,
    responses=TAGGED,
    summary="Get when idle chats are archived",
)
async def get_auto_archive_days(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """Days without a message after which a chat is archived with its sub-agent chats; 0 is never."""
    return await _get(resources, kept, retention.AUTO_ARCHIVE, "auto_archive_days")


@router.put(
    "/config/auto-archive-days",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set when idle chats are archived",
)
async def set_auto_archive_days(
    body: SetAutoArchiveDays, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Whole days by UTC. Pinned chats and chats at work are left alone; each owner is told."""
    return await _set(
        resources, expected, retention.AUTO_ARCHIVE, "auto_archive_days", body.auto_archive_days, "Auto-archive days"
    )


@router.get(
    "/config/audit-retention-days",
    response_model=AuditRetentionDays,
    responses={**TAGGED, **raises(NotFound)},
    summary="Get how long the audit log is kept",
)
async def get_audit_retention_days(caller: Insider, kept: Kept, resources: Opened) -> Response:
    """Days after which a sealed entry is deleted; 0 is never. The rest of the chain stays verifiable."""
    return await _get(resources, kept, retention.AUDIT_RETENTION, "audit_retention_days")


@router.put(
    "/config/audit-retention-days",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set how long the audit log is kept",
)
async def set_audit_retention_days(
    body: SetAuditRetentionDays, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Whole days by UTC. What is deleted is told in the log, with the hash that the rest of it begins from."""
    value = body.audit_retention_days
    return await _set(
        resources, expected, retention.AUDIT_RETENTION, "audit_retention_days", value, "Audit retention days"
    )


async def _get(resources: Resources, kept: Copy, key: str, name: str) -> Response:
    async with resources.database.read() as session:
        return kept.answer(await _shown(key, name, session))


async def _set(resources: Resources, expected: Expectation, key: str, name: str, days: int, what: str) -> Response:
    if not 0 <= days <= retention.MOST_DAYS:
        raise Invalid(f"{what} must be between 0 and {retention.MOST_DAYS}.")
    async with resources.database.begin() as session:
        await expected.hold(session, key, partial(_shown, key, name))
        await retention.set_days(session, key, days)
    return nothing()


async def _shown(key: str, name: str, session: Session) -> dict[str, Any]:
    return {name: await retention.days(session, key)}
