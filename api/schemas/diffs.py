"""What is told about the branch and the pull request of a chat, and what is known of them (wire-api.md 2.10, 2.11)."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.requests import Body

Count32 = Annotated[int, Field(ge=0, le=2**31 - 1)]
Short = Annotated[str, Field(max_length=500)]
Address = Annotated[str, Field(max_length=2000)]


class ReportDiffStatus(Body):
    """How the pull request looks now. Branch and remote stay as they are when they are empty; the rest is replaced."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://github.com/acme/site/pull/7",
                    "pull_request_state": "open",
                    "pull_request_title": "Mutex instead of a spin lock",
                    "additions": 40,
                    "deletions": 12,
                    "changed_files": 3,
                    "pr_number": 7,
                    "git_branch": "mutex",
                    "git_remote_origin": "https://github.com/acme/site.git",
                }
            ]
        }
    )

    url: Address | None = Field(default=None, description="Of the pull request: http or https.")
    pull_request_state: Literal["open", "merged", "closed"] | None = None
    pull_request_title: Short = ""
    pull_request_draft: bool = False
    changes_requested: bool = False
    additions: Count32 = 0
    deletions: Count32 = 0
    changed_files: Count32 = 0
    author_login: Short | None = None
    author_avatar_url: Address | None = None
    base_branch: Short | None = None
    head_branch: Short | None = None
    pr_number: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    commits: Count32 | None = None
    approved: bool | None = None
    reviewer_count: Count32 | None = None
    git_branch: Short = ""
    git_remote_origin: Address = ""


class ChatDiffContents(BaseModel):
    """Where the chat's changes are, and what they are, as far as it is known."""

    chat_id: UUID
    provider: str | None = Field(default=None, examples=["github"])
    remote_origin: str | None = None
    branch: str | None = None
    pull_request_url: str | None = None
    diff: str | None = Field(
        default=None,
        description="A unified diff of what is not committed in the workspace, for whoever may work there.",
    )
