"""A chat's events folded into what can be shown: pure, so that a replay or a repeated attempt is only arithmetic.

A *step* is what the model says in one go, as blocks: text and reasoning that grow, tool calls that appear whole. It is
a preview until its message is stored; a preview may start again (another worker took over), and may be replayed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]
CONTEXT = frozenset({"context-file", "skill"})
RESTING = frozenset({"waiting", "error", "requires_action"})


@dataclass(frozen=True)
class Block:
    """A piece of a step: `text` grows for text and reasoning; a tool call comes whole."""

    kind: str
    text: str
    key: str = ""


@dataclass(frozen=True)
class Step:
    """The running step, or the stored one that replaces it."""

    blocks: tuple[Block, ...]
    is_stored: bool = False


@dataclass(frozen=True)
class Asked:
    """A user's message entered the history."""

    message_id: int
    text: str


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered."""

    key: str
    name: str
    text: str
    is_error: bool


@dataclass(frozen=True)
class Status:
    """Where the chat is; it rests, or something is still to come."""

    status: str

    @property
    def rests(self) -> bool:
        return self.status in RESTING


@dataclass(frozen=True)
class Queue:
    """The messages that wait for their turn."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Notice:
    """A sentence about the turn: a retry, an error, something that was taken back."""

    text: str
    is_error: bool = False


Shown = Step | Asked | ToolResult | Status | Queue | Notice


@dataclass
class Transcript:
    """What has been told about one chat so far; `tell` says what an event adds."""

    stored: set[int] = field(default_factory=set)
    status: str = ""
    failure: str = ""
    pending: tuple[str, ...] | None = None
    _episode: tuple[int, int] = (0, 0)
    _seq: int = 0
    _parts: list[dict[str, Any]] = field(default_factory=list)
    _results: set[str] = field(default_factory=set)
    _settled: set[str] = field(
        default_factory=set
    )  # of these, what is stored: the next step's calls may have their ids

    def tell(self, event: Event) -> list[Shown]:
        """What to show for one event; nothing for what was told before."""
        match event.get("type"):
            case "message_part":
                return self._part(event["message_part"])
            case "message":
                return self._message(event["message"])
            case "status":
                return self._status(event["status"]["status"])
            case "queue_update":
                return [Queue(tuple(plain(item.get("content")) for item in event.get("queued_messages") or ()))]
            case "preview_reset" | "resync":
                self._drop_preview()
            case "history_reset":
                self._drop_preview()
                return [Notice("the history was edited")]
            case "retry":
                return [Notice(retry_line(event["retry"]))]
            case "error":
                line = error_line(event["error"])
                if not event["error"].get("kind"):  # of the stream, not of the turn
                    return [Notice(line)]
                self.failure = line
                return [Notice(line, is_error=True)]
            case "action_required":
                return self._action(event["action_required"]["tool_calls"])
        return []

    @property
    def is_settled(self) -> bool:
        """Whether the chat rests, and why has been told: an error, or calls that wait, follow their status at once."""
        told = {"error": bool(self.failure), "requires_action": self.pending is not None}
        return self.status in RESTING and told.get(self.status, True)

    def _status(self, status: str) -> list[Shown]:
        self.status = status
        if status != "error":
            self.failure = ""
        if status != "requires_action":
            self.pending = None
        return [Status(status)]

    def _action(self, calls: Sequence[Mapping[str, Any]]) -> list[Shown]:
        if self.pending == (pending := tuple(call["tool_call_id"] for call in calls)):
            return []
        self.pending = pending
        return [Notice(action_line(call)) for call in calls]

    def _drop_preview(self) -> None:
        self._parts, self._seq, self._episode = [], 0, (0, 0)

    def _part(self, given: Mapping[str, Any]) -> list[Shown]:
        episode = (given.get("history_version", 0), given.get("generation_attempt", 0))
        seq = given.get("seq", 0)
        if episode != self._episode:
            if episode < self._episode:
                return []
            self._drop_preview()
            self._episode = episode
        if seq and seq <= self._seq:
            return []
        self._seq = seq
        part = given["part"]
        if part["type"] == "tool-result":
            return self._result(part) if "result" in part else []
        add(self._parts, part)
        return [Step(blocks(self._parts))]

    def _message(self, message: Mapping[str, Any]) -> list[Shown]:
        if message["id"] in self.stored:
            return []
        self.stored.add(message["id"])
        content = message.get("content") or []
        match message["role"]:
            case "user" if content and all(part["type"] in CONTEXT for part in content):
                return [Notice(f"the workspace tells: {', '.join(map(_told, content))}")]
            case "user":
                return [Asked(message["id"], plain(content))]
            case "assistant":
                self._parts, self._seq = [], 0
                self._results -= self._settled
                self._settled.clear()
                return [Step(blocks(content, complete=True), is_stored=True)]
            case "tool":
                results = [part for part in content if part["type"] == "tool-result"]
                self._settled.update(str(part.get("tool_call_id", "")) for part in results)
                return [shown for part in results for shown in self._result(part)]
        return []

    def _result(self, part: Mapping[str, Any]) -> list[Shown]:
        key = str(part.get("tool_call_id", ""))
        if key in self._results:
            return []
        self._results.add(key)
        text = compact(part.get("result"))
        return [ToolResult(key, str(part.get("tool_name", "tool")), text, bool(part.get("is_error")))]


def add(parts: list[dict[str, Any]], delta: Mapping[str, Any]) -> None:
    """Append a streamed piece to the parts it belongs to."""
    kind = delta["type"]
    if kind in ("text", "reasoning") and parts and parts[-1]["type"] == kind:
        parts[-1]["text"] += delta.get("text", "")
        return
    if kind == "tool-call":
        for part in parts:
            if part["type"] == kind and part.get("tool_call_id") == delta.get("tool_call_id"):
                part.update(delta)
                return
    parts.append(dict(delta))


def blocks(parts: Sequence[Mapping[str, Any]], *, complete: bool = False) -> tuple[Block, ...]:
    """What parts look like; a tool call that is still being written hides what follows it."""
    shown: list[Block] = []
    for part in parts:
        kind = part["type"]
        if kind in ("text", "reasoning"):
            if shown and shown[-1].kind == kind:
                shown[-1] = Block(kind, shown[-1].text + part.get("text", ""))
            elif part.get("text"):
                shown.append(Block(kind, part["text"]))
        elif kind == "tool-call":
            if not complete and "args" not in part:
                break
            key = str(part.get("tool_call_id", ""))
            shown.append(Block(kind, f"{part.get('tool_name', 'tool')}({compact(part.get('args'))})", key))
        elif kind in ("file", "source", "file-reference"):
            name = part.get("name") or part.get("title") or part.get("file_name") or part.get("url") or kind
            shown.append(Block("note", f"[{kind}: {name}]"))
    return tuple(shown)


def plain(content: Sequence[Mapping[str, Any]] | None) -> str:
    """The text of a message, for one line or many."""
    return "".join(block.text for block in blocks(content or (), complete=True) if block.kind in ("text", "note"))


def _told(part: Mapping[str, Any]) -> str:
    """A piece of what a workspace tells, by its name."""
    if part["type"] == "skill":
        return f"skill {part.get('skill_name', '')}"
    return str(part.get("context_file_path", ""))


def compact(value: Any) -> str:
    """JSON as short as it gets; a text as itself."""
    if value is None or value == {}:
        return ""
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), str | int | float):
        name, only = next(iter(value.items()))
        return str(only) if name in ("output", "result", "error", "text") else f"{name}: {only}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def action_line(call: Mapping[str, Any]) -> str:
    """Which call waits for its client; its arguments come as text."""
    try:
        args = json.loads(call["args"])
    except ValueError:
        args = call["args"]
    return f"waiting for a client's result of {call['tool_name']}({compact(args)}), call {call['tool_call_id']}"


def retry_line(retry: Mapping[str, Any]) -> str:
    """When it goes on, and why it did not."""
    seconds = retry.get("delay_ms", 0) / 1000
    return f"attempt {retry.get('attempt', 1)} failed: {retry.get('error', '')} Trying again in {seconds:.0f} s."


def error_line(error: Mapping[str, Any]) -> str:
    """Why a turn failed, in one line."""
    words = f"{error.get('message', 'The turn failed.')} {error.get('detail') or ''}"
    return " ".join(words.split())
