"""How full a model's context may become before one's own chats are summarised: each person's own choice."""

from uuid import UUID

from starlette.responses import Response

from api.answers import answer, nothing
from api.caller import AccountHolder, Caller
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas.compaction import SetThreshold, Threshold, Thresholds
from models.errors import Invalid, NotFound
from models.rules import compaction
from models.store import catalog, preferences

router = Router(tags=["models"])


@router.get(
    "/config/user-compaction-thresholds",
    response_model=Thresholds,
    summary="Get one's own compaction thresholds",
)
async def get_compaction_thresholds(caller: Caller, resources: Opened) -> Response:
    """Those that are set; other models have the threshold of their configuration."""
    async with resources.database.read() as session:
        stored = await preferences.user(session, caller.user_id)
    return answer({"thresholds": compaction.own_thresholds(stored)})


@router.put(
    "/config/user-compaction-thresholds/{model_config}",
    response_model=Threshold,
    responses=raises(Invalid, NotFound),
    summary="Set one's own compaction threshold of a model",
)
async def set_compaction_threshold(
    model_config: str, body: SetThreshold, caller: AccountHolder, resources: Opened
) -> Response:
    """Works from the next step of one's chats on."""
    config_id = _id(model_config)
    async with resources.database.begin() as session:
        if not (await catalog.get(session, config_id))["enabled"]:
            raise Invalid("Model config is disabled.")
        key = compaction.threshold_key(config_id)
        await preferences.put_user(session, caller.user_id, {key: str(body.threshold_percent)})
        await catalog.changed(session)
    return answer({"model_config_id": config_id, "threshold_percent": body.threshold_percent})


@router.delete(
    "/config/user-compaction-thresholds/{model_config}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid),
    summary="Remove one's own compaction threshold of a model",
)
async def delete_compaction_threshold(model_config: str, caller: AccountHolder, resources: Opened) -> Response:
    """Removing what is not set is fine."""
    config_id = _id(model_config)
    async with resources.database.begin() as session:
        if await preferences.delete_user(session, caller.user_id, compaction.threshold_key(config_id)):
            await catalog.changed(session)
    return nothing()


def _id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Invalid("Invalid chat model config ID.") from None
