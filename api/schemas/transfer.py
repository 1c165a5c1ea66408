"""A chat as a document: what an export holds and an import reads."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.requests import Body
from api.schemas.parts import NO_ID
from models.parts import AnyPart

Tokens = Annotated[int, Field(ge=0, le=2**63 - 1)] | None

_DOCUMENT: dict[str, Any] = {
    "format": "turnstone-chat",
    "version": 1,
    "chat": {"title": "On mutexes", "labels": {}, "client_type": "api"},
    "files": [],
    "messages": [
        {
            "role": "user",
            "created_at": "2026-05-20T10:00:00.25Z",
            "content": [{"type": "text", "text": "Explain how a mutex works."}],
        },
        {
            "role": "assistant",
            "created_at": "2026-05-20T10:00:02Z",
            "content": [{"type": "text", "text": "Only one thread holds it at a time."}],
        },
    ],
}


class CarriedChat(Body):
    """The chat itself. An import reads title, labels, modes and model, and makes up the rest."""

    id: UUID | None = None
    organization_id: UUID | None = None
    owner_id: UUID | None = None
    title: str = Field(default="", description="1 to 200 characters; empty means the beginning of the first message.")
    labels: dict[str, str] = Field(default_factory=dict)
    plan_mode: Literal["plan", ""] = ""
    client_type: Literal["ui", "api"] = "api"
    model_config_id: UUID | None = Field(default=None, description="The default, where there is no such model.")
    model: str | None = Field(default=None, description="What the model is called, for people.")
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None


class CarriedFile(Body):
    """A file of the chat. Without `data`, an import keeps it only where its importer may read it already."""

    id: UUID
    name: str
    mime_type: str
    size: int | None = None
    created_at: AwareDatetime | None = None
    data: str | None = Field(default=None, description="Base64, with `include_files` as far as they fit.")


class CarriedUsage(Body):
    """Token counts, as in ChatMessageUsage."""

    input_tokens: Tokens = None
    output_tokens: Tokens = None
    total_tokens: Tokens = None
    reasoning_tokens: Tokens = None
    cache_creation_tokens: Tokens = None
    cache_read_tokens: Tokens = None
    context_limit: Tokens = None


class CarriedMessage(Body):
    """A message, as its readers see it."""

    id: int | None = None
    role: Literal["user", "assistant", "tool"]
    created_at: AwareDatetime
    created_by: UUID | None = None
    model_config_id: UUID | None = None
    visibility: Literal["both", "user"] = Field(default="both", description="`user`: the model is not told of it.")
    content: list[AnyPart]
    usage: CarriedUsage | None = None


class ChatDocument(BaseModel):
    """A chat with all that its readers see of it; versioned, and readable by any Turnstone."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DOCUMENT]})

    format: Literal["turnstone-chat"]
    version: Literal[1]
    chat: CarriedChat
    files: list[CarriedFile]
    messages: list[CarriedMessage]


class CarriedDocument(Body):
    """The same before its messages are looked at, one by one."""

    format: Literal["turnstone-chat"]
    version: Literal[1]
    chat: CarriedChat
    files: list[CarriedFile] = Field(default_factory=list, max_length=50)
    messages: list[Any] = Field(min_length=1)


class ImportChat(Body):
    """A document, and where its chat is to be."""

    organization_id: UUID = Field(default=NO_ID, description="The caller must be a member.")
    document: Any = None
