"""The messages that wait in a chat's queue: drop one, or run it next."""

from uuid import UUID

from starlette.responses import Response

from api.answers import answer, nothing
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.parameters import RowId, row_id
from api.requests import Router
from api.resources import Opened
from api.routes.messages import require_owner
from api.schemas.messages import Accepted
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from models.store import chats, moves

router = Router(tags=["queue"])

BAD_ID = "Invalid queued message ID."


@router.delete(
    "/{chat}/queue/{queued_message}",
    status_code=204,
    responses=raises(Invalid, NotFound, Conflict),
    summary="Delete a queued message",
)
async def delete_queued_message(chat: UUID, queued_message: RowId, caller: Caller, resources: Opened) -> Response:
    """Takes the message out of the queue; one that is not there is not an error."""
    async with resources.database.begin() as session:
        locked = await moves.lock(session, chat)
        chats.require_update(caller, locked.chat)
        moved = await moves.delete_queued(session, locked, row_id(queued_message, BAD_ID))
    nudge(resources, moved, "queue_changed")
    return nothing()


@router.post(
    "/{chat}/queue/{queued_message}/promote",
    status_code=202,
    response_model=Accepted,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Unprocessable),
    summary="Run a queued message next",
)
async def promote_queued_message(
    chat: UUID, queued_message: RowId, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """Runs it now if the chat is idle; else the running turn is stopped, its partial answer kept, and it runs then."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        locked = await moves.lock(session, chat)
        require_owner(caller, locked, "promote queued messages", "Cannot promote queued messages in an archived chat.")
        moved = await moves.promote_queued(session, locked, row_id(queued_message, BAD_ID))
        response = await once.keep(session, answer({"message": "Queued message promotion accepted."}, 202))
    nudge(resources, moved, "queue_changed")
    return response
