"""The switches of debug logging: the deployment's gate, and each person's own."""

from functools import partial
from typing import Any
from uuid import UUID

from starlette.responses import Response

from api.answers import nothing
from api.caller import AccountHolder, Caller, DeploymentWriter, Insider
from api.errors import raises
from api.etags import TAGGED, Expected, Kept
from api.requests import Router
from api.resources import Opened
from api.schemas.debug import DebugLogging, SetDebugLogging, SetUserDebugLogging, UserDebugLogging
from models.errors import Conflict, Forbidden, NotFound, Stale
from models.store import switches
from models.store.session import Session

router = Router(tags=["debug"])

FORCED = "Chat debug logging is already forced on by deployment configuration."
NOT_ALLOWED = "An administrator has not enabled user-controlled chat debug logging."


@router.get(
    "/config/debug-logging",
    response_model=DebugLogging,
    responses={**TAGGED, **raises(NotFound)},
    summary="Get who may record model calls",
)
async def get_debug_logging(caller: Insider, kept: Kept, resources: Opened) -> Response:
    """For those who may read the deployment's configuration; others get 404."""
    async with resources.database.read() as session:
        return kept.answer(await _gate(resources.settings.debug_logging, session))


@router.put(
    "/config/debug-logging",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, Stale),
    summary="Set who may record model calls",
)
async def set_debug_logging(
    body: SetDebugLogging, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Closing the gate stops recording; what people chose is kept for the day it opens again."""
    async with resources.database.begin() as session:
        await expected.hold(session, "debug-logging", partial(_gate, resources.settings.debug_logging))
        await switches.set_allow_users(session, body.allow_users)
    return nothing()


@router.get(
    "/config/user-debug-logging",
    response_model=UserDebugLogging,
    responses=TAGGED,
    summary="Get whether one's own chats are recorded",
)
async def get_user_debug_logging(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """One's own choice, whether it has an effect, and whether the deployment records everything anyway."""
    async with resources.database.read() as session:
        return kept.answer(await _own(caller.user_id, resources.settings.debug_logging, session))


@router.put(
    "/config/user-debug-logging",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, Conflict, Stale),
    summary="Set whether one's own chats are recorded",
)
async def set_user_debug_logging(
    body: SetUserDebugLogging, caller: AccountHolder, expected: Expected, resources: Opened
) -> Response:
    """Works from the next model call on; refused while an administrator has not allowed it."""
    if resources.settings.debug_logging:
        raise Conflict(FORCED)
    async with resources.database.begin() as session:
        if not await switches.allow_users(session):
            raise Forbidden(NOT_ALLOWED)
        await expected.hold(session, f"user-debug-logging {caller.user_id}", partial(_own, caller.user_id, False))
        await switches.set_enabled_for(session, caller.user_id, body.debug_logging_enabled)
    return nothing()


async def _gate(forced: bool, session: Session) -> dict[str, Any]:
    return {"allow_users": await switches.allow_users(session), "forced_by_deployment": forced}


async def _own(user_id: UUID, forced: bool, session: Session) -> dict[str, Any]:
    enabled = await switches.enabled_for(session, user_id)
    allowed = await switches.allow_users(session)
    return {
        "debug_logging_enabled": forced or (enabled and allowed),
        "user_toggle_allowed": allowed and not forced,
        "forced_by_deployment": forced,
    }
