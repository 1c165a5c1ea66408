"""How long things are kept, as administrators see and set it (wire-api.md 6). Zero days are never."""

from pydantic import BaseModel, Field

from api.requests import Body
from api.schemas.call_config import Int64


class RetentionDays(BaseModel):
    retention_days: int


class SetRetentionDays(Body):
    """Archived chats are deleted after so many days, with files that no chat uses; 0 keeps them."""

    retention_days: Int64 = Field(default=0, examples=[30])


class DebugRetentionDays(BaseModel):
    debug_retention_days: int


class SetDebugRetentionDays(Body):
    """Debug runs are deleted after so many days; 0 keeps them as long as their chat."""

    debug_retention_days: Int64 = Field(default=0, examples=[30])


class AutoArchiveDays(BaseModel):
    auto_archive_days: int


class SetAutoArchiveDays(Body):
    """Chats in which nobody said anything for so many days are archived; 0 archives none."""

    auto_archive_days: Int64 = Field(default=0, examples=[90])


class AuditRetentionDays(BaseModel):
    audit_retention_days: int


class SetAuditRetentionDays(Body):
    """Absent means 0: entries are kept for ever."""

    audit_retention_days: Int64 = Field(default=0, examples=[365])
