"""What a watcher is told, as objects that `type` (of a chat's stream) or `kind` (of one's chats) tells apart."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from turnstone.client.objects import NEVER, Object, union
from turnstone.client.parts import Part, UnknownPart
from turnstone.client.types import Chat, ChatError, Message, QueuedMessage, ToolCall

RECONNECTED = "reconnected"


class NearestBudget(Object):
    """What a budget has left: neither spent nor reserved."""

    scope: str = ""
    limit_micros: int = 0
    remaining_micros: int = 0


class MessagePartEvent(Object):
    """A piece of the running step; pieces append, and the step's message replaces them all."""

    type: Literal["message_part"] = "message_part"
    chat_id: str = ""
    cursor: str = ""
    role: str = ""
    part: Part = UnknownPart()
    history_version: int = 0
    generation_attempt: int = 0
    seq: int = 0
    _inside: ClassVar[str] = "message_part"


class MessageEvent(Object):
    """A stored message: an upsert by id."""

    type: Literal["message"] = "message"
    chat_id: str = ""
    cursor: str = ""
    message: Message = Message()


class StatusEvent(Object):
    """Where the chat is; may be told twice."""

    type: Literal["status"] = "status"
    chat_id: str = ""
    cursor: str = ""
    status: str = ""
    _inside: ClassVar[str] = "status"


class ErrorEvent(Object):
    """The turn failed; without a `kind` it is the stream that had a difficulty, and goes on."""

    type: Literal["error"] = "error"
    chat_id: str = ""
    cursor: str = ""
    error: ChatError = ChatError()


class QueueUpdateEvent(Object):
    """The whole queue as it now is."""

    type: Literal["queue_update"] = "queue_update"
    chat_id: str = ""
    cursor: str = ""
    queued_messages: tuple[QueuedMessage, ...] = ()


class RetryEvent(Object):
    """An attempt failed; the next one begins at `retrying_at`."""

    type: Literal["retry"] = "retry"
    chat_id: str = ""
    cursor: str = ""
    attempt: int = 0
    delay_ms: int = 0
    error: str = ""
    kind: str = ""
    provider: str = ""
    status_code: int | None = None
    retrying_at: datetime = NEVER
    _inside: ClassVar[str] = "retry"


class ActionRequiredEvent(Object):
    """The chat waits for its client to answer these calls."""

    type: Literal["action_required"] = "action_required"
    chat_id: str = ""
    cursor: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    _inside: ClassVar[str] = "action_required"


class UsageEvent(Object):
    """What the step of a message has cost, and all of the chat so far; `budget` is the one with the least left."""

    type: Literal["usage"] = "usage"
    chat_id: str = ""
    cursor: str = ""
    message_id: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    chat_cost_micros: int = 0
    budget: NearestBudget | None = None
    _inside: ClassVar[str] = "usage"


class PreviewResetEvent(Object):
    """Drop the pieces that were shown: the attempt they came from is void."""

    type: Literal["preview_reset"] = "preview_reset"
    chat_id: str = ""
    cursor: str = ""


class HistoryResetEvent(Object):
    """Drop the messages that were shown: all that still count follow."""

    type: Literal["history_reset"] = "history_reset"
    chat_id: str = ""
    cursor: str = ""


class ResyncEvent(Object):
    """Drop everything that was shown: a whole snapshot follows."""

    type: Literal["resync"] = "resync"
    chat_id: str = ""
    cursor: str = ""


class UnknownEvent(Object):
    """An event of a later service; all of it is in `raw`."""

    type: str = ""
    chat_id: str = ""
    cursor: str = ""


StreamEvent = (
    MessagePartEvent
    | MessageEvent
    | StatusEvent
    | ErrorEvent
    | QueueUpdateEvent
    | RetryEvent
    | ActionRequiredEvent
    | UsageEvent
    | PreviewResetEvent
    | HistoryResetEvent
    | ResyncEvent
    | UnknownEvent
)


class BudgetWarning(Object):
    """So many percent of a budget are spent."""

    id: str = ""
    organization_id: str = ""
    scope: str = ""
    scope_id: str = ""
    percent: int = 0
    limit_micros: int = 0
    period: str = ""
    settled_micros: int = 0
    reserved_micros: int = 0


class WatchEvent(Object):
    """Something about one of the caller's chats changed. The chat is a light object: merge it, do not replace.

    `kind` is created, deleted, status_change, title_change, summary_change, diff_status_change, action_required or
    budget_warning; or `reconnected`, which this client says itself: what happened meanwhile was not heard, so list the
    chats again.
    """

    kind: str = ""
    chat: Chat = Chat()
    tool_calls: tuple[ToolCall, ...] = ()
    budget: BudgetWarning | None = None


_choose = union(*StreamEvent.__args__)


def read_event(raw: Any) -> StreamEvent:
    """The event that this JSON is."""
    assert _choose is not None
    event: StreamEvent = _choose(raw)
    return event
