"""A chat's events folded into what a person sees: messages, the answer that is coming, the queue, where the chat is."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

from turnstone.client.events import (
    ActionRequiredEvent,
    ErrorEvent,
    HistoryResetEvent,
    MessageEvent,
    MessagePartEvent,
    PreviewResetEvent,
    QueueUpdateEvent,
    ResyncEvent,
    RetryEvent,
    StatusEvent,
    StreamEvent,
)
from turnstone.client.objects import union
from turnstone.client.parts import JsonObject, Part, said
from turnstone.client.types import RESTING, ChatError, Message, QueuedMessage, ToolCall

_GROWING = ("text", "reasoning")
_DELTAS = ("args_delta", "result_delta")
_part = union(*Part.__args__)


class Transcript:
    """What has been told about one chat so far."""

    def __init__(self) -> None:
        self.status = ""
        self.queue: tuple[QueuedMessage, ...] = ()
        self.error: ChatError | None = None
        self.retry: RetryEvent | None = None
        self.pending: tuple[ToolCall, ...] = ()
        self.cursor = ""
        self._messages: dict[int, Message] = {}
        self._preview = Preview()

    @classmethod
    def fold(cls, events: Iterable[StreamEvent]) -> Self:
        """What these events come to."""
        made = cls()
        for event in events:
            made.tell(event)
        return made

    @property
    def messages(self) -> tuple[Message, ...]:
        """The stored messages, oldest first."""
        return tuple(self._messages[number] for number in sorted(self._messages))

    @property
    def preview(self) -> tuple[Part, ...]:
        """The parts of the running step so far; they will be replaced by its message."""
        return self._preview.parts

    @property
    def text(self) -> str:
        """What the assistant says: the answer that is coming, else the last one."""
        if self._preview:
            return said(self.preview)
        answers = [message for message in self.messages if message.role == "assistant"]
        return answers[-1].text if answers else ""

    @property
    def rests(self) -> bool:
        """Whether the chat does nothing until somebody does something."""
        return self.status in RESTING

    def tell(self, event: StreamEvent) -> None:
        """Take one event in; of a type that is not known nothing is taken."""
        self.cursor = event.cursor or self.cursor
        match event:
            case MessagePartEvent():
                self._preview.tell(event)
                self.retry = None
            case MessageEvent(message=message):
                self._messages[message.id] = message
                if message.role in ("assistant", "tool"):
                    self._preview.clear()
            case StatusEvent(status=status):
                self._move(status)
            case QueueUpdateEvent(queued_messages=queue):
                self.queue = queue
            case ErrorEvent(error=error) if error.kind:
                self.error = error
            case RetryEvent():
                self.retry = event
            case ActionRequiredEvent(tool_calls=calls):
                self.pending = calls
            case PreviewResetEvent():
                self._preview.clear()
            case HistoryResetEvent():
                self._forget()
            case ResyncEvent():
                self._forget()
                self.queue = ()

    def _move(self, status: str) -> None:
        self.status = status
        if status != "error":
            self.error = None
        if status != "requires_action":
            self.pending = ()
        if status in RESTING:
            self.retry = None

    def _forget(self) -> None:
        self._messages.clear()
        self._preview.clear()


class Preview:
    """The pieces of one attempt, joined. Those of another attempt void it; those told before are passed over."""

    def __init__(self) -> None:
        self._joined: list[JsonObject] = []
        self._roles: list[str] = []
        self._episode = (0, 0)
        self._seq = 0

    def __bool__(self) -> bool:
        return bool(self._joined)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the pieces come to by now."""
        assert _part is not None
        return tuple(_part(_closed(part)) for part in self._joined)

    def clear(self) -> None:
        """Nothing has been said."""
        self._joined, self._roles, self._episode, self._seq = [], [], (0, 0), 0

    def tell(self, event: MessagePartEvent) -> None:
        """Take in the next piece."""
        episode = (event.history_version, event.generation_attempt)
        if episode < self._episode or (episode == self._episode and event.seq and event.seq <= self._seq):
            return
        if episode != self._episode:
            self.clear()
            self._episode = episode
        self._seq = event.seq
        self._join(event.role, event.part.raw)

    def _join(self, role: str, delta: Mapping[str, Any]) -> None:
        kind = delta.get("type", "")
        if kind in _GROWING:
            if self._joined and self._roles[-1] == role and _continues(self._joined[-1], delta):
                last = self._joined[-1]
                last.update({**delta, "text": last.get("text", "") + delta.get("text", "")})
                return
        elif kind in ("tool-call", "tool-result"):
            for part in self._joined:
                if part.get("type") == kind and part.get("tool_call_id") == delta.get("tool_call_id"):
                    _extend(part, delta)
                    return
        self._joined.append(dict(delta))
        self._roles.append(role)


def _continues(last: Mapping[str, Any], delta: Mapping[str, Any]) -> bool:
    """A block that has ended, or one that began at another time, is not continued."""
    begun = delta.get("created_at")
    same = last.get("type") == delta.get("type") and "completed_at" not in last
    return same and (begun is None or begun == last.get("created_at"))


def _extend(part: JsonObject, delta: Mapping[str, Any]) -> None:
    if delta.get("result_reset"):
        part.pop("result_delta", None)
    for key, value in delta.items():
        if key in _DELTAS:
            part[key] = part.get(key, "") + value
        elif key != "result_reset":
            part[key] = value


def _closed(part: Mapping[str, Any]) -> JsonObject:
    """The part as far as it goes: arguments that are whole, results as text."""
    closed = {key: value for key, value in part.items() if key not in (*_DELTAS, "result_reset")}
    if part.get("type") == "tool-call" and "args" not in part and part.get("args_delta"):
        try:
            closed["args"] = json.loads(part["args_delta"])
        except ValueError:
            return closed
    if part.get("type") == "tool-result" and "result" not in part and part.get("result_delta"):
        closed["result"] = {"output": part["result_delta"]}
    return closed
