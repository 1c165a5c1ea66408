"""Budgets, what of each is spent and reserved in a period, and the model calls that money is reserved for."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, Integer, Numeric, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from models.tables.rows import identity, now

SCOPES = ("organization", "group", "user", "chat")
PERIODS = ("day", "week", "month", "total")
KINDS = ("step", "compaction", "aside")


def _micros() -> Any:
    return Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class Budget(SQLModel, table=True):
    """What may be spent at most on an organization's chats: on all, a group's, a person's, or one family's.

    `scope_id` is the id of the organization, group, user or root chat; Everyone has its organization's id.
    """

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint(f"scope IN {SCOPES}", name="scope"),
        CheckConstraint(f"period IN {PERIODS}", name="period"),
        CheckConstraint("limit_micros > 0", name="limit_micros"),
        UniqueConstraint("organization_id", "scope", "scope_id", name="uq_budgets_organization_id_scope_scope_id"),
        Index("ix_budgets_scope_id", "scope_id"),
    )

    id: UUID = identity()
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE")
    scope: str
    scope_id: UUID
    limit_micros: int = Field(sa_type=BigInteger)
    period: str = Field(default="month", sa_column_kwargs={"server_default": "month"})
    warn_percents: list[int] = Field(
        default_factory=list, sa_type=ARRAY(Integer), sa_column_kwargs={"server_default": text("'{80,95}'")}
    )
    created_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = now()
    updated_at: datetime = now()


class BudgetPeriod(SQLModel, table=True):
    """What came of a budget in one period. `settled_micros` includes what was only estimated.

    `overrun_micros` is by how much calls cost more than was reserved for them.
    """

    __tablename__ = "budget_periods"
    __table_args__ = (
        CheckConstraint("settled_micros >= 0", name="settled_micros"),
        CheckConstraint("reserved_micros >= 0", name="reserved_micros"),
    )

    budget_id: UUID = Field(foreign_key="budgets.id", ondelete="CASCADE", primary_key=True)
    starts_on: date = Field(primary_key=True)
    settled_micros: int = _micros()
    reserved_micros: int = _micros()
    estimated_micros: int = _micros()
    overrun_micros: int = _micros()
    warned_percent: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class BudgetReservation(SQLModel, table=True):
    """Money for a model call that is under way: settling it deletes the row.

    No foreign keys: whatever goes, what is reserved must be found and given back.
    """

    __tablename__ = "budget_reservations"
    __table_args__ = (
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        Index("ix_budget_reservations_chat_id", "chat_id"),
        Index("ix_budget_reservations_created_at", "created_at"),
    )

    id: UUID = identity()
    chat_id: UUID
    kind: str
    history_version: int = Field(sa_type=BigInteger)
    generation_attempt: int
    amount_micros: int = Field(sa_type=BigInteger)
    prompt_micros: int = Field(sa_type=BigInteger)
    output_price: Decimal = Field(sa_type=Numeric)
    budget_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    starts_on: list[date] = Field(sa_column=Column(ARRAY(Date), nullable=False))
    created_at: datetime = now()
