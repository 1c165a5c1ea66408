"""Spend limits, the audit log, and notices that wait for a person."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, text
from sqlmodel import Field, SQLModel

from models.tables.rows import document, identity, moment, now

PERIODS = ("day", "week", "month")
_GENESIS = text(r"'\x" + "00" * 32 + "'")


class UsageLimitConfig(SQLModel, table=True):
    """The one row that holds the deployment's default spend limit."""

    __tablename__ = "chat_usage_limit_config"
    __table_args__ = (
        CheckConstraint("singleton", name="singleton"),
        CheckConstraint(f"period IN {PERIODS}", name="period"),
        CheckConstraint("default_limit_micros >= 0", name="default_limit_micros"),
    )

    singleton: bool = Field(default=True, primary_key=True, sa_column_kwargs={"server_default": text("true")})
    enabled: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    default_limit_micros: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    period: str = Field(default="month", sa_column_kwargs={"server_default": "month"})
    updated_at: datetime = now()


class CapacityShare(SQLModel, table=True):
    """When an owner last began a turn while others of the organization waited for theirs."""

    __tablename__ = "capacity_shares"

    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE", primary_key=True)
    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    served_at: datetime = now()


class Spend(SQLModel, table=True):
    """What an owner spent on a day (UTC) in an organization: a running total of their messages' costs."""

    __tablename__ = "chat_spend"

    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    day: date = Field(primary_key=True)
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE", primary_key=True)
    spent_micros: int = Field(sa_type=BigInteger)


class AuditEntry(SQLModel, table=True):
    """Who did what to what. A background action has no user and says so in `details`."""

    __tablename__ = "audit_logs"
    __table_args__ = (
        Index("ix_audit_logs_time", text("time DESC"), text("id DESC")),
        Index("ix_audit_logs_resource_id", "resource_id"),
        *(
            Index(f"ix_audit_logs_{column}", column, text("time DESC"), text("id DESC"))
            for column in ("user_id", "organization_id", "resource_target")
        ),
        Index("ix_audit_logs_request_id", "request_id"),
        # What no request asked for has no address.
        Index("ix_audit_logs_ip", "ip", text("time DESC"), text("id DESC"), postgresql_where=text("ip <> ''")),
        # Most entries are of chats that went well: these cost them nothing, and they are found by time as fast.
        Index(
            "ix_audit_logs_resource_type",
            "resource_type",
            text("time DESC"),
            text("id DESC"),
            postgresql_where=text("resource_type <> 'chat'"),
        ),
        Index(
            "ix_audit_logs_action",
            "action",
            text("time DESC"),
            text("id DESC"),
            postgresql_where=text("action NOT IN ('create', 'write')"),
        ),
        Index(
            "ix_audit_logs_status_code",
            "status_code",
            text("time DESC"),
            text("id DESC"),
            postgresql_where=text("status_code NOT IN (200, 201, 204)"),
        ),
    )

    id: UUID = identity()
    time: datetime = now()
    organization_id: UUID | None = None
    user_id: UUID | None = None
    action: str
    resource_type: str
    resource_id: UUID
    resource_target: str = Field(default="", sa_column_kwargs={"server_default": ""})
    diff: dict[str, Any] = document("{}")
    details: dict[str, Any] = document("{}")
    status_code: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    request_id: str = Field(default="", sa_column_kwargs={"server_default": ""})
    ip: str = Field(default="", sa_column_kwargs={"server_default": ""})
    user_agent: str = Field(default="", sa_column_kwargs={"server_default": ""})


class AuditSeal(SQLModel, table=True):
    """An entry's place in the chain. A row of its own: entries are written once, and one that is gone is missed."""

    __tablename__ = "audit_seals"
    __table_args__ = (Index("ix_audit_seals_entry_id", "entry_id", unique=True),)

    position: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    entry_id: UUID
    hash: bytes


class AuditMark(SQLModel, table=True):
    """One row: up to where entries are sealed, and up to where the chain was cut off."""

    __tablename__ = "audit_mark"
    __table_args__ = (CheckConstraint("single", name="single"),)

    single: bool = Field(default=True, primary_key=True, sa_column_kwargs={"server_default": text("true")})
    position: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    hash: bytes = Field(default=bytes(32), sa_column_kwargs={"server_default": _GENESIS})
    time: datetime = Field(
        default=None,
        sa_type=DateTime(timezone=True),
        nullable=False,
        sa_column_kwargs={"server_default": text("'2000-01-01 00:00:00+00'")},
    )
    entry_id: UUID = Field(
        default=UUID(int=0), sa_column_kwargs={"server_default": text("'00000000-0000-0000-0000-000000000000'")}
    )
    cut_position: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    cut_hash: bytes = Field(default=bytes(32), sa_column_kwargs={"server_default": _GENESIS})


class InboxNotification(SQLModel, table=True):
    """A notice for one person, kept until it is read and old."""

    __tablename__ = "inbox_notifications"
    __table_args__ = (Index("ix_inbox_notifications_user_id", "user_id", text("created_at DESC"), text("id DESC")),)

    id: UUID = identity()
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    template: str
    title: str
    content: str
    details: dict[str, Any] = document("{}")
    created_at: datetime = now()
    read_at: datetime | None = moment()
