"""Messages of a chat, the messages that wait in its queue, and the stream log of running steps."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, SmallInteger, text
from sqlmodel import Field, SQLModel

from models.tables.rows import document, now

ROLES = ("system", "user", "assistant", "tool")
VISIBILITIES = ("user", "model", "both")


def _count() -> Any:
    return Field(default=None, sa_type=BigInteger, nullable=True)


def _sequence() -> Any:
    return Field(default=None, sa_type=BigInteger, primary_key=True, sa_column_args=[Identity(always=False)])


class Message(SQLModel, table=True):
    __tablename__ = "chat_messages"
    __table_args__ = (
        CheckConstraint(f"role IN {ROLES}", name="role"),
        CheckConstraint(f"visibility IN {VISIBILITIES}", name="visibility"),
        Index("ix_chat_messages_chat_id", "chat_id", "id"),
        Index("ix_chat_messages_revision", "chat_id", "revision"),
        Index(
            "ix_chat_messages_prompts",
            "chat_id",
            text("id DESC"),
            postgresql_where=text("role = 'user' AND NOT deleted AND visibility IN ('user', 'both')"),
        ),
        Index(
            "ix_chat_messages_boundary",
            "chat_id",
            text("id DESC"),
            postgresql_where=text("compressed AND visibility = 'model' AND NOT deleted"),
        ),
        # Rows come in the order of time, so a few bytes for each stretch of the table find those of a report.
        Index(
            "ix_chat_messages_created_at",
            "created_at",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
    )

    id: int = _sequence()
    chat_id: UUID = Field(foreign_key="chats.id", ondelete="CASCADE")
    role: str
    content: list[dict[str, Any]] = document("[]")
    content_version: int = Field(default=1, sa_type=SmallInteger, sa_column_kwargs={"server_default": "1"})
    visibility: str = Field(default="both", sa_column_kwargs={"server_default": "both"})
    compressed: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    deleted: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    copied: bool = Field(
        default=False,
        sa_column_kwargs={"server_default": text("false")},
        description="came with a fork or an import: what it used was paid for elsewhere",
    )
    revision: int = Field(sa_type=BigInteger)
    created_by: UUID | None = None
    model_config_id: UUID | None = Field(default=None, foreign_key="chat_model_configs.id")
    queued_message_id: int | None = Field(default=None, sa_type=BigInteger, description="the queue row it came from")
    input_tokens: int | None = _count()
    output_tokens: int | None = _count()
    total_tokens: int | None = _count()
    reasoning_tokens: int | None = _count()
    cache_creation_tokens: int | None = _count()
    cache_read_tokens: int | None = _count()
    context_limit: int | None = _count()
    total_cost_micros: int | None = _count()
    runtime_ms: int | None = _count()
    provider_response_id: str | None = None
    created_at: datetime = now()


class QueuedMessage(SQLModel, table=True):
    __tablename__ = "chat_queued_messages"
    __table_args__ = (Index("ix_chat_queued_messages_position", "chat_id", "position", "id"),)

    id: int = _sequence()
    chat_id: UUID = Field(foreign_key="chats.id", ondelete="CASCADE")
    content: list[dict[str, Any]] = document("[]")
    model_config_id: UUID | None = Field(default=None, foreign_key="chat_model_configs.id")
    position: int = Field(sa_type=BigInteger)
    created_by: UUID
    created_at: datetime = now()


class StreamPart(SQLModel, table=True):
    """One coalesced part of a running step. UNLOGGED: losing it loses a preview, never an answer."""

    __tablename__ = "stream_log"
    __table_args__ = (Index("ix_stream_log_created_at", "created_at"), {"prefixes": ["UNLOGGED"]})

    chat_id: UUID = Field(primary_key=True)
    history_version: int = Field(sa_type=BigInteger, primary_key=True)
    generation_attempt: int = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    role: str
    part: dict[str, Any] = document("{}")
    created_at: datetime = now()
