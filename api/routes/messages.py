"""Messages of a chat: read them, say something, take something back."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from starlette.responses import Response

from api.answers import answer
from api.bodies import REQUIRED, Unread, body
from api.caller import Caller
from api.content import accept
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.parameters import Count, MessageCursor, RowId, row_id
from api.requests import Router
from api.resources import Opened
from api.routes.chats import require_plan_mode
from api.schemas.messages import ChatMessages, EditedMessage, EditMessage, SendMessage, SentMessage
from models.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound, Unprocessable, UsageLimited
from models.parts import Part
from models.principal import Principal
from models.rules import pages
from models.store import catalog, chats, files, limits, mcp_servers, messages, moves, queue
from models.store.moves import Locked, Moved
from models.store.session import Session

router = Router(tags=["messages"])


@router.get(
    "/{chat}/messages",
    response_model=ChatMessages,
    responses=raises(Invalid, NotFound),
    summary="Read a chat's messages",
)
async def list_messages(
    chat: UUID,
    caller: Caller,
    resources: Opened,
    before_id: MessageCursor = None,
    after_id: MessageCursor = None,
    limit: Annotated[Count, Query(description="1 to 200; absent means 50.")] = None,
) -> Response:
    """Newest first; with `after_id` alone oldest first. The queue comes with the page that has no cursor."""
    async with resources.database.read() as session:
        try:
            asked = pages.messages(before_id, after_id, limit)
        except Invalid:
            await chats.load(session, caller, chat)  # who may not see the chat is told just that
            raise
        queued = [] if asked.has_cursor else [queue.asking(chat)]
        _, rows, *waiting = await chats.load_with(session, caller, chat, messages.asking(chat, asked), *queued)
    return answer(
        {
            "messages": [messages.view(row) for row in rows[: asked.limit]],
            "queued_messages": [queue.view(row) for each in waiting for row in each],
            "has_more": len(rows) > asked.limit,
        }
    )


@router.post(
    "/{chat}/messages",
    response_model=SentMessage,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, UsageLimited, Unprocessable, Exhausted),
    openapi_extra=REQUIRED,
    summary="Send a message",
)
async def send_message(
    chat: UUID,
    body: Annotated[Unread[SendMessage], body(SendMessage)],
    caller: Caller,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """Stored at once when the chat is idle, queued while it is busy; `interrupt` also stops the running turn."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        locked = await moves.lock(session, chat)
        require_owner(caller, locked, "send messages", "Cannot send messages to an archived chat.")
        asked = body.read()
        content = await accept(session, caller, asked.content)
        servers = await mcp_servers.require(session, asked.mcp_server_ids)
        require_plan_mode(asked.plan_mode)
        if asked.busy_behavior not in ("", "queue", "interrupt"):
            raise Invalid("Invalid busy_behavior value.", 'Must be "queue" or "interrupt".')
        await limits.require(session, caller, locked.chat["organization_id"], chat)
        model = await _known_model(session, asked.model_config_id)
        moved = await moves.send(
            session,
            locked,
            content=content,
            sender_id=caller.user_id,
            model_config_id=model or locked.chat["last_model_config_id"],
            interrupt=asked.busy_behavior == "interrupt",
            queue_limit=resources.settings.queue_limit,
            metadata=_metadata(asked, servers, locked),
        )
        _require_model(asked.model_config_id, model)  # a full queue is told first; nothing is kept either way
        sent = _sent(moved) | await _linked(session, chat, content)
        response = await once.keep(session, answer(sent))
    nudge(resources, moved, "woken" if moved.queued is None else "message_queued")
    return response


@router.patch(
    "/{chat}/messages/{message}",
    response_model=EditedMessage,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, UsageLimited, Unprocessable),
    openapi_extra=REQUIRED,
    summary="Edit a user message",
)
async def edit_message(
    chat: UUID,
    message: RowId,
    body: Annotated[Unread[EditMessage], body(EditMessage)],
    caller: Caller,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """Takes back the message, what came after it and the queue, and runs the new text under a new message id."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        locked = await moves.lock(session, chat)
        require_owner(caller, locked, "edit messages", "Cannot edit messages in an archived chat.")
        message_id = row_id(message, "Invalid chat message ID.", "Message ID must be a positive integer.")
        asked = body.read()
        content = await accept(session, caller, asked.content)
        await limits.require(session, caller, locked.chat["organization_id"], chat)
        model = await _known_model(session, asked.model_config_id)
        moved = await moves.edit(
            session,
            locked,
            message_id,
            content=content,
            editor_id=caller.user_id,
            model_config_id=model,
        )
        _require_model(asked.model_config_id, model)  # what is wrong with the message is told first
        edited = {"message": messages.view(moved.messages[-1])} | await _linked(session, chat, content)
        response = await once.keep(session, answer(edited))
    nudge(resources, moved, "history_edited")
    return response


def _metadata(asked: SendMessage, servers: list[UUID], locked: Locked) -> dict[str, Any] | None:
    """What the message changes of its chat. The servers of a chat that explores are those that it began with."""
    metadata: dict[str, Any] = {}
    if asked.plan_mode is not None:
        metadata["plan_mode"] = asked.plan_mode or None
    if "mcp_server_ids" in asked.model_fields_set and locked.chat["mode"] != "explore":
        metadata["mcp_server_ids"] = servers
    return metadata or None


def require_owner(caller: Principal, locked: Locked, verb: str, archived: str) -> None:
    """Raise unless the caller may change the chat (NotFound), owns it (Forbidden) and it is not archived (Invalid).

    A turn runs with its owner's credentials, so nobody else may steer one (admin.md 3.4).
    """
    chats.require_update(caller, locked.chat)
    if locked.chat["owner_id"] != caller.user_id:
        raise Forbidden(f"Only the chat owner may {verb}.")
    if locked.chat["archived"]:
        raise Invalid(archived)


async def _known_model(session: Session, asked: UUID | None) -> UUID | None:
    return asked if asked is not None and await catalog.exists(session, asked) else None


def _require_model(asked: UUID | None, known: UUID | None) -> None:
    if asked != known:
        raise Invalid("Invalid model config ID.", f"There is no model config {asked}.")


async def _linked(session: Session, chat_id: UUID, content: Sequence[Part]) -> dict[str, Any]:
    warnings = await files.link(session, chat_id, content)
    return {"warnings": warnings} if warnings else {}


def _sent(moved: Moved) -> dict[str, Any]:
    if moved.queued is not None:
        return {"queued_message": queue.view(moved.queued), "queued": True}
    return {"message": messages.view(moved.messages[-1]), "queued": False}
