"""Prompts: the deployment's, for new chats and for plan mode, and each person's own."""

from starlette.responses import Response

from api.answers import answer, nothing
from api.caller import AccountHolder, Caller, DeploymentWriter
from api.errors import raises
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
from models.errors import Forbidden, Invalid, NotFound
from models.principal import Principal
from models.rules import instructions
from models.rules.instructions import CUSTOM_PROMPT, INCLUDE_DEFAULT, PLAN_INSTRUCTIONS, SYSTEM_PROMPT
from models.store import preferences

router = Router(tags=["config"])


@router.get(
    "/config/system-prompt",
    response_model=SystemPrompt,
    responses=raises(NotFound),
    summary="Get the deployment's system prompt",
)
async def get_system_prompt(caller: Caller, resources: Opened) -> Response:
    """For those who may change it; to others it is not there."""
    _require_writer(caller)
    async with resources.database.read() as session:
        site = await preferences.site(session, SYSTEM_PROMPT, INCLUDE_DEFAULT)
    return answer(
        {
            "system_prompt": site.get(SYSTEM_PROMPT, ""),
            "include_default_system_prompt": instructions.includes_default(site),
            "default_system_prompt": instructions.DEFAULT_SYSTEM_PROMPT,
        }
    )


@router.put(
    "/config/system-prompt",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden),
    summary="Set the deployment's system prompt",
)
async def set_system_prompt(body: SetSystemPrompt, caller: DeploymentWriter, resources: Opened) -> Response:
    """Holds for chats created from now on. Invisible characters are taken out."""
    values = {SYSTEM_PROMPT: instructions.accepted(body.system_prompt, "System prompt exceeds maximum length.")}
    if body.include_default_system_prompt is not None:
        values[INCLUDE_DEFAULT] = "true" if body.include_default_system_prompt else "false"
    async with resources.database.begin() as session:
        await preferences.put_site(session, values)
    return nothing()


@router.get(
    "/config/plan-mode-instructions",
    response_model=PlanModeInstructions,
    responses=raises(NotFound),
    summary="Get the instructions for plan mode",
)
async def get_plan_mode_instructions(caller: Caller, resources: Opened) -> Response:
    """For those who may change them; to others they are not there."""
    _require_writer(caller)
    async with resources.database.read() as session:
        site = await preferences.site(session, PLAN_INSTRUCTIONS)
    return answer({"plan_mode_instructions": site.get(PLAN_INSTRUCTIONS, "")})


@router.put(
    "/config/plan-mode-instructions",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden),
    summary="Set the instructions for plan mode",
)
async def set_plan_mode_instructions(
    body: SetPlanModeInstructions, caller: DeploymentWriter, resources: Opened
) -> Response:
    """They follow ours in every step of a chat that is in plan mode, from the next step on."""
    text = instructions.accepted(body.plan_mode_instructions, "Plan mode instructions exceed maximum length.")
    async with resources.database.begin() as session:
        await preferences.put_site(session, {PLAN_INSTRUCTIONS: text})
    return nothing()


@router.get("/config/user-prompt", response_model=UserPrompt, summary="Get one's own prompt")
async def get_user_prompt(caller: Caller, resources: Opened) -> Response:
    """Empty if there is none."""
    async with resources.database.read() as session:
        own = await preferences.user(session, caller.user_id, CUSTOM_PROMPT)
    return answer({"custom_prompt": own.get(CUSTOM_PROMPT, "")})


@router.put(
    "/config/user-prompt",
    response_model=UserPrompt,
    responses=raises(Invalid, Forbidden),
    summary="Set one's own prompt",
)
async def set_user_prompt(body: SetUserPrompt, caller: AccountHolder, resources: Opened) -> Response:
    """Holds for all of one's chats from their next step on. The answer is the prompt as it is kept."""
    text = instructions.accepted(body.custom_prompt, "Custom prompt exceeds maximum length.")
    async with resources.database.begin() as session:
        await preferences.put_user(session, caller.user_id, {CUSTOM_PROMPT: text})
    return answer({"custom_prompt": text})


def _require_writer(caller: Principal) -> None:
    if not caller.may_update_deployment():
        raise NotFound
