"""Usage, cost and spend limits as clients send and see them. Money is micro-dollars: 1,000,000 are a US dollar."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.requests import Body
from api.schemas.call_config import Int64
from models.rules.periods import PERIODS
from models.store.limits import Standing

NEVER = datetime(1, 1, 1, tzinfo=UTC)
PERIOD = Field(description=", ".join(PERIODS), examples=["month"])


class ChatCost(BaseModel):
    """What a whole family of chats cost; a chat inside it has its root's figures."""

    root_chat_id: UUID
    total_cost_micros: int
    priced_message_count: int
    unpriced_message_count: int = Field(description="messages with tokens, for which there was no price")


class Totals(BaseModel):
    total_cost_micros: int
    total_input_tokens: int
    total_output_tokens: int
    total_cache_read_tokens: int
    total_cache_creation_tokens: int
    total_runtime_ms: int


class ModelUsage(Totals):
    """What one model was used for; deleted ones are named as well."""

    model_config_id: UUID
    display_name: str
    provider: str
    model: str
    message_count: int


class FamilyUsage(Totals):
    """What one root chat used, with the chats below it."""

    root_chat_id: UUID
    chat_title: str
    message_count: int


class UsageLimitStatus(BaseModel):
    """How far a person is in the period that runs."""

    is_limited: bool
    period: str | None = PERIOD
    spend_limit_micros: int | None = None
    current_spend: int
    period_start: datetime
    period_end: datetime


class CostSummary(Totals):
    """What a person used from `start_date` to just before `end_date`."""

    start_date: datetime
    end_date: datetime
    priced_message_count: int
    unpriced_message_count: int
    by_model: list[ModelUsage]
    by_chat: list[FamilyUsage]
    usage_limit: UsageLimitStatus | None = None


class PersonUsage(Totals):
    user_id: UUID
    username: str
    name: str
    avatar_url: str
    message_count: int
    chat_count: int


class CostUsers(BaseModel):
    """Who used what, dearest first; `count` is of all pages."""

    start_date: datetime
    end_date: datetime
    count: int
    users: list[PersonUsage]


class UsageLimitConfig(BaseModel):
    """The deployment's default: null is no limit for anybody."""

    spend_limit_micros: int | None
    period: str = PERIOD
    updated_at: datetime


class UserOverride(BaseModel):
    """A limit of a single person's own."""

    user_id: UUID
    username: str
    name: str
    avatar_url: str
    spend_limit_micros: int


class GroupOverride(BaseModel):
    """A limit for each member of a group, on what they spend in its organization."""

    group_id: UUID
    group_name: str
    group_display_name: str
    group_avatar_url: str
    member_count: int
    spend_limit_micros: int


class UsageLimits(UsageLimitConfig):
    unpriced_model_count: int = Field(description="enabled models without prices: their use is not counted")
    overrides: list[UserOverride]
    group_overrides: list[GroupOverride]


class SetUsageLimit(Body):
    spend_limit_micros: Int64 | None = Field(default=None, description="null is no limit", examples=[50_000_000])
    period: str = Field(default="", description="day, week or month; needed with a limit", examples=["month"])


class SetOverride(Body):
    spend_limit_micros: Int64 = Field(default=0, description="more than 0", examples=[10_000_000])


def status(found: Standing | None) -> dict[str, Any]:
    """UsageLimitStatus of where somebody stands."""
    if found is None:
        return {"is_limited": False, "current_spend": 0, "period_start": NEVER, "period_end": NEVER}
    return {
        "is_limited": True,
        "period": found.period,
        "spend_limit_micros": found.limit_micros,
        "current_spend": found.spent_micros,
        "period_start": found.window.start,
        "period_end": found.window.end,
    }
