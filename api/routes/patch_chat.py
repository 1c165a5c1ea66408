"""Changes of a chat that are no turn: name, labels, archive, pin, plan mode; and what was asked in it before."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.responses import Response

from api.answers import answer, nothing
from api.author import By
from api.bodies import REQUIRED, Unread, body
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.parameters import Count
from api.requests import Router
from api.resources import Opened
from api.routes.chats import require_plan_mode
from api.schemas.parts import NO_ID
from api.schemas.patch_chat import Prompts, UpdateChat
from models.errors import Conflict, Invalid, NotFound, Unprocessable
from models.principal import Principal
from models.store import audit, bindings, chats, metadata, moves, pins, prompts
from models.store.moves import Locked, Moved
from models.store.session import Session

router = Router(tags=["chats"])


@router.patch(
    "/{chat}",
    status_code=204,
    responses=raises(Invalid, NotFound, Conflict, Unprocessable),
    openapi_extra=REQUIRED,
    summary="Change a chat",
)
async def patch_chat(
    chat: UUID,
    body: Annotated[Unread[UpdateChat], body(UpdateChat)],
    caller: Caller,
    by: By,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """All of what is given, or nothing. Archiving stops running turns hard; their partial answers are kept."""
    moved: list[Moved] = []
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        chats.require_update(caller, await chats.load(session, caller, chat))
        asked = body.read()
        require_plan_mode(asked.plan_mode)
        # What more than one chat hangs on is locked first, and always in this order.
        if asked.pin_order is not None:
            await pins.hold(session, chat)
        if asked.archived is not None:
            await moves.hold_family(session, chat)
        locked = await moves.lock(session, chat)
        audit.chat_changed(session, dict(locked.chat), by)
        if asked.title is not None:
            await metadata.rename(session, locked, asked.title)
        if asked.labels is not None:
            await metadata.label(session, locked, asked.labels)
        if asked.archived is not None:
            moved = await (moves.archive if asked.archived else moves.unarchive)(session, chat)
            locked.chat |= moved[0].chat
        if asked.pin_order is not None:
            await pins.pin(session, locked, asked.pin_order)
        if asked.workspace_id is not None:
            await _bind(session, caller, locked, asked.workspace_id)
        if asked.plan_mode is not None:
            await metadata.set_plan_mode(session, locked, asked.plan_mode or None)
        response = await once.keep(session, nothing())
    for each in moved:
        nudge(resources, each, "interrupt_requested")
    return response


@router.get(
    "/{chat}/prompts",
    response_model=Prompts,
    responses=raises(Invalid, NotFound),
    summary="Read what was asked",
)
async def list_prompts(
    chat: UUID,
    caller: Caller,
    resources: Opened,
    limit: Annotated[Count, Query(description="0 to 2000; 0 or absent means 500.")] = None,
) -> Response:
    """The text of the chat's user messages, newest first; those without words are left out."""
    async with resources.database.read() as session:
        if (limit or 0) > prompts.MAX_LIMIT:
            await chats.load(session, caller, chat)  # who may not see the chat is told just that
            raise Invalid(f"Invalid limit parameter (0-{prompts.MAX_LIMIT}).")
        _, rows = await chats.load_with(session, caller, chat, prompts.asking(chat, limit or 0))
        return answer({"prompts": [prompts.view(row) for row in rows]})


async def _bind(session: Session, caller: Principal, locked: Locked, workspace_id: UUID) -> None:
    """Have the chat work in this workspace, or, for no id, in none; raises Invalid."""
    if workspace_id == NO_ID:
        await bindings.attach(session, locked.id, None)
        return
    elsewhere = "Workspace does not belong to this chat's organization."
    await bindings.require_entry(session, caller, workspace_id, locked.chat["organization_id"], elsewhere)
    await bindings.attach(session, locked.id, workspace_id)
