"""Notices for a person as they see them."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from api.requests import Body


class InboxNotification(BaseModel):
    """A notice; `details` holds its content as data."""

    id: UUID
    user_id: UUID
    template: str
    title: str
    content: str
    details: dict[str, Any]
    read_at: AwareDatetime | None
    created_at: AwareDatetime


class Inbox(BaseModel):
    notifications: list[InboxNotification]
    unread_count: int


class SetReadStatus(Body):
    """Tick a notice off, or on again."""

    is_read: bool = Field(default=False, examples=[True])


class ChangedNotification(BaseModel):
    notification: InboxNotification
    unread_count: int
