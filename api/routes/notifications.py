"""The notices that wait for the caller."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from api.answers import answer
from api.caller import AccountHolder
from api.errors import raises
from api.parameters import Absent
from api.requests import Router
from api.resources import Opened
from api.schemas.notifications import ChangedNotification, Inbox, SetReadStatus
from models.errors import Forbidden, Invalid, NotFound
from models.store import inbox
from models.store.inbox import ReadStatus

router = Router(tags=["notifications"])


@router.get("/inbox", response_model=Inbox, responses=raises(Invalid, Forbidden), summary="List one's own notices")
async def list_inbox_notifications(
    caller: AccountHolder,
    resources: Opened,
    read_status: Annotated[ReadStatus, Query()] = "all",
    starting_before: Annotated[UUID | None, Absent, Query(description="The last notice of the page before.")] = None,
) -> Response:
    """The newest 25, and how many are unread altogether."""
    async with resources.database.read() as session:
        found = await inbox.listed(session, caller.user_id, status=read_status, before=starting_before)
        return answer({"notifications": found, "unread_count": await inbox.unread(session, caller.user_id)})


@router.put(
    "/inbox/{notification}/read-status",
    response_model=ChangedNotification,
    responses=raises(Forbidden, NotFound),
    summary="Mark a notice as read or unread",
)
async def set_inbox_notification_read_status(
    notification: UUID, body: SetReadStatus, caller: AccountHolder, resources: Opened
) -> Response:
    """A read notice is deleted after a while."""
    async with resources.database.begin() as session:
        changed = await inbox.mark(session, caller.user_id, notification, read=body.is_read)
        return answer({"notification": changed, "unread_count": await inbox.unread(session, caller.user_id)})
