"""The parts of a message: what the service sends, told apart by `type`, and what a client may say."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from turnstone.client.objects import Object

JsonObject = dict[str, Any]
Content = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""What a message says: text, or parts made by `text`, `file` and `file_reference`."""


class TextPart(Object):
    """Plain or Markdown text; streamed pieces append."""

    type: Literal["text"] = "text"
    text: str = ""


class ReasoningPart(Object):
    """The model's thinking, as far as its provider shows it."""

    type: Literal["reasoning"] = "reasoning"
    text: str = ""
    created_at: datetime | None = None
    completed_at: datetime | None = None


class ToolCallPart(Object):
    """A tool call; `args` is any JSON. Of a streamed one `args_delta` pieces append until `args` comes."""

    type: Literal["tool-call"] = "tool-call"
    tool_call_id: str = ""
    tool_name: str = ""
    args: Any = None
    args_delta: str = ""
    provider_executed: bool = False
    created_at: datetime | None = None


class ToolResultPart(Object):
    """What a tool call came to; `result` is any JSON."""

    type: Literal["tool-result"] = "tool-result"
    tool_call_id: str = ""
    tool_name: str = ""
    result: Any = None
    result_delta: str = ""
    result_reset: bool = False
    is_error: bool = False
    is_media: bool = False
    provider_executed: bool = False
    created_at: datetime | None = None


class SourcePart(Object):
    """A web source that the model names."""

    type: Literal["source"] = "source"
    url: str = ""
    source_id: str = ""
    title: str = ""


class FilePart(Object):
    """An uploaded file, by reference."""

    type: Literal["file"] = "file"
    media_type: str = ""
    file_id: str | None = None
    name: str = ""


class FileReferencePart(Object):
    """A quoted piece of a file."""

    type: Literal["file-reference"] = "file-reference"
    file_name: str = ""
    start_line: int = 0
    end_line: int = 0
    content: str = ""


class ContextFilePart(Object):
    """An instruction file that was put into the context."""

    type: Literal["context-file"] = "context-file"
    context_file_path: str = ""
    context_file_truncated: bool = False


class SkillPart(Object):
    """A skill that was put into the context."""

    type: Literal["skill"] = "skill"
    skill_name: str = ""
    skill_description: str = ""


class UnknownPart(Object):
    """A part of a later service; all of it is in `raw`."""

    type: str = ""


Part = (
    TextPart
    | ReasoningPart
    | ToolCallPart
    | ToolResultPart
    | SourcePart
    | FilePart
    | FileReferencePart
    | ContextFilePart
    | SkillPart
    | UnknownPart
)


def said(parts: Sequence[Part]) -> str:
    """The text of a message."""
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def text(value: str) -> JsonObject:
    """Say this."""
    return {"type": "text", "text": value}


def file(file_id: str) -> JsonObject:
    """Show this uploaded file."""
    return {"type": "file", "file_id": str(file_id)}


def file_reference(file_name: str, content: str, *, start_line: int = 0, end_line: int = 0) -> JsonObject:
    """Quote a piece of a file."""
    return {
        "type": "file-reference",
        "file_name": file_name,
        "content": content,
        "start_line": start_line,
        "end_line": end_line,
    }


def written(content: Content) -> list[JsonObject]:
    """The content as it is sent."""
    given = [content] if isinstance(content, str | Mapping) else content
    return [text(each) if isinstance(each, str) else dict(each) for each in given]
