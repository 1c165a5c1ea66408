"""What is said about messages and the queue, and what may be asked (wire-api.md 2.3, 2.6, 3.6–3.8, 3.10)."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.requests import Body
from api.schemas.parts import InputPart
from models.parts import AnyPart

_CONTENT: list[Any] = [{"type": "text", "text": "Explain how a mutex works."}]
_CHAT = "0199c0de-7a3b-7c11-9d2f-5b8f2a6f0c01"
_MESSAGE: dict[str, Any] = {
    "id": 42,
    "chat_id": _CHAT,
    "created_by": "0199c0de-0b1e-7d5c-8a55-1f2e3d4c5b6a",
    "model_config_id": "0199c0de-11aa-7e0f-b0c4-9a8b7c6d5e4f",
    "created_at": "2026-05-20T10:00:00.25Z",
    "role": "user",
    "content": [{"type": "text", "text": "Explain how a mutex works."}],
}


class ChatMessageUsage(BaseModel):
    """Token counts of a step; a count that is not known has no key."""

    input_tokens: int | None = Field(default=None, description="Without cached tokens.")
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None


class ChatMessage(BaseModel):
    """A stored message."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MESSAGE]})

    id: int
    chat_id: UUID
    created_by: UUID | None = Field(default=None, description="Absent on assistant and tool messages.")
    model_config_id: UUID | None = None
    created_at: AwareDatetime
    role: Literal["system", "user", "assistant", "tool"]
    content: list[AnyPart] = Field(default_factory=list)
    usage: ChatMessageUsage | None = None


class ChatQueuedMessage(BaseModel):
    """A message that waits until the running turn has ended."""

    id: int
    chat_id: UUID
    model_config_id: UUID | None = None
    content: list[AnyPart]
    created_at: AwareDatetime


class ChatMessages(BaseModel):
    """A page of messages; `queued_messages` is filled on the page without a cursor only."""

    messages: list[ChatMessage]
    queued_messages: list[ChatQueuedMessage]
    has_more: bool = Field(description="More rows lie beyond the page, in the direction it was read.")


class SendMessage(Body):
    """Say something to a chat."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["content"],
            "examples": [{"content": _CONTENT}, {"content": _CONTENT, "busy_behavior": "interrupt"}],
        }
    )

    content: list[InputPart] = Field(default_factory=list, json_schema_extra={"minItems": 1})
    model_config_id: UUID | None = Field(default=None, description="Model of this message; else the chat's last model.")
    mcp_server_ids: list[UUID] = Field(default_factory=list, description="Replaces the chat's selection.")
    busy_behavior: str = Field(
        default="",
        description="What to do when the chat is busy: `queue` (default), or `interrupt` the running turn as well.",
        json_schema_extra={"enum": ["queue", "interrupt", ""]},
    )
    plan_mode: str | None = Field(
        default=None,
        description="Turns plan mode on (`plan`) or off (empty) for the chat.",
        json_schema_extra={"enum": ["plan", "", None]},
    )


class SentMessage(BaseModel):
    """What became of a message: stored (`message`) or waiting (`queued_message`)."""

    message: ChatMessage | None = None
    queued_message: ChatQueuedMessage | None = None
    queued: bool
    warnings: list[str] | None = None


class EditMessage(Body):
    """Replace a user message, and everything after it."""

    model_config = ConfigDict(json_schema_extra={"required": ["content"], "examples": [{"content": _CONTENT}]})

    content: list[InputPart] = Field(default_factory=list, json_schema_extra={"minItems": 1})
    model_config_id: UUID | None = Field(default=None, description="Else the model of the original message.")


class EditedMessage(BaseModel):
    """The message that took the place of the edited one; its id is new."""

    message: ChatMessage
    warnings: list[str] | None = None


class Accepted(BaseModel):
    """A request that takes effect when the running turn has stopped."""

    message: str = Field(examples=["Queued message promotion accepted."])
