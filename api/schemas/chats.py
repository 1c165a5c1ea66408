"""What is said about chats, and what may be asked when one is created (wire-api.md 2.1, 2.9, 2.10, 3.1)."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.requests import Body
from api.schemas.parts import NO_ID, InputPart

ChatStatus = Literal["waiting", "pending", "running", "interrupting", "requires_action", "error"]
ErrorKind = Literal[
    "generic",
    "overloaded",
    "rate_limit",
    "timeout",
    "stream_silence_timeout",
    "auth",
    "config",
    "usage_limit",
    "missing_key",
    "provider_disabled",
    "content_filter",
]

_CHAT: dict[str, Any] = {
    "id": "0199c0de-7a3b-7c11-9d2f-5b8f2a6f0c01",
    "organization_id": "0199c0de-0000-7000-8000-000000000001",
    "owner_id": "0199c0de-0b1e-7d5c-8a55-1f2e3d4c5b6a",
    "owner_username": "ada",
    "root_chat_id": "0199c0de-7a3b-7c11-9d2f-5b8f2a6f0c01",
    "last_model_config_id": "0199c0de-11aa-7e0f-b0c4-9a8b7c6d5e4f",
    "title": "Explain how a mutex works.",
    "status": "pending",
    "last_turn_summary": "Explained mutexes",
    "created_at": "2026-05-20T10:00:00.25Z",
    "updated_at": "2026-05-20T10:00:00.25Z",
    "archived": False,
    "shared": False,
    "pin_order": 0,
    "mcp_server_ids": [],
    "labels": {},
    "has_unread": False,
    "client_type": "api",
    "children": [],
}


class ChatError(BaseModel):
    """Why a turn ended without an answer."""

    message: str
    detail: str | None = None
    kind: ErrorKind | None = None
    provider: str | None = None
    retryable: bool
    status_code: int | None = Field(default=None, description="HTTP status of the provider, where known.")


class ChatDiffStatus(BaseModel):
    """The pull request or branch that belongs to a chat; zero values when there is none."""

    chat_id: UUID
    url: str | None = Field(default=None, description="Of the pull request; without one, of the branch.")
    pull_request_state: Literal["open", "merged", "closed"] | None = None
    pull_request_title: str
    pull_request_draft: bool
    changes_requested: bool
    additions: int
    deletions: int
    changed_files: int
    author_login: str | None = None
    author_avatar_url: str | None = None
    base_branch: str | None = None
    head_branch: str | None = None
    pr_number: int | None = None
    commits: int | None = None
    approved: bool | None = None
    reviewer_count: int | None = None
    refreshed_at: AwareDatetime | None = None
    stale_at: AwareDatetime | None = Field(default=None, description="When it should be looked at again.")


class SearchMatch(BaseModel):
    """A message that says what was sought."""

    message_id: int
    snippet: str = Field(
        description="HTML: what was sought is in `<mark>`, all else is escaped.",
        examples=["how a <mark>mutex</mark> works &amp; when"],
    )


class ChatFileMetadata(BaseModel):
    """A file that belongs to a chat."""

    id: UUID
    owner_id: UUID
    organization_id: UUID
    name: str
    mime_type: str
    created_at: AwareDatetime


class Chat(BaseModel):
    """A conversation: where it stands, and what it is called."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CHAT]})

    id: UUID
    organization_id: UUID
    owner_id: UUID
    owner_username: str | None = None
    owner_name: str | None = None
    workspace_id: UUID | None = Field(default=None, description="Where it works.")
    build_id: UUID | None = Field(default=None, description="The build of the workspace that it worked with last.")
    agent_id: UUID | None = Field(default=None, description="The agent in the workspace that it worked with last.")
    parent_chat_id: UUID | None = Field(default=None, description="Set on sub-agent chats.")
    root_chat_id: UUID
    last_model_config_id: UUID
    title: str
    status: ChatStatus
    queued_for_capacity: bool | None = Field(
        default=None, description="It is pending because as many turns run as may: its owner's, or the organization's."
    )
    plan_mode: Literal["plan"] | None = None
    mode: Literal["explore", "computer_use"] | None = Field(
        default=None, description="Set on sub-agent chats that only look around, or drive a desktop."
    )
    last_error: ChatError | None = None
    last_turn_summary: str | None
    diff_status: ChatDiffStatus | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    archived: bool
    shared: bool
    pin_order: int = Field(description="0 is not pinned.")
    mcp_server_ids: list[UUID]
    labels: dict[str, str]
    files: list[ChatFileMetadata] | None = None
    has_unread: bool = Field(description="Computed in lists and for children only.")
    warnings: list[str] | None = None
    client_type: Literal["ui", "api"]
    search_match: SearchMatch | None = Field(default=None, description="In lists with `search:` only.")
    children: list["Chat"]


class DynamicTool(Body):
    """A tool that the client itself will run. One that has the name of a built-in tool is not offered."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["name"],
            "examples": [
                {
                    "name": "get_weather",
                    "description": "The weather in a city.",
                    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
                }
            ],
        }
    )

    name: str = Field(default="", description="Unique in the list.", json_schema_extra={"minLength": 1})
    description: str = ""
    input_schema: Any = Field(default=None, description="JSON schema of the arguments, an object.")


class CreateChat(Body):
    """Begin a chat with its first message."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["organization_id", "content"],
            "examples": [
                {
                    "organization_id": _CHAT["organization_id"],
                    "content": [{"type": "text", "text": "Explain how a mutex works."}],
                }
            ],
        }
    )

    organization_id: UUID = Field(default=NO_ID, description="The caller must be a member.")
    content: list[InputPart] = Field(default_factory=list, json_schema_extra={"minItems": 1})
    system_prompt: str = Field(default="", description="At most 10,000 bytes; kept hidden.")
    workspace_id: UUID | None = Field(
        default=None, description="Where it works: one of the caller's workspaces, in the organization."
    )
    model_config_id: UUID | None = Field(default=None, description="Else the default model.")
    mcp_server_ids: list[UUID] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict, examples=[{"team": "storage"}])
    unsafe_dynamic_tools: list[DynamicTool] = Field(
        default_factory=list,
        description="Tools that the client itself will run: their calls are answered through `tool-results`.",
        json_schema_extra={"maxItems": 250},
    )
    plan_mode: str = Field(default="", json_schema_extra={"enum": ["plan", ""]})
    client_type: str = Field(default="", json_schema_extra={"enum": ["ui", "api", ""]})


class WorkflowActivity(BaseModel):
    """An effect that the workflow waits for."""

    effect: str
    state: str
    attempt: int
    last_failure: str | None
    worker: str


class WorkflowState(BaseModel):
    """What Temporal says about the chat's latest turn."""

    available: bool = Field(description="False while Temporal is away; then only the database's side is known.")
    workflow_id: str
    running: bool
    status: str | None = None
    run_id: str | None = None
    started_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    history_length: int | None = None
    pending_activities: list[WorkflowActivity] = Field(default_factory=list)
    ui_url: str | None = Field(default=None, description="The run in the Temporal UI.")
    state: dict[str, Any] | None = Field(default=None, description="Turn, step and attempt, as the workflow says.")
    error: str | None = None


class ChatVersions(BaseModel):
    """How often the chat, its history and its queue have changed, and the current attempt."""

    snapshot: int
    history: int
    queue: int
    retry_state: int
    generation_attempt: int


class UnsettledToolCall(BaseModel):
    """A tool call that may be running now, or of which nobody knows whether it happened."""

    message_id: int = Field(description="The assistant message that made it.")
    tool_call_id: str
    tool_name: str
    policy: Literal["pure", "idempotent", "probe", "once"] = Field(
        description="What is done if its worker dies: run again, run again under the same key, ask, or nothing."
    )
    state: Literal["claimed", "unknown"]
    attempt: int = Field(description="How often a worker has taken it up.")
    claimed_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    waits_for: str | None = Field(default=None, description="What a paused call waits for, with no worker at it.")


class ChatExplanation(BaseModel):
    """Why a chat is where it is: its state here, the workflow that drives it, and what it waits for."""

    chat_id: UUID
    status: ChatStatus
    state: str = Field(description="Execution state, a cell of the table of moves.", examples=["R0"])
    archived: bool
    waits_for: str = Field(examples=["A model step is running."])
    versions: ChatVersions
    queue_length: int
    last_error: ChatError | None = None
    retry: dict[str, Any] | None = Field(default=None, description="The back-off in progress.")
    requires_action_deadline_at: AwareDatetime | None = None
    queued_for_capacity_at: AwareDatetime | None = Field(
        default=None, description="Since when the chat waits for one of its owner's or organization's turns to end."
    )
    tool_calls: list[UnsettledToolCall] = Field(
        description="Tool calls with effects that have not settled, newest first, at most 100."
    )
    workflow: WorkflowState
