"""Models that people choose for themselves, as far as an administrator lets them."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from starlette.responses import Response

from api.answers import nothing
from api.bodies import REQUIRED, Unread, body
from api.caller import AccountHolder, Caller, DeploymentWriter, Insider
from api.errors import raises
from api.etags import TAGGED, Expected, Kept
from api.requests import Router
from api.resources import Opened
from api.schemas.personal_models import (
    PersonalModelOverrides,
    SetPersonalModelOverride,
    SetPersonalModelOverrides,
    UserPersonalModelOverrides,
)
from models.errors import Forbidden, Invalid, NotFound, Stale
from models.rules import model_choice
from models.store import personal_models
from models.store.session import Session

router = Router(tags=["config"])

NOT_ALLOWED = "An administrator has not enabled user personal model overrides."
INVALID_ID = "Invalid model_config_id."
MODES = (model_choice.DEPLOYMENT_DEFAULT, model_choice.CHAT_DEFAULT, model_choice.MODEL)


@router.get(
    "/config/personal-model-overrides",
    response_model=PersonalModelOverrides,
    responses={**TAGGED, **raises(NotFound)},
    summary="Get whether people may choose models for themselves",
)
async def get_personal_model_overrides(caller: Insider, kept: Kept, resources: Opened) -> Response:
    """For those who may read the deployment's configuration; to others it is not there."""
    async with resources.database.read() as session:
        return kept.answer(await _gate(session))


@router.put(
    "/config/personal-model-overrides",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, Stale),
    summary="Set whether people may choose models for themselves",
)
async def set_personal_model_overrides(
    body: SetPersonalModelOverrides, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """While they may not, what they chose is kept and does not count."""
    async with resources.database.begin() as session:
        await expected.hold(session, "personal-model-overrides", _gate)
        await personal_models.allow(session, body.allow_users)
    return nothing()


@router.get(
    "/config/user-personal-model-overrides",
    response_model=UserPersonalModelOverrides,
    responses=TAGGED,
    summary="Get one's own choices of models",
)
async def get_user_personal_model_overrides(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """What is chosen for each purpose, and what administrators chose for sub-agents."""
    async with resources.database.read() as session:
        return kept.answer(await _own(caller.user_id, session))


@router.put(
    "/config/user-personal-model-overrides/{context}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    openapi_extra=REQUIRED,
    summary="Choose one's own model for a purpose",
)
async def set_user_personal_model_override(
    context: str,
    body: Annotated[Unread[SetPersonalModelOverride], body(SetPersonalModelOverride)],
    caller: AccountHolder,
    expected: Expected,
    resources: Opened,
) -> Response:
    """`root` is the model of one's new chats that name none; `general` and `explore` are kept for sub-agents to come.

    `If-Match` means the ETag of all of one's choices. A model that cannot be used any more is passed over.
    """
    async with resources.database.begin() as session:
        if not await personal_models.allowed(session):
            raise Forbidden(NOT_ALLOWED)
        if context not in model_choice.PERSONAL:
            named = ", ".join(model_choice.PERSONAL)
            raise Invalid("Invalid chat personal model override context.", f'Expected one of {named}. Got "{context}".')
        asked = body.read()
        _check(context, asked)
        word = asked.mode
        if asked.mode == model_choice.MODEL:
            word = str(await _fit(session, asked.model_config_id, caller.user_id, resources.settings.allow_byok))
        await expected.hold(session, f"personal-models {caller.user_id}", partial(_own, caller.user_id))
        await personal_models.choose(session, caller.user_id, context, word)
    return nothing()


def _check(context: str, asked: SetPersonalModelOverride) -> None:
    if asked.mode != model_choice.MODEL and asked.model_config_id:
        raise Invalid("model_config_id must be empty unless mode is model.")
    if asked.mode == model_choice.DEPLOYMENT_DEFAULT and context == model_choice.ROOT:
        raise Invalid("deployment_default is not supported for root personal model overrides.")
    if asked.mode == model_choice.MODEL and not asked.model_config_id:
        raise Invalid("model_config_id is required when mode is model.")
    if asked.mode not in MODES:
        raise Invalid(
            "Invalid personal model override mode.", f'Expected one of {", ".join(MODES)}. Got "{asked.mode}".'
        )


async def _fit(session: Session, given: str, user_id: UUID, own_keys: bool) -> UUID:
    """The id of a model that would work for this person; raises Invalid."""
    chosen = model_choice.model_id(given)
    if chosen is None:
        raise Invalid(INVALID_ID, f'Value "{given}" is not a valid UUID.')
    fitness = await personal_models.fitness(session, chosen, user_id, own_keys=own_keys)
    if fitness is None or not fitness.is_enabled:
        raise Invalid("Invalid model_config_id: model config not found or disabled.")
    if not fitness.provider_is_enabled:
        raise Invalid("Invalid model_config_id: provider is not enabled for this model.")
    if not fitness.has_key:
        raise Invalid("Invalid model_config_id: provider credentials unavailable for this model.")
    return chosen


async def _gate(session: Session) -> dict[str, Any]:
    return {"allow_users": await personal_models.allowed(session)}


async def _own(user_id: UUID, session: Session) -> dict[str, Any]:
    found = await personal_models.choices(session, user_id)
    return {
        "enabled": found.enabled,
        **{context: asdict(choice) for context, choice in found.own.items()},
        "deployment_defaults": {context: asdict(override) for context, override in found.deployment.items()},
    }
