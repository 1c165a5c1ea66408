"""Web push: the key that this deployment signs with, the browsers that want to be told, and what is on its way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Identity, Index, text
from sqlmodel import Field, SQLModel

from models.tables.rows import identity, now

KINDS = ("finished", "failed", "action", "notice", "test")


class WebPushKeys(SQLModel, table=True):
    """One row: browsers subscribe to the public key, so it is never another one."""

    __tablename__ = "webpush_keys"
    __table_args__ = (CheckConstraint("single", name="single"),)

    single: bool = Field(
        default=True, sa_type=Boolean, primary_key=True, sa_column_kwargs={"server_default": text("true")}
    )
    public_key: str
    private_key: str = Field(description="encrypted")
    created_at: datetime = now()


class WebPushSubscription(SQLModel, table=True):
    """A browser of somebody's. Whoever knows its endpoint may write to it, so it is a secret; found by its digest."""

    __tablename__ = "webpush_subscriptions"

    id: UUID = identity()
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    endpoint_digest: str = Field(unique=True)
    endpoint: str = Field(description="encrypted")
    p256dh_key: str
    auth_key: str = Field(description="encrypted")
    created_at: datetime = now()


class WebPushDelivery(SQLModel, table=True):
    """Something to be told to one browser, until it was: what exactly, is read as it is sent.

    The subject is a chat, whose end this was if its history is still of that version, or a notice. No foreign keys: a
    move that writes one must not fail for a browser that goes.
    """

    __tablename__ = "webpush_deliveries"
    __table_args__ = (
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        Index("ix_webpush_deliveries_due_at", "due_at"),
    )

    id: int = Field(default=None, sa_type=BigInteger, primary_key=True, sa_column_args=[Identity(always=False)])
    subscription_id: UUID
    kind: str
    subject_id: UUID | None = None
    history_version: int | None = Field(default=None, sa_type=BigInteger)
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    due_at: datetime = now()
    created_at: datetime = now()
