"""Have a chat summarised now."""

from uuid import UUID

from starlette.responses import Response

from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.requests import Router
from api.resources import Opened
from api.routes.messages import require_owner
from api.schemas.chats import Chat
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from models.store import chats, moves

router = Router(tags=["turns"])


@router.post(
    "/{chat}/compact",
    response_model=Chat,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Unprocessable),
    summary="Summarise a chat's history",
)
async def compact_chat(chat: UUID, caller: Caller, once: OnlyOnce, resources: Opened) -> Response:
    """Owner only. From then on the model sees the summary; people still see every message.

    409 while a turn runs or waits, and when nothing was answered since the last summary. A chat whose last turn failed
    goes on to answer what that turn owes.
    """
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        locked = await moves.lock(session, chat)
        require_owner(caller, locked, "compact a chat", "Cannot compact an archived chat.")
        moved = await moves.request_compaction(session, locked)
        shown = chats.as_seen(caller, chats.view(await chats.inherit(session, moved.chat)))
        response = await once.keep(session, answer(shown))
    nudge(resources, moved, "woken")
    return response
