"""What was said to the models of a chat, and what they answered, where that was recorded."""

from uuid import UUID

from starlette.responses import Response

from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas.debug import ChatDebugRun, ChatDebugRunSummary
from models.errors import Invalid, NotFound
from models.store import chats, debug

router = Router(tags=["debug"])


@router.get(
    "/{chat}/debug/runs",
    response_model=list[ChatDebugRunSummary],
    responses=raises(NotFound),
    summary="List the debug runs of a chat",
)
async def list_debug_runs(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """The newest 100. There are none unless debug logging is on for the chat's owner, nor of an archived chat."""
    async with resources.database.read() as session:
        await chats.load(session, caller, chat)
        return answer(await debug.runs(session, chat))


@router.get(
    "/{chat}/debug/runs/{debug_run}",
    response_model=ChatDebugRun,
    responses=raises(Invalid, NotFound),
    summary="Get a debug run",
)
async def get_debug_run(chat: UUID, debug_run: str, caller: Caller, resources: Opened) -> Response:
    """A run with its steps: normalised requests and answers, and the HTTP attempts without credentials."""
    async with resources.database.read() as session:
        await chats.load(session, caller, chat)
        try:
            run_id = UUID(debug_run)
        except ValueError as wrong:
            raise Invalid("Invalid debug run ID.", str(wrong)) from wrong
        return answer(await debug.run(session, chat, run_id))
