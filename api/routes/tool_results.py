"""The results of the tool calls that a chat's own client answers."""

from typing import Annotated
from uuid import UUID

from starlette.responses import Response

from api.answers import nothing
from api.bodies import REQUIRED, Unread, body
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.requests import Router
from api.resources import Opened
from api.routes.messages import require_owner
from api.schemas.tool_results import SubmitToolResults
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from models.rules.states import Status
from models.store import moves

router = Router(tags=["turns"])


@router.post(
    "/{chat}/tool-results",
    status_code=204,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Unprocessable),
    openapi_extra=REQUIRED,
    summary="Submit tool results",
)
async def submit_tool_results(
    chat: UUID,
    body: Annotated[Unread[SubmitToolResults], body(SubmitToolResults)],
    caller: Caller,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """Answers every pending call of a chat in `requires_action`, all at once; the turn goes on with them."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        locked = await moves.lock(session, chat)
        require_owner(caller, locked, "submit tool results", "Cannot submit tool results to an archived chat.")
        asked = body.read()
        if not asked.results:
            raise Invalid("At least one tool result is required.")
        status = locked.chat["status"]
        if status != Status.REQUIRES_ACTION:
            raise Conflict(
                "Chat is not waiting for tool results.",
                f'Chat status is "{status}", expected "{Status.REQUIRES_ACTION.value}".',
            )
        moved = await moves.complete_action(session, locked, [result.given() for result in asked.results])
        response = await once.keep(session, nothing())
    nudge(resources, moved, "tool_results_submitted")
    return response
