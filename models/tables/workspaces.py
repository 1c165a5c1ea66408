"""Workspaces, and the builds that start, stop and delete them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, UniqueConstraint, func, text
from sqlmodel import Field, SQLModel

from models.tables.rows import document, identity, moment, now

TRANSITIONS = ("start", "stop", "delete")
BUILD_STATES = ("pending", "running", "canceling", "succeeded", "failed", "canceled")
UNDER_WAY = ("pending", "running", "canceling")
REASONS = ("initiator", "chat", "prebuild", "autostop")


class Workspace(SQLModel, table=True):
    """A place to work in. One without an owner was built ahead for its preset, and waits to be claimed."""

    __tablename__ = "workspaces"
    __table_args__ = (
        Index(
            "uq_workspaces_owner_id_name_lower",
            "owner_id",
            func.lower(text("name")),
            unique=True,
            postgresql_where=text("NOT deleted"),
        ),
        Index("ix_workspaces_template_id", "template_id"),
        Index("ix_workspaces_organization_id", "organization_id"),
        Index(
            "ix_workspaces_prebuilt",
            "preset_id",
            postgresql_where=text("owner_id IS NULL AND NOT deleted"),
        ),
        Index(
            "ix_workspaces_deadline", "deadline_at", postgresql_where=text("deadline_at IS NOT NULL AND NOT deleted")
        ),
    )

    id: UUID = identity()
    owner_id: UUID | None = Field(default=None, foreign_key="users.id", ondelete="CASCADE")
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE")
    template_id: UUID = Field(foreign_key="templates.id")
    preset_id: UUID | None = Field(default=None, description="what it was built ahead for; stays when it is claimed")
    name: str
    ttl_ms: int | None = Field(default=None, sa_type=BigInteger)
    deadline_at: datetime | None = moment()
    deleted: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    last_used_at: datetime = now()
    created_at: datetime = now()
    updated_at: datetime = now()


class WorkspaceBuild(SQLModel, table=True):
    """One start, stop or deletion. At most one of a workspace is under way."""

    __tablename__ = "workspace_builds"
    __table_args__ = (
        UniqueConstraint("workspace_id", "build_number", name="uq_workspace_builds_workspace_id_build_number"),
        CheckConstraint(f"transition IN {TRANSITIONS}", name="transition"),
        CheckConstraint(f"status IN {BUILD_STATES}", name="status"),
        CheckConstraint(f"reason IN {REASONS}", name="reason"),
        Index(
            "uq_workspace_builds_under_way",
            "workspace_id",
            unique=True,
            postgresql_where=text(f"status IN {UNDER_WAY}"),
        ),
        Index("ix_workspace_builds_under_way", "created_at", postgresql_where=text(f"status IN {UNDER_WAY}")),
        Index("ix_workspace_builds_template_version_id", "template_version_id"),
    )

    id: UUID = identity()
    workspace_id: UUID = Field(foreign_key="workspaces.id", ondelete="CASCADE")
    template_version_id: UUID = Field(foreign_key="template_versions.id")
    preset_id: UUID | None = None
    build_number: int
    transition: str
    reason: str = Field(default="initiator", sa_column_kwargs={"server_default": "initiator"})
    status: str = Field(default="pending", sa_column_kwargs={"server_default": "pending"})
    initiator_id: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    parameters: dict[str, str] = document("{}")
    attempt: int = Field(default=0, sa_column_kwargs={"server_default": "0"}, description="fences its performers")
    state: dict[str, Any] | None = document()
    error: str = Field(default="", sa_column_kwargs={"server_default": ""})
    error_code: str = Field(default="", sa_column_kwargs={"server_default": ""})
    created_at: datetime = now()
    started_at: datetime | None = moment()
    completed_at: datetime | None = moment()


class WorkspaceBuildLog(SQLModel, table=True):
    """A line that a provisioner said."""

    __tablename__ = "workspace_build_logs"
    __table_args__ = (Index("ix_workspace_build_logs_build_id", "build_id", "id"),)

    id: int = Field(default=None, sa_type=BigInteger, primary_key=True, sa_column_args=[Identity(always=False)])
    build_id: UUID = Field(foreign_key="workspace_builds.id", ondelete="CASCADE")
    created_at: datetime = now()
    level: str = Field(default="info", sa_column_kwargs={"server_default": "info"})
    stage: str = Field(default="", sa_column_kwargs={"server_default": ""})
    output: str
