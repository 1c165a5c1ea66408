"""Entries of the audit log as those see them who audit."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from models.store.database import Row

_DONE = {"create": "created", "write": "updated", "delete": "deleted"}
_NAMES = {"ai_provider": "AI provider", "user_ai_provider_key": "a key of their own for AI provider"}


class AuditDiff(BaseModel):
    """What a field was and is; of a secret one neither is told."""

    old: Any
    new: Any
    secret: bool


class AuditUser(BaseModel):
    id: UUID
    username: str
    name: str
    email: str
    avatar_url: str


class AuditOrganization(BaseModel):
    id: UUID
    name: str
    display_name: str
    icon: str


class AuditLog(BaseModel):
    """Who did what to what. `diff` holds the fields that changed."""

    id: UUID
    time: AwareDatetime
    request_id: str = Field(description="The X-Request-Id of the answer; empty for what a background job did.")
    organization_id: UUID | None
    organization: AuditOrganization | None
    user: AuditUser | None = Field(description="A background job acts for the chat's owner, and says so.")
    action: str = Field(examples=["create", "write", "delete"])
    resource_type: str = Field(examples=["chat"])
    resource_id: UUID
    resource_target: str = Field(description="Of a chat the beginning of its id: titles may hold secrets.")
    resource_link: str
    is_deleted: bool
    diff: dict[str, AuditDiff]
    status_code: int
    additional_fields: dict[str, Any]
    description: str = Field(examples=["{user} updated chat {target}"])


class AuditLogs(BaseModel):
    audit_logs: list[AuditLog]
    count: int = Field(description="How many there are, up to 10000.")


def view(row: Row) -> dict[str, Any]:
    """AuditLog of a row of `trail.entries`."""
    user = organization = None
    if row["username"] is not None:
        user = {
            "id": row["user_id"],
            "username": row["username"],
            "name": row["user_name"],
            "email": row["email"],
            "avatar_url": row["avatar_url"],
        }
    if row["organization_name"] is not None:
        of = {name: row[f"organization_{name}"] for name in ("name", "display_name", "icon")}
        organization = {"id": row["organization_id"], **of}
    kind = row["resource_type"]
    same = ("id", "time", "request_id", "organization_id", "action", "resource_type", "resource_id", "resource_target")
    return {
        **{name: row[name] for name in same},
        "organization": organization,
        "user": user,
        "resource_link": f"/agents/{row['resource_id']}" if kind == "chat" else "",
        "is_deleted": row["is_deleted"],
        "diff": row["diff"],
        "status_code": row["status_code"],
        "additional_fields": row["details"],
        "description": f"{{user}} {_DONE.get(row['action'], row['action'])} {_NAMES.get(kind, kind)} {{target}}",
    }
