"""A new chat from any message of another one, sharing nothing that changes."""

from typing import Annotated
from uuid import UUID

from starlette.responses import Response

from api.answers import answer
from api.author import By
from api.bodies import REQUIRED, Unread, body
from api.caller import Caller
from api.content import accept
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.requests import Router
from api.resources import Opened
from api.routes.chats import require_creation
from api.schemas.chats import Chat
from api.schemas.fork import ForkChat
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable, UsageLimited
from models.parts import from_rest
from models.rules import labels
from models.store import audit, chats, files, limits, metadata, moves

router = Router(tags=["chats"])


@router.post(
    "/{chat}/fork",
    status_code=201,
    response_model=Chat,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, UsageLimited, Unprocessable),
    openapi_extra=REQUIRED,
    summary="Fork a chat",
)
async def fork_chat(
    chat: UUID,
    body: Annotated[Unread[ForkChat], body(ForkChat)],
    caller: Caller,
    by: By,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """A new root chat of the caller's, with copies of the messages up to `message_id`.

    It has its source's model, modes and files. Queue, pin, sharing, read mark, debug runs and costs stay behind; tool
    calls that have no result there get an error. A chat at work is forked as far as it is committed.
    """
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        source = await chats.load(session, caller, chat)
        require_creation(caller, source["organization_id"])
        asked = body.read()
        title = source["title"] if asked.title is None else metadata.presentable(asked.title)
        marked = from_rest(source["labels"]) if asked.labels is None else asked.labels
        labels.check(marked)
        content = await accept(session, caller, asked.content) if asked.content else []
        if content:
            await limits.require(session, caller, source["organization_id"])
        taken = await moves.cut(session, chat, asked.message_id)
        beginning = moves.Beginning(
            owner_id=caller.user_id,
            organization_id=source["organization_id"],
            title=title,
            labels=marked,
            client_type=source["client_type"],
            plan_mode=source["plan_mode"],
            mcp_server_ids=source["mcp_server_ids"],
            dynamic_tools=from_rest(source["dynamic_tools"]),
            content=content,
        )
        moved = await moves.fork(session, taken, beginning)
        audit.chat_created(session, moved.chat, by)
        warnings = await files.link(session, moved.chat["id"], content)
        used = await chats.files(session, moved.chat["id"])
        more = ({"files": used} if used else {}) | ({"warnings": warnings} if warnings else {})
        response = await once.keep(session, answer(chats.view(moved.chat, **more), 201))
    nudge(resources, moved, "woken")
    return response
