"""Groups as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from api.requests import Body
from api.schemas.people import Line
from api.schemas.views import NEVER
from models.store.database import Row


def _trimmed(value: str) -> str:
    return value.replace("\x00", "").strip()


GroupName = Annotated[str, StringConstraints(max_length=36), AfterValidator(_trimmed)]


class GroupMemberView(BaseModel):
    """A person in a group."""

    id: UUID
    username: str
    name: str
    email: str
    avatar_url: str
    status: str = Field(examples=["active"])
    login_type: str = Field(examples=["password"])
    created_at: datetime
    updated_at: datetime
    last_seen_at: datetime


class GroupView(BaseModel):
    """A group. Everyone's id is its organization's."""

    id: UUID
    name: str
    display_name: str
    organization_id: UUID
    organization_name: str
    organization_display_name: str
    members: list[GroupMemberView] = Field(description="Empty for those who may only share with the group.")
    total_member_count: int
    avatar_url: str
    quota_allowance: int = Field(description="always 0: there are no workspace quotas")
    source: str = Field(examples=["user"])


class CreateGroup(Body):
    name: GroupName = Field(default="", examples=["engineering"])
    display_name: Line = Field(default="", examples=["Engineering"])
    avatar_url: Line = ""


class UpdateGroup(Body):
    """What to change; an empty name keeps the old one."""

    name: GroupName | None = None
    display_name: Line | None = None
    avatar_url: Line | None = None
    add_users: list[UUID] = Field(default_factory=list, max_length=1000)
    remove_users: list[UUID] = Field(default_factory=list, max_length=1000)


def counted(row: Row) -> dict[str, Any]:
    """GroupView that does not tell who the members are, of a row of `groups.counted` or `groups.get`."""
    count = row["total_member_count"] if "total_member_count" in row else len(row["members"])
    return {**row, "members": [], "total_member_count": count, "quota_allowance": 0}


def view(row: Row) -> dict[str, Any]:
    """GroupView of a row of `groups.get`."""
    members = [{**each, "last_seen_at": each["last_seen_at"] or NEVER} for each in row["members"]]
    return {**row, "members": members, "total_member_count": len(members), "quota_allowance": 0}
