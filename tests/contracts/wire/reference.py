"""A client that knows only the reference's fields and types: what it cannot read, existing clients cannot read either.

It reads as the reference's Go SDK does: unknown keys are ignored, a key of another type fails, and so does a required
key that is missing. It is stricter in one thing: what the reference leaves out when empty must be left out.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, model_validator

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
# RFC 3339 in UTC; trailing zeros of the fraction are trimmed.
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$")]
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Decimal = Annotated[str, StringConstraints(pattern=r"^-?\d+(\.\d*[1-9])?$")]


class Known(BaseModel):
    """An object of the reference. A field with a default is one that is left out when it is empty."""

    model_config = ConfigDict(strict=True, extra="ignore")
    # Fields whose zero is not their emptiness, and raw JSON, of which null is a value.
    pointers: ClassVar[frozenset[str]] = frozenset()
    raw: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _leaves_out_what_is_empty(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if field.is_required() or key not in given or name in cls.raw:
                continue
            empty = given[key] is None or (name not in cls.pointers and given[key] in ("", 0, [], {}))
            if empty:
                raise ValueError(f"{cls.__name__}.{key} is {given[key]!r} and must be left out")
        return given


# 1.2


class FieldError(Known):
    field: str
    detail: str


class Error(Known):
    message: Annotated[str, StringConstraints(min_length=1)]
    detail: str = ""
    validations: list[FieldError] = []


class UsageLimitError(Error):
    spent_micros: Int64
    limit_micros: Int64
    resets_at: Time


# 2.4


class TextPart(Known):
    type: Literal["text"]
    text: str


class ReasoningPart(Known):
    type: Literal["reasoning"]
    text: str
    created_at: Time = ""
    completed_at: Time = ""


class ToolCallPart(Known):
    raw: ClassVar[frozenset[str]] = frozenset({"args"})
    type: Literal["tool-call"]
    tool_call_id: str = ""
    tool_name: str = ""
    args: Any = None
    args_delta: str = ""
    parsed_commands: list[list[str]] = []
    provider_executed: bool = False
    created_at: Time = ""


class ToolResultPart(Known):
    raw: ClassVar[frozenset[str]] = frozenset({"result"})
    type: Literal["tool-result"]
    tool_call_id: str = ""
    tool_name: str = ""
    result: Any = None
    result_delta: str = ""
    result_reset: bool = False
    is_error: bool = False
    is_media: bool = False
    provider_executed: bool = False
    created_at: Time = ""


class SourcePart(Known):
    type: Literal["source"]
    url: str
    source_id: str = ""
    title: str = ""


class FilePart(Known):
    type: Literal["file"]
    media_type: str
    name: str = ""
    data: str = ""
    file_id: Id | None = None

    pointers: ClassVar[frozenset[str]] = frozenset({"file_id"})


class FileReferencePart(Known):
    type: Literal["file-reference"]
    file_name: str
    start_line: int
    end_line: int
    content: str


class ContextFilePart(Known):
    type: Literal["context-file"]
    context_file_path: str
    context_file_truncated: bool = False


class SkillPart(Known):
    type: Literal["skill"]
    skill_name: str
    skill_description: str = ""


Part = Annotated[
    TextPart
    | ReasoningPart
    | ToolCallPart
    | ToolResultPart
    | SourcePart
    | FilePart
    | FileReferencePart
    | ContextFilePart
    | SkillPart,
    Field(discriminator="type"),
]


# 2.1, 2.2, 2.9 - 2.11


class ChatError(Known):
    message: str
    detail: str = ""
    kind: str = ""
    provider: str = ""
    retryable: bool
    status_code: int = 0


class DiffStatus(Known):
    pointers: ClassVar[frozenset[str]] = frozenset({"commits", "approved", "reviewer_count"})
    chat_id: Id
    url: str = ""
    pull_request_state: Literal["open", "merged", "closed"] | None = None
    pull_request_title: str
    pull_request_draft: bool
    changes_requested: bool
    additions: Int32
    deletions: Int32
    changed_files: Int32
    author_login: str = ""
    author_avatar_url: str = ""
    base_branch: str = ""
    head_branch: str = ""
    pr_number: Int32 = 0
    commits: Int32 = 0
    approved: bool = False
    reviewer_count: Int32 = 0
    refreshed_at: Time = ""
    stale_at: Time = ""


class DiffContents(Known):
    chat_id: Id
    provider: str = ""
    remote_origin: str = ""
    branch: str = ""
    pull_request_url: str = ""
    diff: str = ""


class FileMetadata(Known):
    id: Id
    owner_id: Id
    organization_id: Id
    name: str
    mime_type: str
    created_at: Time


class Chat(Known):
    id: Id
    organization_id: Id
    owner_id: Id
    owner_username: str = ""
    owner_name: str = ""
    workspace_id: Id = ""
    build_id: Id = ""
    agent_id: Id = ""
    parent_chat_id: Id = ""
    root_chat_id: Id
    last_model_config_id: Id
    title: str
    status: str
    plan_mode: Literal["plan"] | None = None
    last_error: ChatError | None = None
    last_turn_summary: str | None
    diff_status: DiffStatus | None = None
    created_at: Time
    updated_at: Time
    archived: bool
    shared: bool
    pin_order: Int32
    mcp_server_ids: list[Id]
    labels: dict[str, str]
    files: list[FileMetadata] = []
    has_unread: bool
    warnings: list[str] = []
    client_type: Literal["ui", "api"]
    children: list["Chat"]


# 2.3, 2.6


class Usage(Known):
    input_tokens: Int64 = 0
    output_tokens: Int64 = 0
    total_tokens: Int64 = 0
    reasoning_tokens: Int64 = 0
    cache_creation_tokens: Int64 = 0
    cache_read_tokens: Int64 = 0
    context_limit: Int64 = 0


class Message(Known):
    id: Int64
    chat_id: Id
    created_by: Id = ""
    model_config_id: Id = ""
    created_at: Time
    role: Literal["system", "user", "assistant", "tool"]
    content: list[Part] = []
    usage: Usage | None = None


class QueuedMessage(Known):
    id: Int64
    chat_id: Id
    model_config_id: Id = ""
    content: list[Part]
    created_at: Time


class Messages(Known):
    messages: list[Message]
    queued_messages: list[QueuedMessage]
    has_more: bool


class SentMessage(Known):
    message: Message | None = None
    queued_message: QueuedMessage | None = None
    queued: bool
    warnings: list[str] = []


class EditedMessage(Known):
    message: Message
    warnings: list[str] = []


class Prompt(Known):
    id: Int64
    text: str


class Prompts(Known):
    prompts: list[Prompt]


class Title(Known):
    title: str


class Uploaded(Known):
    id: Id


# 2.7, 2.8


class StreamToolCall(Known):
    tool_call_id: str
    tool_name: str
    args: str


class MessagePart(Known):
    role: Literal["system", "user", "assistant", "tool"] | None = None
    part: Part


class Status(Known):
    status: str


class Retry(Known):
    attempt: Annotated[int, Field(ge=1)]
    delay_ms: Int64
    error: str
    kind: str = ""
    provider: str = ""
    status_code: int = 0
    retrying_at: Time


class ActionRequired(Known):
    tool_calls: list[StreamToolCall]


class StreamEvent(Known):
    """Of a type that is not known a client reads no more than this."""

    type: str
    chat_id: Id
    message_part: MessagePart | None = None
    message: Message | None = None
    status: Status | None = None
    error: ChatError | None = None
    queued_messages: list[QueuedMessage] = []
    retry: Retry | None = None
    action_required: ActionRequired | None = None

    payloads: ClassVar[frozenset[str]] = frozenset(
        {"message_part", "message", "status", "error", "queued_messages", "retry", "action_required"}
    )

    @model_validator(mode="after")
    def _has_the_payload_of_its_type_and_no_other(self) -> "StreamEvent":
        own = {"queue_update": "queued_messages"}.get(self.type, self.type)
        given = self.model_fields_set & self.payloads
        wanted = {own} & self.payloads
        if self.type == "queue_update":
            wanted &= given  # absence is an empty queue
        if given != wanted:
            raise ValueError(f"a {self.type} carries {sorted(given)}")
        return self


class WatchEvent(Known):
    kind: Literal[
        "status_change", "summary_change", "title_change", "created", "deleted", "diff_status_change", "action_required"
    ]
    chat: Chat
    tool_calls: list[StreamToolCall] = []


class ListOf(RootModel[list[Any]]):
    """An answer that is a bare array."""


Chat.model_rebuild()
