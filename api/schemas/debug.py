"""Debug runs and their switches as clients see and send them (wire-api.md 2.14, 6)."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from api.requests import Body

RunKind = Literal["chat_turn", "title_generation", "quickgen", "compaction"]
DebugStatus = Literal["in_progress", "completed", "error", "interrupted"]


class ChatDebugRunSummary(BaseModel):
    """A turn, or another use of a model for the chat, in short."""

    id: UUID
    chat_id: UUID
    kind: RunKind
    status: DebugStatus
    provider: str | None = None
    model: str | None = None
    summary: dict[str, Any] = Field(description="`label`: what began it; counts of steps, attempts and tokens")
    started_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class ChatDebugStep(BaseModel):
    """One model call, with its repetitions."""

    id: UUID
    run_id: UUID
    chat_id: UUID
    step_number: int
    operation: Literal["stream", "generate"]
    status: DebugStatus
    history_tip_message_id: int | None = Field(default=None, description="the newest message that it built on")
    assistant_message_id: int | None = None
    normalized_request: dict[str, Any]
    normalized_response: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] = Field(description="HTTP requests and answers; without credentials, and bounded")
    error: dict[str, Any] | None = None
    metadata: dict[str, Any]
    started_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class ChatDebugRun(ChatDebugRunSummary):
    """A run with its steps."""

    root_chat_id: UUID | None = None
    parent_chat_id: UUID | None = None
    model_config_id: UUID | None = None
    trigger_message_id: int | None = None
    history_tip_message_id: int | None = None
    steps: list[ChatDebugStep]


class DebugLogging(BaseModel):
    """Who may record model calls."""

    allow_users: bool
    forced_by_deployment: bool = Field(description="every chat is recorded, whatever anybody chose")


class SetDebugLogging(Body):
    """Open or close the gate for people's own switches."""

    allow_users: bool = Field(default=False, examples=[True])


class UserDebugLogging(BaseModel):
    """Whether one's own chats are recorded."""

    debug_logging_enabled: bool
    user_toggle_allowed: bool
    forced_by_deployment: bool


class SetUserDebugLogging(Body):
    """Switch recording of one's own chats on or off."""

    debug_logging_enabled: bool = Field(default=False, examples=[True])
