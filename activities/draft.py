"""The answer as it grows: ordered blocks of reasoning, text and tool calls, ready to be committed at any point."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID, uuid4

import orjson

from activities.providers.provider import (
    Chunk,
    Finished,
    ProviderResult,
    ReasoningDelta,
    SourceDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from models.parts import Part, can_rest
from models.rules import mcp, shell
from models.rules.history import DYNAMIC
from models.rules.moments import rfc3339
from models.rules.repair import RUN_BY, safe_id, unpaired

SHELL = "execute"
"""The tool whose commands clients show in words."""
MALFORMED = "malformed_args"
"""Internal mark of a call whose arguments are no JSON, or were cut: it must not be run as if it had none."""


def clock() -> datetime:
    return datetime.now(UTC)


class Origin(Protocol):
    """Where a tool is that lives elsewhere, and what its calls must remember of it."""

    @property
    def server_id(self) -> UUID: ...
    @property
    def origin(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class _Text:
    pieces: list[str] = field(default_factory=list)

    def part(self) -> Part:
        return {"type": "text", "text": "".join(self.pieces)}


@dataclass(slots=True)
class _Reasoning:
    created_at: str
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: str = ""
    family: str = ""
    completed_at: str = ""

    def part(self) -> Part:
        part: Part = {"type": "reasoning", "text": "".join(self.pieces), "created_at": self.created_at}
        if self.completed_at:
            part["completed_at"] = self.completed_at
        metadata = {"signature": self.signature, "redacted": self.redacted}
        if kept := {key: value for key, value in metadata.items() if value}:
            part["provider_metadata"] = {**kept, "family": self.family} if self.family else kept
        return part


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    created_at: str
    is_clients: bool = False
    run_by: str = ""
    remote: Origin | None = None
    pieces: list[str] = field(default_factory=list)

    def part(self) -> Part:
        part: Part = {
            "type": "tool-call",
            "tool_call_id": self.id,
            "tool_name": self.name,
            "created_at": self.created_at,
        }
        if self.remote is not None:
            part["mcp_server_config_id"] = str(self.remote.server_id)
        given = "".join(self.pieces)
        args = arguments(given)
        if args is not None:
            part["args"] = args
        if self.run_by:
            return part | {"provider_executed": True, "provider_metadata": {RUN_BY: self.run_by}}
        origin = {mcp.ORIGIN: dict(self.remote.origin)} if self.remote is not None else {}
        if args is None and given.strip():
            part["provider_metadata"] = {**origin, MALFORMED: True}
            return part
        if origin:
            part["provider_metadata"] = origin
        if self.is_clients:
            part["provider_metadata"] = {DYNAMIC: True}
        elif self.name == SHELL and isinstance(args, dict) and (commands := shell.parsed(str(args.get("command", "")))):
            part["parsed_commands"] = commands
        return part


@dataclass(slots=True)
class _Result:
    """What the provider says that its own tool came to; clients see it without what only the provider can read."""

    given: ProviderResult
    name: str
    created_at: str

    def part(self) -> Part:
        return {
            **self.piece(),
            "provider_metadata": {
                RUN_BY: self.given.run_by,
                "kind": self.given.kind,
                "content": self.given.content,
            },
        }

    def piece(self) -> Part:
        content = self.given.content
        piece: Part = {
            "type": "tool-result",
            "tool_call_id": self.given.id,
            "tool_name": self.name,
            "result": [_readable(each) for each in content] if isinstance(content, list) else _readable(content),
            "provider_executed": True,
            "created_at": self.created_at,
        }
        if isinstance(content, dict) and "error_code" in content:
            piece["is_error"] = True
        return piece


class Draft:
    """One step's answer so far. `client_tools` maps names that the model was told onto those of the chat's client.

    `remote_tools` says of those names that are tools of MCP servers where they are.
    """

    def __init__(
        self,
        now: Callable[[], datetime] = clock,
        client_tools: Mapping[str, str] = MappingProxyType({}),
        remote_tools: Mapping[str, Origin] = MappingProxyType({}),
    ) -> None:
        self._now = now
        self._client_tools = client_tools
        self._remote_tools = remote_tools
        self._blocks: list[_Text | _Reasoning | _Call | _Result] = []
        self._calls: dict[int, _Call] = {}
        self._sources: dict[str, Part] = {}
        self.usage: Usage | None = None
        self.finished: Finished | None = None

    def add(self, chunk: Chunk) -> Part | None:
        """Take in a chunk; the piece to show watchers, if there is one."""
        match chunk:
            case TextDelta(text):
                return self._text(text)
            case ReasoningDelta():
                return self._reasoning(chunk)
            case ToolCallDelta():
                return self._call(chunk)
            case ProviderResult():
                return self._result(chunk)
            case SourceDelta():
                return self._source(chunk)
            case Usage():
                self.usage = chunk
            case Finished():
                self.finished = chunk
        return None

    def close(self) -> list[Part]:
        """The answer is over: end what is open; the whole tool calls, to show watchers."""
        self._end_reasoning()
        return [call.part() for call in self._calls.values()]

    def parts(self) -> list[Part]:
        """The answer so far, as it is stored: what it cites at its end, no half of what the provider ran."""
        return [*unpaired(block.part() for block in self._blocks), *self._sources.values()]

    @property
    def called(self) -> list[str]:
        """The names of the tools that the model called and the provider did not run."""
        return [call.name for call in self._calls.values() if not call.run_by]

    @property
    def says_something(self) -> bool:
        """Is there anything that a person would see: text or a tool call?"""
        return any(not isinstance(block, _Reasoning) for block in self._blocks)

    def _moment(self) -> str:
        return rfc3339(self._now())

    def _text(self, text: str) -> Part | None:
        if not text:
            return None
        last = self._blocks[-1] if self._blocks else None
        if not isinstance(last, _Text):
            self._end_reasoning()
            last = _Text()
            self._blocks.append(last)
        last.pieces.append(text)
        return {"type": "text", "text": text}

    def _reasoning(self, delta: ReasoningDelta) -> Part | None:
        last = self._blocks[-1] if self._blocks else None
        # A signature closes its block; redacted thinking is a block of its own.
        if not isinstance(last, _Reasoning) or delta.redacted or (delta.text and (last.signature or last.redacted)):
            self._end_reasoning()
            last = _Reasoning(self._moment())
            self._blocks.append(last)
        last.signature += delta.signature
        last.redacted += delta.redacted
        last.family = last.family or delta.family
        if not delta.text:
            return None
        piece: Part = {"type": "reasoning", "text": delta.text}
        if not last.pieces:
            piece["created_at"] = last.created_at
        last.pieces.append(delta.text)
        return piece

    def _call(self, delta: ToolCallDelta) -> Part | None:
        call = self._calls.get(delta.index)
        if call is None:
            self._end_reasoning()
            call = _Call(delta.id if delta.run_by else self._own_id(delta.id), "", self._moment(), run_by=delta.run_by)
            self._calls[delta.index] = call
            self._blocks.append(call)
        if delta.name and not call.name:
            call.name = self._client_tools.get(delta.name, delta.name)
            call.is_clients = delta.name in self._client_tools
            call.remote = None if call.run_by else self._remote_tools.get(delta.name)
        call.pieces.append(delta.arguments)
        piece: Part = {
            "type": "tool-call",
            "tool_call_id": call.id,
            "tool_name": call.name,
            "args_delta": delta.arguments,
        }
        if call.remote is not None:
            piece["mcp_server_config_id"] = str(call.remote.server_id)
        return piece | {"provider_executed": True} if call.run_by else piece

    def _result(self, given: ProviderResult) -> Part:
        self._end_reasoning()
        name = next((call.name for call in self._calls.values() if call.run_by and call.id == given.id), "")
        result = _Result(given, name, self._moment())
        self._blocks.append(result)
        return result.piece()

    def _source(self, cited: SourceDelta) -> Part | None:
        if cited.url in self._sources:
            return None
        part: Part = {"type": "source", "url": cited.url}
        if cited.title:
            part["title"] = cited.title
        self._sources[cited.url] = part
        return part

    def _own_id(self, given: str) -> str:
        """The provider's id of a call, unless it is empty or another call of this answer has it: results go by it."""
        taken = {safe_id(call.id) for call in self._calls.values()}
        return given if given and safe_id(given) not in taken else f"call_{uuid4().hex}"

    def _end_reasoning(self) -> None:
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, _Reasoning) and not last.completed_at:
            last.completed_at = self._moment()


def _readable(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: each for key, each in value.items() if not key.startswith("encrypted_")}


def arguments(text: str) -> Any:
    """A call's arguments; None for text that is empty or not JSON that can be stored."""
    try:
        args = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return args if can_rest(args) else None
