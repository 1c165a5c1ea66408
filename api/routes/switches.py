"""The switches of debug logging: the deployment's gate, and each person's own."""

from starlette.responses import Response

from api.answers import answer, nothing
from api.caller import AccountHolder, Caller, DeploymentWriter, Insider
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas.debug import DebugLogging, SetDebugLogging, SetUserDebugLogging, UserDebugLogging
from models.errors import Conflict, Forbidden, NotFound
from models.store import switches

router = Router(tags=["debug"])

FORCED = "Chat debug logging is already forced on by deployment configuration."
NOT_ALLOWED = "An administrator has not enabled user-controlled chat debug logging."


@router.get(
    "/config/debug-logging",
    response_model=DebugLogging,
    responses=raises(NotFound),
    summary="Get who may record model calls",
)
async def get_debug_logging(caller: Insider, resources: Opened) -> Response:
    """For those who may read the deployment's configuration; others get 404."""
    async with resources.database.read() as session:
        allowed = await switches.allow_users(session)
    return answer({"allow_users": allowed, "forced_by_deployment": resources.settings.debug_logging})


@router.put(
    "/config/debug-logging",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden),
    summary="Set who may record model calls",
)
async def set_debug_logging(body: SetDebugLogging, caller: DeploymentWriter, resources: Opened) -> Response:
    """Closing the gate stops recording; what people chose is kept for the day it opens again."""
    async with resources.database.begin() as session:
        await switches.set_allow_users(session, body.allow_users)
    return nothing()


@router.get(
    "/config/user-debug-logging",
    response_model=UserDebugLogging,
    summary="Get whether one's own chats are recorded",
)
async def get_user_debug_logging(caller: Caller, resources: Opened) -> Response:
    """One's own choice, whether it has an effect, and whether the deployment records everything anyway."""
    async with resources.database.read() as session:
        enabled = await switches.enabled_for(session, caller.user_id)
        allowed = await switches.allow_users(session)
    forced = resources.settings.debug_logging
    return answer(
        {
            "debug_logging_enabled": forced or (enabled and allowed),
            "user_toggle_allowed": allowed and not forced,
            "forced_by_deployment": forced,
        }
    )


@router.put(
    "/config/user-debug-logging",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, Conflict),
    summary="Set whether one's own chats are recorded",
)
async def set_user_debug_logging(body: SetUserDebugLogging, caller: AccountHolder, resources: Opened) -> Response:
    """Works from the next model call on; refused while an administrator has not allowed it."""
    if resources.settings.debug_logging:
        raise Conflict(FORCED)
    async with resources.database.begin() as session:
        if not await switches.allow_users(session):
            raise Forbidden(NOT_ALLOWED)
        await switches.set_enabled_for(session, caller.user_id, body.debug_logging_enabled)
    return nothing()
