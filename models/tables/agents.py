"""Workspace agents: who works in a workspace for us, what they are asked to do, and what came of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.rules.agents import LIFECYCLES
from models.tables.rows import document, identity, moment, now

JOB_STATES = ("queued", "delivered", "done", "canceled", "lost")


class WorkspaceAgent(SQLModel, table=True):
    """An agent of one build: the next build's is another, and this one's token is refused from then on."""

    __tablename__ = "workspace_agents"
    __table_args__ = (
        UniqueConstraint("build_id", "name", name="uq_workspace_agents_build_id_name"),
        Index("uq_workspace_agents_hashed_token", "hashed_token", unique=True),
        Index("ix_workspace_agents_workspace_id", "workspace_id"),
        CheckConstraint(f"lifecycle IN {LIFECYCLES}", name="lifecycle"),
    )

    id: UUID = identity()
    build_id: UUID = Field(foreign_key="workspace_builds.id", ondelete="CASCADE")
    workspace_id: UUID = Field(foreign_key="workspaces.id", ondelete="CASCADE")
    parent_id: UUID | None = None
    name: str
    display_order: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    hashed_token: bytes
    sealed_token: str = Field(description="encrypted, for the provisioner to hand on")
    directory: str = Field(default="", sa_column_kwargs={"server_default": ""})
    startup_script: str = Field(default="", sa_column_kwargs={"server_default": ""})
    environment: dict[str, str] = document("{}")
    external: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    connection_timeout_seconds: int = Field(default=120, sa_column_kwargs={"server_default": "120"})
    startup_timeout_seconds: int = Field(default=600, sa_column_kwargs={"server_default": "600"})
    lifecycle: str = Field(default="created", sa_column_kwargs={"server_default": "created"})
    started_at: datetime | None = moment()
    ready_at: datetime | None = moment()
    connection_id: UUID | None = Field(default=None, description="the newest connection; an older one is closed")
    facts: dict[str, Any] = document("{}")
    first_connected_at: datetime | None = moment()
    last_seen_at: datetime | None = moment()
    disconnected_at: datetime | None = moment()
    git: dict[str, Any] | None = document()
    created_at: datetime = now()


class WorkspaceAgentLog(SQLModel, table=True):
    """A line that a startup script said."""

    __tablename__ = "workspace_agent_logs"
    __table_args__ = (Index("ix_workspace_agent_logs_agent_id", "agent_id", "id"),)

    id: int = Field(default=None, sa_type=BigInteger, primary_key=True, sa_column_args=[Identity(always=False)])
    agent_id: UUID = Field(foreign_key="workspace_agents.id", ondelete="CASCADE")
    created_at: datetime = now()
    level: str = Field(default="info", sa_column_kwargs={"server_default": "info"})
    source: str = Field(default="", sa_column_kwargs={"server_default": ""})
    output: str


class AgentJob(SQLModel, table=True):
    """Something an agent is asked to do, once. `queued` was never sent; `delivered` may have happened."""

    __tablename__ = "agent_jobs"
    __table_args__ = (
        CheckConstraint(f"state IN {JOB_STATES}", name="state"),
        Index("ix_agent_jobs_open", "agent_id", "number", postgresql_where=text("state IN ('queued', 'delivered')")),
        Index("ix_agent_jobs_created_at", "created_at"),
        Index("ix_agent_jobs_chat_id", "chat_id"),
    )

    id: UUID = Field(primary_key=True, description="the caller's key: the same job is never made twice")
    number: int = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity(always=False)])
    agent_id: UUID = Field(foreign_key="workspace_agents.id", ondelete="CASCADE")
    chat_id: UUID | None = Field(default=None, foreign_key="chats.id", ondelete="CASCADE")
    kind: str
    request: dict[str, Any] = document("{}")
    state: str = Field(default="queued", sa_column_kwargs={"server_default": "queued"})
    cancel: bool = Field(
        default=False, sa_column_kwargs={"server_default": text("false")}, description="nobody waits for it any more"
    )
    result: dict[str, Any] | None = document()
    error: dict[str, Any] | None = document()
    created_at: datetime = now()
    delivered_at: datetime | None = moment()
    finished_at: datetime | None = moment()
