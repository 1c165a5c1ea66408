"""The effect ledger: every tool call that we run, and what is known of what it did."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlmodel import Field, SQLModel

from models.tables.rows import document, moment, now

EXECUTION_STATES = ("planned", "claimed", "succeeded", "failed", "unknown")
POLICIES = ("pure", "idempotent", "probe", "once")


class ToolExecution(SQLModel, table=True):
    """One call of one assistant message. `claimed` means: it may be running now, or may have run."""

    __tablename__ = "tool_executions"
    __table_args__ = (
        CheckConstraint(f"state IN {EXECUTION_STATES}", name="state"),
        CheckConstraint(f"policy IN {POLICIES}", name="policy"),
        Index("ix_tool_executions_created_at", "created_at"),
    )

    chat_id: UUID = Field(foreign_key="chats.id", ondelete="CASCADE", primary_key=True)
    message_id: int = Field(
        sa_type=BigInteger, primary_key=True, description="the assistant message; an id of a call is unique in it only"
    )
    tool_call_id: str = Field(primary_key=True)
    tool_name: str
    policy: str
    state: str
    attempt: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    result: dict[str, Any] | None = document()
    progress: dict[str, Any] | None = document()
    created_at: datetime = now()
    claimed_at: datetime | None = moment()
    finished_at: datetime | None = moment()
