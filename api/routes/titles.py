"""Titles that a person asks a model for: a new one, or only a proposal."""

from datetime import datetime
from uuid import UUID

from starlette.responses import Response

from api.answers import answer
from api.caller import Caller
from api.errors import envelope, raises
from api.idempotency import Once, OnlyOnce
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas.chats import Chat
from api.schemas.titles import ProposedTitle
from models.errors import Conflict, Forbidden, NotFound, TurnstoneError, Unavailable, Unprocessable
from models.principal import Principal
from models.rules.states import Status
from models.steps import Naming, Note, TitleOutcome, TitleReply, TitleRequest
from models.store import chats, limits, titles

router = Router(tags=["titles"])

IN_PROGRESS = "Title regeneration already in progress for this chat."
REFUSALS = raises(Forbidden, NotFound, Conflict, Unprocessable, Unavailable, TurnstoneError)


@router.post("/{chat}/title/regenerate", response_model=Chat, responses=REFUSALS, summary="Give a chat a new title")
async def regenerate_title(chat: UUID, caller: Caller, once: OnlyOnce, resources: Opened) -> Response:
    """A model finds it from the whole conversation. Meanwhile the chat cannot be renamed, for a minute at most."""
    held = await _hold(resources, chat, caller, once, "Only the chat owner may regenerate the title.")
    if isinstance(held, Response):
        return held
    reply = await _seek(resources, TitleRequest(chat, Naming.REGENERATE, held.isoformat()), caller, held)
    match reply.outcome:
        case TitleOutcome.FAILED:
            return envelope(500, "Failed to regenerate chat title.", _why(reply.note))
        case TitleOutcome.LOST:
            raise Conflict(IN_PROGRESS)
    async with resources.database.begin() as session:
        row = await chats.load(session, caller, chat)
        return await once.keep(session, answer(chats.as_seen(caller, chats.view(row))))


@router.post(
    "/{chat}/title/propose", response_model=ProposedTitle, responses=REFUSALS, summary="Propose a title for a chat"
)
async def propose_title(chat: UUID, caller: Caller, once: OnlyOnce, resources: Opened) -> Response:
    """A model finds it from the whole conversation; the chat keeps the title it has."""
    held = await _hold(resources, chat, caller, once, "Only the chat owner may propose a title.")
    if isinstance(held, Response):
        return held
    reply = await _seek(resources, TitleRequest(chat, Naming.PROPOSE, held.isoformat()), caller, held)
    if reply.outcome is TitleOutcome.FAILED:
        return envelope(500, "Failed to generate chat title.", _why(reply.note))
    async with resources.database.begin() as session:
        found = await titles.words(session, chat, reply.charged) if reply.charged is not None else ""
        return await once.keep(session, answer({"title": found}))


async def _hold(
    resources: Resources, chat: UUID, caller: Principal, once: Once, owners_only: str
) -> datetime | Response:
    """The caller's hold on the title, or the answer that was given to the same request before."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await chats.load(session, caller, chat)
        chats.require_update(caller, row)
        if row["owner_id"] != caller.user_id:
            raise Forbidden(owners_only)
        # A chat that is about to begin its turn may be given its first title at any moment.
        held = None if row["status"] == Status.PENDING else await titles.hold(session, chat)
        if held is None:
            raise Conflict(IN_PROGRESS)
        await limits.require(session, caller, row["organization_id"], chat)
    return held


def _why(note: Note) -> str:
    kind = note.removeprefix("failed: ")
    return note.value if kind == note else f"The model failed: {kind.replace('_', ' ')}."


async def _seek(resources: Resources, request: TitleRequest, caller: Principal, held: datetime) -> TitleReply:
    """What a worker's search came to. Unless it saved a title, the hold on the old one ends here."""
    reply = None
    try:
        reply = await resources.temporal.title(request, caller.user_id)
    finally:
        if reply is None or reply.outcome is not TitleOutcome.SAVED:
            async with resources.database.begin() as session:
                await titles.release(session, request.chat_id, held)
    return reply
