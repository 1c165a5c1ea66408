"""Budgets as clients send and see them. Money is micro-dollars: 1,000,000 are a US dollar."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.requests import Body
from api.schemas.call_config import Int64

Scope = Literal["organization", "group", "user", "chat"]
BudgetPeriod = Literal["day", "week", "month", "total"]


class Budget(BaseModel):
    """What may be spent at most, and how far that is: `settled + reserved` is kept within the limit."""

    id: UUID
    organization_id: UUID
    scope: Scope
    scope_id: UUID = Field(description="of the organization, group, user or root chat")
    scope_name: str | None = None
    limit_micros: int
    period: BudgetPeriod
    warn_percents: list[int]
    settled_micros: int = Field(description="what calls have cost, estimates among it")
    estimated_micros: int = Field(description="of that, what nobody told the price of: calls that were cut off")
    reserved_micros: int = Field(description="the worst case of the calls that are under way")
    overrun_micros: int = Field(description="by how much calls cost more than was reserved for them")
    remaining_micros: int
    period_start: datetime | None = None
    period_end: datetime | None = None
    created_at: datetime
    updated_at: datetime
    etag: str = Field(description="names limit, period and warnings, for If-Match; what is spent does not change it")


class SetBudget(Body):
    limit_micros: Int64 = Field(default=0, description="more than 0", examples=[50_000_000])
    period: str = Field(default="month", description="day, week, month (UTC) or total", examples=["month"])
    warn_percents: list[Int64] = Field(
        default_factory=lambda: [80, 95], description="of the limit, 1 to 100; at most 10", examples=[[80, 95]]
    )
