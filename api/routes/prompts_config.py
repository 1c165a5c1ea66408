"""Prompts: the deployment's, for new chats and for plan mode, and each person's own."""

from functools import partial
from typing import Any
from uuid import UUID

from starlette.responses import Response

from api.answers import answer, nothing
from api.caller import AccountHolder, Caller, DeploymentWriter, Keeper
from api.errors import raises
from api.etags import TAGGED, Expected, Kept
from api.requests import Router
from api.resources import Opened
from api.schemas.prompts import (
    PlanModeInstructions,
    SetPlanModeInstructions,
    SetSystemPrompt,
    SetUserPrompt,
    SystemPrompt,
    UserPrompt,
)
from models.errors import Forbidden, Invalid, NotFound, Stale
from models.rules import instructions
from models.rules.instructions import CUSTOM_PROMPT, INCLUDE_DEFAULT, PLAN_INSTRUCTIONS, SYSTEM_PROMPT
from models.store import preferences
from models.store.session import Session

router = Router(tags=["config"])


@router.get(
    "/config/system-prompt",
    response_model=SystemPrompt,
    responses={**TAGGED, **raises(NotFound)},
    summary="Get the deployment's system prompt",
)
async def get_system_prompt(caller: Keeper, kept: Kept, resources: Opened) -> Response:
    """For those who may change it; to others it is not there."""
    async with resources.database.read() as session:
        return kept.answer(await _system_prompt(session))


@router.put(
    "/config/system-prompt",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set the deployment's system prompt",
)
async def set_system_prompt(
    body: SetSystemPrompt, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """Holds for chats created from now on. Invisible characters are taken out."""
    values = {SYSTEM_PROMPT: instructions.accepted(body.system_prompt, "System prompt exceeds maximum length.")}
    if body.include_default_system_prompt is not None:
        values[INCLUDE_DEFAULT] = "true" if body.include_default_system_prompt else "false"
    async with resources.database.begin() as session:
        await expected.hold(session, "system-prompt", _system_prompt)
        await preferences.put_site(session, values)
    return nothing()


@router.get(
    "/config/plan-mode-instructions",
    response_model=PlanModeInstructions,
    responses={**TAGGED, **raises(NotFound)},
    summary="Get the instructions for plan mode",
)
async def get_plan_mode_instructions(caller: Keeper, kept: Kept, resources: Opened) -> Response:
    """For those who may change them; to others they are not there."""
    async with resources.database.read() as session:
        return kept.answer(await _plan_mode_instructions(session))


@router.put(
    "/config/plan-mode-instructions",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set the instructions for plan mode",
)
async def set_plan_mode_instructions(
    body: SetPlanModeInstructions, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """They follow ours in every step of a chat that is in plan mode, from the next step on."""
    text = instructions.accepted(body.plan_mode_instructions, "Plan mode instructions exceed maximum length.")
    async with resources.database.begin() as session:
        await expected.hold(session, "plan-mode-instructions", _plan_mode_instructions)
        await preferences.put_site(session, {PLAN_INSTRUCTIONS: text})
    return nothing()


@router.get("/config/user-prompt", response_model=UserPrompt, responses=TAGGED, summary="Get one's own prompt")
async def get_user_prompt(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """Empty if there is none."""
    async with resources.database.read() as session:
        return kept.answer(await _user_prompt(caller.user_id, session))


@router.put(
    "/config/user-prompt",
    response_model=UserPrompt,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Set one's own prompt",
)
async def set_user_prompt(
    body: SetUserPrompt, caller: AccountHolder, expected: Expected, resources: Opened
) -> Response:
    """Holds for all of one's chats from their next step on. The answer is the prompt as it is kept."""
    text = instructions.accepted(body.custom_prompt, "Custom prompt exceeds maximum length.")
    async with resources.database.begin() as session:
        await expected.hold(session, f"user-prompt {caller.user_id}", partial(_user_prompt, caller.user_id))
        await preferences.put_user(session, caller.user_id, {CUSTOM_PROMPT: text})
    return answer({"custom_prompt": text})


async def _system_prompt(session: Session) -> dict[str, Any]:
    site = await preferences.site(session, SYSTEM_PROMPT, INCLUDE_DEFAULT)
    return {
        "system_prompt": site.get(SYSTEM_PROMPT, ""),
        "include_default_system_prompt": instructions.includes_default(site),
        "default_system_prompt": instructions.DEFAULT_SYSTEM_PROMPT,
    }


async def _plan_mode_instructions(session: Session) -> dict[str, Any]:
    site = await preferences.site(session, PLAN_INSTRUCTIONS)
    return {"plan_mode_instructions": site.get(PLAN_INSTRUCTIONS, "")}


async def _user_prompt(user_id: UUID, session: Session) -> dict[str, Any]:
    own = await preferences.user(session, user_id, CUSTOM_PROMPT)
    return {"custom_prompt": own.get(CUSTOM_PROMPT, "")}
