"""Outbound webhooks: who wants to be told what, and what became of each telling."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from models.tables.rows import document, identity, moment, now

DELIVERY_STATES = ("pending", "delivered", "failed")


def _empty() -> Any:
    return Field(default="", sa_column_kwargs={"server_default": ""})


class WebhookEndpoint(SQLModel, table=True):
    """Somebody's or an organization's URL. `events` empty means all of them; secrets are encrypted."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("(user_id IS NULL) <> (organization_id IS NULL)", name="holder"),
        Index("ix_webhook_endpoints_user_id", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        Index(
            "ix_webhook_endpoints_organization_id",
            "organization_id",
            postgresql_where=text("organization_id IS NOT NULL"),
        ),
    )

    id: UUID = identity()
    user_id: UUID | None = Field(default=None, foreign_key="users.id", ondelete="CASCADE")
    organization_id: UUID | None = Field(default=None, foreign_key="organizations.id", ondelete="CASCADE")
    created_by: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    url: str
    description: str = _empty()
    events: list[str] = Field(
        default_factory=list, sa_type=ARRAY(String), sa_column_kwargs={"server_default": text("'{}'")}
    )
    secret: str = Field(description="encrypted")
    previous_secret: str | None = Field(default=None, description="encrypted")
    previous_until: datetime | None = moment()
    enabled: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    disabled_reason: str = _empty()
    failing_since: datetime | None = moment()
    created_at: datetime = now()
    updated_at: datetime = now()


class WebhookDelivery(SQLModel, table=True):
    """One event for one endpoint. No foreign keys: a move that writes one must not fail for an endpoint that goes."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint(f"status IN {DELIVERY_STATES}", name="status"),
        Index("ix_webhook_deliveries_endpoint_id", "endpoint_id", text("id DESC")),
        Index("ix_webhook_deliveries_due_at", "due_at", postgresql_where=text("status = 'pending'")),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    id: int = Field(default=None, sa_type=BigInteger, primary_key=True, sa_column_args=[Identity(always=False)])
    endpoint_id: UUID
    event: str
    chat_id: UUID | None = None
    data: dict[str, Any] = document("{}")
    status: str = Field(default="pending", sa_column_kwargs={"server_default": "pending"})
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    due_at: datetime = now()
    status_code: int | None = None
    error: str = _empty()
    response: str = _empty()
    created_at: datetime = now()
    finished_at: datetime | None = moment()
