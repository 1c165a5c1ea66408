"""Message parts: one discriminated union, the shape at rest and on the wire (wire-api.md 2.4).

Hot paths carry parts as plain JSON objects; these models say what such an object may hold.
At rest a part may also carry internal keys (`provider_metadata`, …), which `wire` strips.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Part = dict[str, Any]
"""A part as stored: a JSON object with `type`."""

INTERNAL_KEYS = frozenset(
    {
        "provider_metadata",
        "context_file_content",
        "context_file_os",
        "context_file_directory",
        "skill_dir",
        "context_file_skill_meta_file",
    }
)

NUL = "\x00"
NUL_AT_REST = "\ue000\ue001"  # JSONB cannot hold NUL (runtime.md 1.3)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TextPart(_Part):
    """Plain or Markdown text; streamed pieces append."""

    type: Literal["text"]
    text: str


class ReasoningPart(_Part):
    """The model's thinking, as far as its provider shows it."""

    type: Literal["reasoning"]
    text: str
    created_at: AwareDatetime | None = None
    completed_at: AwareDatetime | None = None


class ToolCallPart(_Part):
    """A tool call; while it streams, `args_delta` pieces append, the final part carries `args`."""

    type: Literal["tool-call"]
    tool_call_id: str = ""
    tool_name: str = ""
    args: Any = None
    args_delta: str | None = None
    parsed_commands: list[list[str]] | None = None
    mcp_server_config_id: UUID | None = None
    provider_executed: bool = False
    created_at: AwareDatetime | None = None


class ToolResultPart(_Part):
    """What a tool call came to."""

    type: Literal["tool-result"]
    tool_call_id: str = ""
    tool_name: str = ""
    result: Any = None
    result_delta: str | None = None
    result_reset: bool = False
    is_error: bool = False
    is_media: bool = False
    mcp_server_config_id: UUID | None = None
    provider_executed: bool = False
    created_at: AwareDatetime | None = None


class SourcePart(_Part):
    """A web source that the model names."""

    type: Literal["source"]
    url: str
    source_id: str | None = None
    title: str | None = None


class FilePart(_Part):
    """An uploaded file, by reference."""

    type: Literal["file"]
    media_type: str
    file_id: UUID | None = None
    name: str | None = None
    data: str | None = None


class FileReferencePart(_Part):
    """A quoted piece of a file in the user's workspace."""

    type: Literal["file-reference"]
    file_name: str
    start_line: int
    end_line: int
    content: str


class ContextFilePart(_Part):
    """An instruction file that was put into the context."""

    type: Literal["context-file"]
    context_file_path: str
    context_file_truncated: bool = False
    context_file_agent_id: UUID | None = None


class SkillPart(_Part):
    """A skill that was put into the context."""

    type: Literal["skill"]
    skill_name: str
    skill_description: str | None = None


AnyPart = Annotated[
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


def text(value: str) -> Part:
    return {"type": "text", "text": value}


def file(stored: Mapping[str, Any]) -> Part:
    """The part that stands for a stored file."""
    return {
        "type": "file",
        "media_type": stored["media_type"],
        "file_id": str(stored["file_id"]),
        "name": stored.get("name") or "",
    }


def tool_result(call: Mapping[str, Any], result: Any, *, is_error: bool = False, created_at: str | None = None) -> Part:
    """The result part that answers `call`."""
    made: Part = {
        "type": "tool-result",
        "tool_call_id": call.get("tool_call_id", ""),
        "tool_name": call.get("tool_name", ""),
        "result": result,
    }
    if is_error:
        made["is_error"] = True
    if created_at is not None:
        made["created_at"] = created_at
    return made | _origin(call)


def tool_result_delta(call: Mapping[str, Any], text: str) -> Part:
    """A piece of what a call says while it runs; watchers see it, and it is not kept."""
    return {
        "type": "tool-result",
        "tool_call_id": call.get("tool_call_id", ""),
        "tool_name": call.get("tool_name", ""),
        "result_delta": text,
    } | _origin(call)


def tool_result_reset(call: Mapping[str, Any]) -> Part:
    """Says to watchers that what the call has said so far was in vain: it begins anew."""
    return tool_result_delta(call, "") | {"result_reset": True}


def _origin(call: Mapping[str, Any]) -> Part:
    """Which MCP server a call went to, if it went to one."""
    server = call.get("mcp_server_config_id")
    return {"mcp_server_config_id": server} if server else {}


def wire(parts: Iterable[Part]) -> list[Part]:
    """The parts as a client sees them: decoded, without internal keys."""
    return [{key: from_rest(value) for key, value in part.items() if key not in INTERNAL_KEYS} for part in parts]


def wire_text(stored: str) -> Any:
    """The same from the parts' JSON text, unread where nothing has to be decoded or left out."""
    if NUL_AT_REST in stored or any(key in stored for key in INTERNAL_KEYS):
        return wire(orjson.loads(stored))
    return orjson.Fragment(stored)


def can_rest(value: Any) -> bool:
    """Is it a JSON value that is not nested too deep to be written inside a part, wherever that part is written?"""
    try:
        orjson.dumps([[[[[[value]]]]]])
    except orjson.JSONEncodeError:
        return False
    return True


def to_rest(value: Any) -> Any:
    """A JSON value that JSONB can hold: each NUL becomes a sentinel, unpaired surrogates become U+FFFD."""
    match value:
        case str():
            if not value.isascii() and _has_surrogate(value):
                # Halves that came in two pieces are one character again.
                value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            return value.replace(NUL, NUL_AT_REST) if NUL in value else value
        case list():
            return [to_rest(item) for item in value]
        case dict():
            return {to_rest(key): to_rest(item) for key, item in value.items()}
        case _:
            return value


def from_rest(value: Any) -> Any:
    """The inverse of `to_rest`."""
    match value:
        case str():
            return value.replace(NUL_AT_REST, NUL) if NUL_AT_REST in value else value
        case list():
            return [from_rest(item) for item in value]
        case dict():
            return {from_rest(key): from_rest(item) for key, item in value.items()}
        case _:
            return value


def _has_surrogate(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False
