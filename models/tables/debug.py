"""Debug runs: what was said to models and what they answered, kept for a while where an owner or admin wants it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.tables.rows import document, identity, moment, now

RUN_KINDS = ("chat_turn", "title_generation", "quickgen", "compaction")
RUN_STATES = ("in_progress", "completed", "error", "interrupted")
OPERATIONS = ("stream", "generate")


class DebugRun(SQLModel, table=True):
    __tablename__ = "chat_debug_runs"
    __table_args__ = (
        CheckConstraint(f"kind IN {RUN_KINDS}", name="kind"),
        CheckConstraint(f"status IN {RUN_STATES}", name="status"),
        UniqueConstraint("id", "chat_id", name="uq_chat_debug_runs_id_chat_id"),
        Index("ix_chat_debug_runs_chat_id_started_at", "chat_id", text("started_at DESC")),
        Index("ix_chat_debug_runs_stale", "updated_at", postgresql_where=text("finished_at IS NULL")),
        Index("ix_chat_debug_runs_updated_at", "updated_at"),
    )

    id: UUID = identity()
    chat_id: UUID = Field(foreign_key="chats.id", ondelete="CASCADE")
    root_chat_id: UUID | None = None
    parent_chat_id: UUID | None = None
    model_config_id: UUID | None = None
    trigger_message_id: int | None = Field(default=None, sa_type=BigInteger)
    history_tip_message_id: int | None = Field(default=None, sa_type=BigInteger)
    kind: str
    status: str
    provider: str | None = None
    model: str | None = None
    summary: dict[str, Any] = document("{}")
    started_at: datetime = now()
    updated_at: datetime = now()
    finished_at: datetime | None = moment()


class DebugStep(SQLModel, table=True):
    __tablename__ = "chat_debug_steps"
    __table_args__ = (
        CheckConstraint(f"operation IN {OPERATIONS}", name="operation"),
        CheckConstraint(f"status IN {RUN_STATES}", name="status"),
        UniqueConstraint("run_id", "step_number", name="uq_chat_debug_steps_run_id_step_number"),
        ForeignKeyConstraint(
            ["run_id", "chat_id"],
            ["chat_debug_runs.id", "chat_debug_runs.chat_id"],
            name="fk_chat_debug_steps_run_id_chat_id",
            ondelete="CASCADE",
        ),
        Index(
            "ix_chat_debug_steps_assistant_message_id",
            "assistant_message_id",
            postgresql_where=text("assistant_message_id IS NOT NULL"),
        ),
    )

    id: UUID = identity()
    run_id: UUID
    chat_id: UUID
    step_number: int
    operation: str
    status: str
    history_tip_message_id: int | None = Field(default=None, sa_type=BigInteger)
    assistant_message_id: int | None = Field(default=None, sa_type=BigInteger)
    normalized_request: dict[str, Any] = document("{}")
    normalized_response: dict[str, Any] | None = document()
    usage: dict[str, Any] | None = document()
    attempts: list[dict[str, Any]] = document("[]")
    error: dict[str, Any] | None = document()
    details: dict[str, Any] = document("{}")  # `metadata` on the wire; SQLModel keeps that name for itself
    started_at: datetime = now()
    updated_at: datetime = now()
    finished_at: datetime | None = moment()
