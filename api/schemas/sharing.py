"""With whom a chat is shared, as clients send and see it (wire-api.md 2.17)."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.requests import Body
from api.schemas.groups import GroupView
from models.store.database import Row

ROLE = Field(description="`read`; empty for an entry that grants something else.", examples=["read"])


class ChatUser(BaseModel):
    """A person that a chat is shared with."""

    id: UUID
    username: str
    name: str | None = Field(default=None, description="Absent when they gave none.")
    avatar_url: str | None = Field(default=None, description="Absent when they have none.")
    role: str = ROLE


class ChatGroup(GroupView):
    """A group that a chat is shared with; its members are counted, and not listed."""

    role: str = ROLE


class ChatACL(BaseModel):
    """Whom a chat is shared with; who is gone is left out."""

    users: list[ChatUser]
    groups: list[ChatGroup]


class UpdateChatACL(Body):
    """Whom to share a chat with, or no longer; who is not named stays as they are."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_roles": {"0198c0de-0000-7000-8000-000000000001": "read"}}]}
    )

    user_roles: dict[str, str] = Field(
        default_factory=dict, description="By user id: `read` grants reading, an empty role takes it away."
    )
    group_roles: dict[str, str] = Field(default_factory=dict, description="By group id, likewise.")


def view(users: list[Row], groups: list[Row]) -> dict[str, Any]:
    """The ChatACL of what `sharing.get` found."""
    return {
        "users": [{key: each for key, each in row.items() if each or key == "role"} for row in users],
        "groups": [{**row, "members": [], "quota_allowance": 0} for row in groups],
    }
