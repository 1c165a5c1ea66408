"""Whom a chat is shared with: its owner says, and everybody who may read it sees (wire-api.md 8.5)."""

from typing import Annotated
from uuid import UUID

from starlette.responses import Response

from api.answers import answer, nothing
from api.author import By
from api.bodies import REQUIRED, Unread, body
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.requests import Router
from api.resources import Opened
from api.schemas.sharing import ChatACL, UpdateChatACL, view
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from models.principal import Principal
from models.store import chats, moves, sharing
from models.store.database import Row

router = Router(tags=["sharing"])


@router.get(
    "/{chat}/acl",
    response_model=ChatACL,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Read whom a chat is shared with",
)
async def get_chat_acl(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """Of a root chat; its sub-agent chats are shared as it is."""
    async with resources.database.read() as session:
        row, users, groups = await sharing.get(session, caller, chat)
    _require_shareable(caller, row)
    return answer(view(users, groups))


@router.patch(
    "/{chat}/acl",
    status_code=204,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Unprocessable),
    openapi_extra=REQUIRED,
    summary="Change whom a chat is shared with",
)
async def patch_chat_acl(
    chat: UUID,
    body: Annotated[Unread[UpdateChatACL], body(UpdateChatACL)],
    caller: Caller,
    by: By,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """For its owner and its organization's admins. Only reading can be shared, and only inside the organization."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await chats.load(session, caller, chat)
        _require_shareable(caller, row)
        if not caller.may_share_chat(row["owner_id"], row["organization_id"]):
            raise Forbidden
        asked = body.read()
        if sharing.names(asked.user_roles, caller.user_id):
            raise Invalid("Cannot change your own chat sharing role.")
        locked = await moves.lock(session, chat)
        await sharing.change(session, locked, asked.user_roles, asked.group_roles, by)
        return await once.keep(session, nothing())


def _require_shareable(caller: Principal, row: Row) -> None:
    if not caller.shares:
        raise Forbidden("Chat sharing is disabled for this deployment.")
    root = row["root_chat_id"] or row["parent_chat_id"]
    if root is not None:
        raise Invalid("Chat ACLs can only be set on root chats.", f"Target the root chat (id: {root}) instead.")
