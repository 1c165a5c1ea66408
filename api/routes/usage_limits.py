"""How much people may spend: the deployment's default, groups' and persons' own limits, and where one stands."""

from typing import Any
from uuid import UUID

from fastapi import Response

from api.answers import answer, nothing
from api.caller import Caller, DeploymentReader, DeploymentWriter
from api.errors import raises
from api.etags import TAGGED, Expected, Kept
from api.requests import Router
from api.resources import Opened
from api.schemas.cost import (
    NEVER,
    GroupOverride,
    SetOverride,
    SetUsageLimit,
    UsageLimitConfig,
    UsageLimits,
    UsageLimitStatus,
    UserOverride,
    status,
)
from models.errors import Forbidden, Invalid, NotFound, Stale
from models.rules import periods
from models.store import limits
from models.store.database import Row
from models.store.session import Session

router = Router(tags=["usage limits"])

SETTING = "usage-limits"
TOO_SMALL = "Spend limit must be greater than 0."
USER_ID, USER = "Invalid chat usage limit user ID.", "User not found."
GROUP_ID, GROUP = "Invalid group ID.", "Group not found."
NO_OVERRIDE = "Chat usage limit override not found."


@router.get(
    "/usage-limits",
    response_model=UsageLimits,
    responses={**TAGGED, **raises(Forbidden)},
    summary="Get the usage limits",
)
async def get_usage_limits(caller: DeploymentReader, kept: Kept, resources: Opened) -> Response:
    """The default and every exception from it. Its ETag is what `If-Match` means wherever one of them is changed."""
    async with resources.database.read() as session:
        return kept.answer(await _shown(session))


@router.put(
    "/usage-limits",
    response_model=UsageLimitConfig,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set the usage limit",
)
async def set_usage_limits(
    body: SetUsageLimit, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """What everybody without a limit of their own may spend in a period. Null switches all limits off."""
    limit, period = body.spend_limit_micros, periods.named(body.period)
    if limit is not None and limit <= 0:
        raise Invalid("Invalid chat usage limit spend limit.", TOO_SMALL)
    if period is None and (body.period or limit is not None):
        raise Invalid("Invalid chat usage limit period.", f"Period must be one of: {', '.join(periods.PERIODS)}.")
    async with resources.database.begin() as session:
        await expected.hold(session, SETTING, _shown)
        row = await limits.configure(session, limit, period)
    resources.principals.forget()
    return answer(_config(row))


@router.get("/usage-limits/status", response_model=UsageLimitStatus, responses=TAGGED, summary="Get one's own standing")
async def get_usage_limit_status(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """What the caller may spend in this period, and has spent. A group's limit counts its organization only."""
    async with resources.database.read() as session:
        return kept.answer(status(await limits.standing(session, caller.user_id)))


@router.put(
    "/usage-limits/overrides/{user}",
    response_model=UserOverride,
    responses=raises(Invalid, Forbidden, NotFound, Stale),
    summary="Set a user's own limit",
)
async def set_user_override(
    user: str, body: SetOverride, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """It goes before the default and before all groups' limits."""
    user_id = _id(user, USER_ID)
    if body.spend_limit_micros <= 0:
        raise Invalid("Invalid chat usage limit override.", TOO_SMALL)
    async with resources.database.begin() as session:
        await expected.hold(session, SETTING, _shown)
        row = await limits.limit_user(session, user_id, body.spend_limit_micros)
    if row is None:
        raise NotFound(USER)
    return answer(row)


@router.delete(
    "/usage-limits/overrides/{user}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Delete a user's own limit",
)
async def delete_user_override(user: str, caller: DeploymentWriter, expected: Expected, resources: Opened) -> Response:
    """Their groups' limits, or the default, hold again."""
    async with resources.database.begin() as session:
        user_id = _id(user, USER_ID)
        await expected.hold(session, SETTING, _shown)
        _require_freed(await limits.free_user(session, user_id), USER)
    return nothing()


@router.put(
    "/usage-limits/group-overrides/{group}",
    response_model=GroupOverride,
    responses=raises(Invalid, Forbidden, NotFound, Stale),
    summary="Set a group's limit",
)
async def set_group_override(
    group: str, body: SetOverride, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """For each member, on what they spend in the group's organization; the smallest of somebody's groups holds."""
    group_id = _id(group, GROUP_ID)
    if body.spend_limit_micros <= 0:
        detail = "Spend limit (in microdollars) must be greater than 0."
        raise Invalid("Invalid chat usage limit group override.", detail)
    async with resources.database.begin() as session:
        await expected.hold(session, SETTING, _shown)
        row = await limits.limit_group(session, group_id, body.spend_limit_micros)
    if row is None:
        raise NotFound(GROUP)
    return answer(row)


@router.delete(
    "/usage-limits/group-overrides/{group}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Delete a group's limit",
)
async def delete_group_override(
    group: str, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Its members' other groups' limits, or the default, hold again."""
    async with resources.database.begin() as session:
        group_id = _id(group, GROUP_ID)
        await expected.hold(session, SETTING, _shown)
        _require_freed(await limits.free_group(session, group_id), GROUP)
    return nothing()


async def _shown(session: Session) -> dict[str, Any]:
    config = await limits.config(session)
    unpriced = await limits.unpriced_models(session)
    users, groups = await limits.user_overrides(session), await limits.group_overrides(session)
    return {**_config(config), "unpriced_model_count": unpriced, "overrides": users, "group_overrides": groups}


def _config(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"spend_limit_micros": None, "period": "", "updated_at": NEVER}
    limit = row["default_limit_micros"] if row["enabled"] else None
    return {"spend_limit_micros": limit, "period": row["period"], "updated_at": row["updated_at"]}


def _id(text: str, message: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as wrong:
        raise Invalid(message, str(wrong)) from wrong


def _require_freed(freed: bool | None, unknown: str) -> None:
    """Who is asked to take away what is not there is told so, with 400."""
    if not freed:
        raise Invalid(unknown if freed is None else NO_OVERRIDE)
