"""The branch and the pull request of a chat: what is known of them, and a way to tell it."""

from typing import Annotated
from uuid import UUID

from starlette.responses import Response

from api.answers import answer
from api.bodies import REQUIRED, Unread, body
from api.caller import Caller
from api.errors import raises
from api.requests import Router
from api.resources import Opened
from api.schemas.chats import ChatDiffStatus
from api.schemas.diffs import ChatDiffContents, ReportDiffStatus
from models.errors import Invalid, NotFound, Validation
from models.rules.search import address_fault
from models.store import chats, diffs, moves, scans

router = Router(tags=["diffs"])


@router.get(
    "/{chat}/diff",
    response_model=ChatDiffContents,
    responses=raises(NotFound),
    summary="Get where a chat's changes are",
)
async def get_diff(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """Branch, remote and pull request, as they were reported last; no git host is asked.

    For whoever may work in the chat's workspace, also what is changed there, as its agent saw it last.
    """
    async with resources.database.read() as session:
        _, found, seen = await chats.load_with(
            session, caller, chat, (diffs.OF_CHAT, {"chat": chat}), scans.asking(chat)
        )
        return answer(diffs.contents(chat, found[0] if found else None, scans.diff_for(caller, seen)))


@router.put(
    "/{chat}/diff-status",
    response_model=ChatDiffStatus,
    responses=raises(Invalid, NotFound),
    openapi_extra=REQUIRED,
    summary="Report a chat's pull request",
)
async def put_diff_status(
    chat: UUID, body: Annotated[Unread[ReportDiffStatus], body(ReportDiffStatus)], caller: Caller, resources: Opened
) -> Response:
    """For what watches the repository: it is shown with the chat, found by lists, and the owner's sidebar is told."""
    async with resources.database.begin() as session:
        chats.require_update(caller, await chats.load(session, caller, chat))
        asked = body.read()
        for name in ("url", "author_avatar_url"):
            fault = address_fault(name, getattr(asked, name) or "")
            if fault:
                raise Invalid(validations=[Validation(name, fault)])
        locked = await moves.lock(session, chat)
        row = await diffs.report(
            session, locked, asked.model_dump(), branch=asked.git_branch, origin=asked.git_remote_origin
        )
        return answer(diffs.view(chat, row))
