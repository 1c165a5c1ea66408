"""Answers kept for a while, so that a repeated request gets the first one's answer."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from models.tables.rows import now


class IdempotencyKey(SQLModel, table=True):
    """A request seen under an Idempotency-Key; `status` is null while it is still running."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: bytes = Field(description="SHA-256 of method, path and body")
    status: int | None = None
    headers: str | None = None
    body: bytes | None = None
    created_at: datetime = now()
