"""How full a model's context may become before one's own chats are summarised: each person's own choice."""

from functools import partial
from typing import Any
from uuid import UUID

from starlette.responses import Response

from api.answers import answer, nothing
from api.caller import AccountHolder, Caller
from api.errors import raises
from api.etags import TAGGED, Expected, Kept
from api.requests import Router
from api.resources import Opened
from api.schemas.compaction import SetThreshold, Threshold, Thresholds
from models.errors import Forbidden, Invalid, NotFound, Stale
from models.rules import compaction
from models.store import catalog, preferences
from models.store.session import Session

router = Router(tags=["models"])


@router.get(
    "/config/user-compaction-thresholds",
    response_model=Thresholds,
    responses=TAGGED,
    summary="Get one's own compaction thresholds",
)
async def get_compaction_thresholds(caller: Caller, kept: Kept, resources: Opened) -> Response:
    """Those that are set; other models have the threshold of their configuration."""
    async with resources.database.read() as session:
        return kept.answer(await _shown(caller.user_id, session))


@router.put(
    "/config/user-compaction-thresholds/{model_config}",
    response_model=Threshold,
    responses=raises(Invalid, Forbidden, NotFound, Stale),
    summary="Set one's own compaction threshold of a model",
)
async def set_compaction_threshold(
    model_config: str, body: SetThreshold, caller: AccountHolder, expected: Expected, resources: Opened
) -> Response:
    """Works from the next step of one's chats on."""
    config_id = _id(model_config)
    async with resources.database.begin() as session:
        if not (await catalog.get(session, config_id))["enabled"]:
            raise Invalid("Model config is disabled.")
        await expected.hold(session, f"thresholds {caller.user_id}", partial(_shown, caller.user_id))
        key = compaction.threshold_key(config_id)
        await preferences.put_user(session, caller.user_id, {key: str(body.threshold_percent)})
        await catalog.changed(session)
    return answer({"model_config_id": config_id, "threshold_percent": body.threshold_percent})


@router.delete(
    "/config/user-compaction-thresholds/{model_config}",
    status_code=204,
    response_class=Response,
    responses=raises(Invalid, Forbidden, Stale),
    summary="Remove one's own compaction threshold of a model",
)
async def delete_compaction_threshold(
    model_config: str, caller: AccountHolder, expected: Expected, resources: Opened
) -> Response:
    """Removing what is not set is fine."""
    config_id = _id(model_config)
    async with resources.database.begin() as session:
        await expected.hold(session, f"thresholds {caller.user_id}", partial(_shown, caller.user_id))
        if await preferences.delete_user(session, caller.user_id, compaction.threshold_key(config_id)):
            await catalog.changed(session)
    return nothing()


async def _shown(user_id: UUID, session: Session) -> dict[str, Any]:
    return {"thresholds": compaction.own_thresholds(await preferences.user(session, user_id))}


def _id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Invalid("Invalid chat model config ID.") from None
