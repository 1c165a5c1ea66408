"""Which models an administrator chose for a purpose, in place of the one that would be used."""

from dataclasses import asdict
from functools import partial
from typing import Any
from uuid import UUID

from starlette.responses import Response

from api.answers import nothing
from api.caller import DeploymentWriter, Insider
from api.errors import raises
from api.etags import TAGGED, Expected, Kept
from api.requests import Router
from api.resources import Opened
from api.schemas.titles import ModelOverride, SetModelOverride
from models.errors import Forbidden, Invalid, NotFound, Stale
from models.rules import model_choice
from models.store import catalog, preferences
from models.store.session import Session

router = Router(tags=["config"])

INVALID_ID = "Invalid model_config_id."


@router.get(
    "/config/model-override/{context}",
    response_model=ModelOverride,
    responses={**TAGGED, **raises(Invalid, NotFound)},
    summary="Get the model chosen for a purpose",
)
async def get_model_override(context: str, caller: Insider, kept: Kept, resources: Opened) -> Response:
    """For those who may read the deployment's configuration; to others it is not there."""
    _require(context)
    async with resources.database.read() as session:
        return kept.answer(await _shown(context, session))


@router.put(
    "/config/model-override/{context}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Choose the model for a purpose",
)
async def set_model_override(
    context: str, body: SetModelOverride, caller: DeploymentWriter, expected: Expected, resources: Opened
) -> Response:
    """For `title_generation` the choice is hard: while that model cannot be used, chats get no title by themselves.

    `general` and `explore` are kept for the sub-agents to come.
    """
    _require(context)
    key = model_choice.deployment_key(context)
    async with resources.database.begin() as session:
        chosen = await _usable(session, body.model_config_id) if body.model_config_id else None
        await expected.hold(session, key, partial(_shown, context))
        if chosen is None:
            await preferences.delete_site(session, key)
        else:
            await preferences.put_site(session, {key: str(chosen)})
    return nothing()


async def _usable(session: Session, given: str) -> UUID:
    chosen = model_choice.model_id(given)
    if chosen is None:
        raise Invalid(INVALID_ID, f'Value "{given}" is not a valid UUID.')
    if all(row["id"] != chosen for row in await catalog.models(session, usable_only=True)):
        raise Invalid(INVALID_ID, f'There is no enabled model config "{chosen}".')
    return chosen


def _require(context: str) -> None:
    if context not in model_choice.DEPLOYMENT:
        expected = ", ".join(model_choice.DEPLOYMENT)
        raise Invalid("Invalid chat model override context.", f'Expected one of {expected}. Got "{context}".')


async def _shown(context: str, session: Session) -> dict[str, Any]:
    key = model_choice.deployment_key(context)
    stored = (await preferences.site(session, key)).get(key, "")
    return asdict(model_choice.override(context, stored))
