"""What a chat's branch and pull request look like, as its git watcher last reported them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from models.tables.rows import moment, now

PULL_REQUEST_STATES = ("open", "merged", "closed")


def _zero() -> Any:
    return Field(default=0, sa_column_kwargs={"server_default": "0"})


def _empty() -> Any:
    return Field(default="", sa_column_kwargs={"server_default": ""})


def _no() -> Any:
    return Field(default=False, sa_column_kwargs={"server_default": text("false")})


class ChatDiffStatus(SQLModel, table=True):
    """At most one row a chat (admin.md 1.5). `updated_at` is the last change from outside, `stale_at` when to look."""

    __tablename__ = "chat_diff_statuses"
    __table_args__ = (
        CheckConstraint(f"pull_request_state IN {PULL_REQUEST_STATES}", name="pull_request_state"),
        Index("ix_chat_diff_statuses_stale_at", "stale_at"),
        Index("ix_chat_diff_statuses_url", text("lower(url)"), postgresql_where=text("url IS NOT NULL")),
        Index("ix_chat_diff_statuses_pr_number", "pr_number", postgresql_where=text("pr_number IS NOT NULL")),
    )

    chat_id: UUID = Field(primary_key=True, foreign_key="chats.id", ondelete="CASCADE")
    url: str | None = None
    pull_request_state: str | None = None
    pull_request_title: str = _empty()
    pull_request_draft: bool = _no()
    changes_requested: bool = _no()
    additions: int = _zero()
    deletions: int = _zero()
    changed_files: int = _zero()
    author_login: str | None = None
    author_avatar_url: str | None = None
    base_branch: str | None = None
    head_branch: str | None = None
    pr_number: int | None = None
    commits: int | None = None
    approved: bool | None = None
    reviewer_count: int | None = None
    git_branch: str = _empty()
    git_remote_origin: str = _empty()
    refreshed_at: datetime | None = moment()
    stale_at: datetime = now()
    created_at: datetime = now()
    updated_at: datetime = now()
