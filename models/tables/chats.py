"""Chats: who owns one, where it stands, and its versions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from models.tables.rows import document, identity, moment, now

STATUSES = ("waiting", "pending", "running", "interrupting", "requires_action", "error")


def _zero(big: bool = True) -> Any:
    if big:
        return Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    return Field(default=0, sa_column_kwargs={"server_default": "0"})


class Chat(SQLModel, table=True):
    """One conversation. Execution state (status … requires_action_deadline_at) is written by store.moves alone."""

    __tablename__ = "chats"
    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES}", name="status"),
        CheckConstraint("mode IN ('computer_use', 'explore')", name="mode"),
        CheckConstraint("plan_mode IN ('plan')", name="plan_mode"),
        CheckConstraint("client_type IN ('ui', 'api')", name="client_type"),
        Index(
            "ix_chats_owner_list",  # in the order of the list: pinned ones first
            "owner_id",
            "archived",
            text("(pin_order > 0) DESC"),
            text("(-pin_order) DESC"),
            text("updated_at DESC"),
            text("id DESC"),
            postgresql_where=text("parent_chat_id IS NULL"),
        ),
        Index("ix_chats_organization_id", "organization_id"),
        Index("ix_chats_workspace_id", "workspace_id", postgresql_where=text("workspace_id IS NOT NULL")),
        # Each move writes a row into every index that holds the chat: these hold the few that need them.
        Index("ix_chats_parent_chat_id", "parent_chat_id", postgresql_where=text("parent_chat_id IS NOT NULL")),
        Index("ix_chats_root_chat_id", "root_chat_id", postgresql_where=text("root_chat_id IS NOT NULL")),
        Index("ix_chats_labels", "labels", postgresql_using="gin", postgresql_where=text("labels <> '{}'")),
        # What others share, found by those it is shared with.
        Index("ix_chats_user_acl", "user_acl", postgresql_using="gin", postgresql_where=text("user_acl <> '{}'")),
        Index("ix_chats_group_acl", "group_acl", postgresql_using="gin", postgresql_where=text("group_acl <> '{}'")),
        Index("ix_chats_failed", "owner_id", postgresql_where=text("status = 'error'")),
        Index(
            "ix_chats_runnable",
            "updated_at",
            postgresql_where=text("status IN ('pending', 'running', 'interrupting')"),
        ),
        Index(
            "ix_chats_deadline",
            "requires_action_deadline_at",
            postgresql_where=text("status = 'requires_action'"),
        ),
        # Slots of running turns, and who waits for one.
        Index(
            "ix_chats_running",
            "organization_id",
            "owner_id",
            postgresql_where=text("status = 'running' AND parent_chat_id IS NULL"),
        ),
        Index(
            "ix_chats_capacity",
            "organization_id",
            "owner_id",
            "capacity_queued_at",
            postgresql_where=text("capacity_queued_at IS NOT NULL"),
        ),
        Index("ix_chats_archived_at", "archived_at", postgresql_where=text("archived")),
        Index(
            "ix_chats_idle",  # what may be archived for its age
            "created_at",
            postgresql_where=text("NOT archived AND pin_order = 0 AND parent_chat_id IS NULL"),
        ),
    )

    id: UUID = identity()
    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE")
    title: str = Field(default="New Chat", sa_column_kwargs={"server_default": "New Chat"})
    client_type: str = Field(default="api", sa_column_kwargs={"server_default": "api"})
    mode: str | None = None
    plan_mode: str | None = None
    parent_chat_id: UUID | None = Field(default=None, foreign_key="chats.id", ondelete="SET NULL")
    root_chat_id: UUID | None = Field(default=None, foreign_key="chats.id", ondelete="SET NULL")
    workspace_id: UUID | None = Field(default=None, foreign_key="workspaces.id", ondelete="SET NULL")
    build_id: UUID | None = Field(default=None, description="the build that was bound last; it may be gone")
    agent_id: UUID | None = Field(default=None, description="the agent that was dialled last; it may be gone")
    last_model_config_id: UUID = Field(foreign_key="chat_model_configs.id")
    mcp_server_ids: list[UUID] = Field(
        default_factory=list, sa_type=ARRAY(Uuid), sa_column_kwargs={"server_default": text("'{}'")}
    )
    labels: dict[str, str] = document("{}")
    pin_order: int = _zero(big=False)
    last_read_message_id: int | None = Field(default=None, sa_type=BigInteger)
    last_turn_summary: str | None = None
    title_locked_at: datetime | None = moment()
    spent_micros: int | None = Field(
        default=None,
        sa_type=BigInteger,
        sa_column_kwargs={"server_default": "0"},
        description="what its calls have cost; null is not added up yet",
    )
    dynamic_tools: list[dict[str, Any]] | None = document()
    user_acl: dict[str, Any] = document("{}")
    group_acl: dict[str, Any] = document("{}")
    created_at: datetime = now()
    updated_at: datetime = now()

    status: str = Field(default="waiting", sa_column_kwargs={"server_default": "waiting"})
    archived: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    archived_at: datetime | None = moment()
    last_error: dict[str, Any] | None = document()
    retry_state: dict[str, Any] | None = document()
    snapshot_version: int = _zero()
    history_version: int = _zero()
    queue_version: int = _zero()
    retry_state_version: int = _zero()
    generation_attempt: int = _zero(big=False)
    begun_by: UUID | None = Field(default=None, description="the worker that opened the attempt ahead of its run")
    requires_action_deadline_at: datetime | None = moment()
    capacity_queued_at: datetime | None = moment()
    compaction_requested_at: datetime | None = moment()
    compaction_rests: bool = Field(
        default=False,
        sa_column_kwargs={"server_default": text("false")},
        description="asked for in a chat at rest: nothing is answered after it",
    )
