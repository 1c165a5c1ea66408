"""Entries of the audit log as those see them who audit."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from models.store.database import Row

_DONE = {
    "create": "created",
    "write": "updated",
    "delete": "deleted",
    "login": "logged in:",
    "logout": "logged out:",
    "use": "used",
    "build": "began a build of",
    "cancel": "canceled",
    "activate": "activated",
    "suspend": "suspended",
    "rotate": "changed the secret of",
    "replay": "sent again an event to",
}
_NAMES = {
    "ai_provider": "AI provider",
    "ai_provider_key": "a key of AI provider",
    "user_ai_provider_key": "a key of their own for AI provider",
}


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
    ip: str = Field(description="Where the request came from; empty for what a background job did.")
    user_agent: str
    additional_fields: dict[str, Any]
    description: str = Field(examples=["{user} updated chat {target}"])


class AuditLogs(BaseModel):
    audit_logs: list[AuditLog]
    count: int = Field(description="How many there are, up to 10000.")


class ExportedEntry(BaseModel):
    """A line of the export: an entry as it is hashed, and its place in the chain; null while it has none yet."""

    id: UUID
    time: AwareDatetime
    organization_id: UUID | None
    user_id: UUID | None
    action: str
    resource_type: str
    resource_id: UUID
    resource_target: str
    diff: dict[str, AuditDiff]
    additional_fields: dict[str, Any]
    status_code: int
    request_id: str
    ip: str
    user_agent: str
    position: int | None
    hash: str | None


class ChainEnd(BaseModel):
    """A place of the chain and the hash there."""

    position: int
    hash: str


class ChainLine(BaseModel):
    """A line of the chain: `begin` once, `seal` for each place, `entry` for what has none, `end` once."""

    kind: str = Field(examples=["begin", "seal", "entry", "end"])
    cut: ChainEnd | None = Field(default=None, description="Up to here the log was deleted by its retention.")
    head: ChainEnd | None = Field(default=None, description="The last place, as the service knows it.")
    head_time: AwareDatetime | None = None
    head_id: UUID | None = None
    position: int | None = None
    hash: str | None = None
    entry_id: UUID | None = None
    entry: dict[str, Any] | None = Field(default=None, description="Null: it is not there.")


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
    what = _NAMES.get(kind, kind.replace("_", " "))
    same = (
        "id",
        "time",
        "request_id",
        "ip",
        "user_agent",
        "organization_id",
        "action",
        "resource_type",
        "resource_id",
        "resource_target",
    )
    return {
        **{name: row[name] for name in same},
        "organization": organization,
        "user": user,
        "resource_link": f"/agents/{row['resource_id']}" if kind == "chat" else "",
        "is_deleted": row["is_deleted"],
        "diff": row["diff"],
        "status_code": row["status_code"],
        "additional_fields": row["details"],
        "description": f"{{user}} {_DONE.get(row['action'], row['action'])} {what} {{target}}",
    }
