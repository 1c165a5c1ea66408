"""Which models an administrator chose for a purpose, in place of the one that would be used."""

from uuid import UUID

from starlette.responses import Response

from api.answers import answer, nothing
from api.caller import DeploymentWriter, Insider
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas.titles import ModelOverride, SetModelOverride
from models.errors import Forbidden, Invalid, NotFound
from models.store import catalog, preferences

router = Router(tags=["config"])

CONTEXTS = ("general", "explore", "title_generation")
INVALID_ID = "Invalid model_config_id."


@router.get(
    "/config/model-override/{context}",
    response_model=ModelOverride,
    responses=raises(Invalid, NotFound),
    summary="Get the model chosen for a purpose",
)
async def get_model_override(context: str, caller: Insider, resources: Opened) -> Response:
    """For those who may read the deployment's configuration; to others it is not there."""
    key = _key(context)
    async with resources.database.read() as session:
        stored = (await preferences.site(session, key)).get(key, "")
    chosen = _id(stored)
    shown = {"context": context, "model_config_id": str(chosen or ""), "is_malformed": bool(stored) and chosen is None}
    return answer(shown)


@router.put(
    "/config/model-override/{context}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden),
    summary="Choose the model for a purpose",
)
async def set_model_override(
    context: str, body: SetModelOverride, caller: DeploymentWriter, resources: Opened
) -> Response:
    """For `title_generation` the choice is hard: while that model cannot be used, chats get no title by themselves."""
    key = _key(context)
    async with resources.database.begin() as session:
        if not body.model_config_id:
            await preferences.delete_site(session, key)
            return nothing()
        chosen = _id(body.model_config_id)
        if chosen is None:
            raise Invalid(INVALID_ID, f'Value "{body.model_config_id}" is not a valid UUID.')
        if all(row["id"] != chosen for row in await catalog.models(session, usable_only=True)):
            raise Invalid(INVALID_ID, f'There is no enabled model config "{chosen}".')
        await preferences.put_site(session, {key: str(chosen)})
    return nothing()


def _key(context: str) -> str:
    if context not in CONTEXTS:
        raise Invalid(
            "Invalid chat model override context.", f'Expected one of {", ".join(CONTEXTS)}. Got "{context}".'
        )
    return f"agents_chat_{context}_model_override"


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
