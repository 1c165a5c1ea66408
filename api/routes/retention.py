"""How long things are kept: everybody may know, the deployment's administrators decide."""

from fastapi import Response

from api.answers import answer, nothing
from api.caller import Caller, DeploymentWriter
from api.errors import raises
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas.retention import (
    AutoArchiveDays,
    DebugRetentionDays,
    RetentionDays,
    SetAutoArchiveDays,
    SetDebugRetentionDays,
    SetRetentionDays,
)
from models.errors import Forbidden, Invalid
from models.store import retention

router = Router(tags=["retention"])


@router.get("/config/retention-days", response_model=RetentionDays, summary="Get how long archived chats are kept")
async def get_retention_days(caller: Caller, resources: Opened) -> Response:
    """Days after which an archived chat is deleted for good; 0 is never."""
    return await _get(resources, retention.RETENTION, "retention_days")


@router.put(
    "/config/retention-days",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden),
    summary="Set how long archived chats are kept",
)
async def set_retention_days(body: SetRetentionDays, caller: DeploymentWriter, resources: Opened) -> Response:
    """Counted from the moment of archiving, also for chats that are archived already."""
    return await _set(resources, retention.RETENTION, body.retention_days, "Retention days")


@router.get(
    "/config/debug-retention-days", response_model=DebugRetentionDays, summary="Get how long debug runs are kept"
)
async def get_debug_retention_days(caller: Caller, resources: Opened) -> Response:
    """Days after which a debug run is deleted, whatever becomes of its chat; 0 is never."""
    return await _get(resources, retention.DEBUG_RETENTION, "debug_retention_days")


@router.put(
    "/config/debug-retention-days",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden),
    summary="Set how long debug runs are kept",
)
async def set_debug_retention_days(
    body: SetDebugRetentionDays, caller: DeploymentWriter, resources: Opened
) -> Response:
    """Counted from the last time that something was recorded in the run."""
    value = body.debug_retention_days
    return await _set(resources, retention.DEBUG_RETENTION, value, "Chat debug retention days")


@router.get("/config/auto-archive-days", response_model=AutoArchiveDays, summary="Get when idle chats are archived")
async def get_auto_archive_days(caller: Caller, resources: Opened) -> Response:
    """Days without a message after which a chat is archived with its sub-agent chats; 0 is never."""
    return await _get(resources, retention.AUTO_ARCHIVE, "auto_archive_days")


@router.put(
    "/config/auto-archive-days",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden),
    summary="Set when idle chats are archived",
)
async def set_auto_archive_days(body: SetAutoArchiveDays, caller: DeploymentWriter, resources: Opened) -> Response:
    """Whole days by UTC. Pinned chats and chats at work are left alone; each owner is told."""
    return await _set(resources, retention.AUTO_ARCHIVE, body.auto_archive_days, "Auto-archive days")


async def _get(resources: Resources, key: str, name: str) -> Response:
    async with resources.database.read() as session:
        return answer({name: await retention.days(session, key)})


async def _set(resources: Resources, key: str, days: int, what: str) -> Response:
    if not 0 <= days <= retention.MOST_DAYS:
        raise Invalid(f"{what} must be between 0 and {retention.MOST_DAYS}.")
    async with resources.database.begin() as session:
        await retention.set_days(session, key, days)
    return nothing()
