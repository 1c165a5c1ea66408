"""What is told about the pull requests that came out of chats (wire-api.md 2.18)."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

_RATE = Field(description="0 to 1")


class PRInsightsSummary(BaseModel):
    """The window, and (`prev_`) the one of equal length just before."""

    total_prs_created: int
    total_prs_merged: int
    merge_rate: float = _RATE
    total_additions: int
    total_deletions: int
    total_cost_micros: int
    cost_per_merged_pr_micros: int = Field(description="what the merged ones cost, by their number")
    approval_rate: float = Field(description="always 0")
    prev_total_prs_created: int
    prev_total_prs_merged: int
    prev_merge_rate: float = _RATE
    prev_cost_per_merged_pr_micros: int


class PRInsightsDay(BaseModel):
    """The pull requests of the chats that were created on a day, in UTC."""

    date: str = Field(examples=["2026-05-20"])
    prs_created: int
    prs_merged: int
    prs_closed: int


class PRInsightsModel(BaseModel):
    """The pull requests of the chats that one model answers in."""

    model_config_id: UUID
    display_name: str
    provider: str
    total_prs: int
    merged_prs: int
    merge_rate: float = _RATE
    total_additions: int
    total_deletions: int
    total_cost_micros: int
    cost_per_merged_pr_micros: int


class PRInsightsPullRequest(BaseModel):
    """One pull request, as the newest chat that has it knows it."""

    chat_id: UUID
    pr_title: str
    pr_url: str | None = None
    pr_number: int | None = None
    state: Literal["open", "merged", "closed"]
    draft: bool
    additions: int
    deletions: int
    changed_files: int
    commits: int | None = None
    approved: bool | None = None
    changes_requested: bool
    reviewer_count: int | None = None
    author_login: str | None = None
    author_avatar_url: str | None = None
    base_branch: str
    model_display_name: str
    cost_micros: int = Field(description="of all chats that have it, and of those below them without one of their own")
    created_at: AwareDatetime


class PRInsights(BaseModel):
    """How many pull requests came out of chats, what became of them, and what they cost."""

    summary: PRInsightsSummary
    time_series: list[PRInsightsDay] = Field(description="days on which there were any")
    by_model: list[PRInsightsModel] = Field(description="the most first")
    recent_prs: list[PRInsightsPullRequest] = Field(description="the newest 20, newest first")
