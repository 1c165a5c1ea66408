"""What watchers are told: the events of a chat's stream and of a sidebar, as on the wire (wire-api.md 2.7, 2.8)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, Field

from models.parts import AnyPart, Part


class Event(NamedTuple):
    """An event that is ready to be sent: encoded once, for however many watchers.

    `outside` is what those are told of it who may read the chat and not what it falls under; "" is the same.
    """

    type: str
    data: bytes
    cursor: str = ""
    outside: bytes = b""


def event(kind: str, chat_id: UUID, payload: Mapping[str, Any] | None = None, *, cursor: str = "") -> Event:
    """The event of this type; `payload` holds its one payload key, if the type has one."""
    body: dict[str, Any] = {"type": kind, "chat_id": chat_id, **(payload or {})}
    if cursor:
        body["cursor"] = cursor
    return Event(kind, orjson.dumps(body), cursor)


def with_cursor(sent: Event, cursor: str) -> Event:
    """The same event, with the cursor that a client may resume from after it."""
    data, outside = (each and b'%s,"cursor":"%s"}' % (each[:-1], cursor.encode()) for each in (sent.data, sent.outside))
    return Event(sent.type, data, cursor, outside)


def assemble(deltas: Iterable[tuple[str, Part]]) -> list[tuple[str, Part]]:
    """The parts that streamed pieces come to: pieces of text, reasoning, arguments and results joined.

    Arguments that were cut before they became JSON are left out, as an incomplete call has none.
    """
    joined: list[tuple[str, Part]] = []
    called: dict[tuple[str, str], Part] = {}
    for role, delta in deltas:
        kind = delta["type"]
        if kind in ("text", "reasoning"):
            if joined and joined[-1][0] == role and joined[-1][1]["type"] == kind and _continues(joined[-1][1], delta):
                last = joined[-1][1]
                last["text"] += delta.get("text", "")
                last.update({key: value for key, value in delta.items() if key != "text"})
            else:
                joined.append((role, dict(delta)))
            continue
        key = (kind, str(delta.get("tool_call_id", "")))
        if kind not in ("tool-call", "tool-result") or key not in called:
            made = dict(delta)
            called[key] = made
            joined.append((role, made))
        else:
            _extend(called[key], delta)
    return [(role, _closed(part)) for role, part in joined]


def _continues(last: Part, delta: Part) -> bool:
    """A block that has ended, or one that began at another time, is not continued."""
    begun = delta.get("created_at")
    return "completed_at" not in last and (begun is None or begun == last.get("created_at"))


def _extend(part: Part, delta: Part) -> None:
    if delta.get("result_reset"):
        part.pop("result_delta", None)
    for key, value in delta.items():
        if key in ("args_delta", "result_delta"):
            part[key] = part.get(key, "") + value
        elif key != "result_reset":
            part[key] = value


def _closed(part: Part) -> Part:
    closed = {key: value for key, value in part.items() if key not in ("args_delta", "result_delta", "result_reset")}
    if part["type"] == "tool-call" and "args" not in part and part.get("args_delta"):
        try:
            closed["args"] = orjson.loads(part["args_delta"])
        except orjson.JSONDecodeError:
            return closed
    if part["type"] == "tool-result" and "result" not in part and part.get("result_delta"):
        closed["result"] = {"output": part["result_delta"]}
    return closed


def tool_calls(calls: Sequence[Part]) -> list[dict[str, str]]:
    """Calls that a client must answer, as `action_required` shows them: arguments are a string of JSON."""
    return [
        {
            "tool_call_id": call.get("tool_call_id", ""),
            "tool_name": call.get("tool_name", ""),
            "args": orjson.dumps(call.get("args", {})).decode(),
        }
        for call in calls
    ]


# What follows documents the wire; `event` writes it.


class _StreamEvent(BaseModel):
    chat_id: UUID
    cursor: str | None = Field(default=None, description="Resume after this event with `?cursor=` or `Last-Event-ID`.")


class PartOfStep(BaseModel):
    """A piece of the running step; pieces append, and the step's `message` replaces them all."""

    role: Literal["system", "user", "assistant", "tool"] | None = None
    part: AnyPart
    history_version: int
    generation_attempt: int
    seq: int


class MessagePartEvent(_StreamEvent):
    type: Literal["message_part"]
    message_part: PartOfStep


class MessageEvent(_StreamEvent):
    """A stored message: an upsert by id."""

    type: Literal["message"]
    message: dict[str, Any]


class StatusOfChat(BaseModel):
    status: Literal["waiting", "pending", "running", "interrupting", "requires_action", "error"]
    queued_for_capacity: bool | None = Field(default=None, description="Pending because as many turns run as may.")


class StatusEvent(_StreamEvent):
    type: Literal["status"]
    status: StatusOfChat


class ChatError(BaseModel):
    """Why a turn ended in an error, in words for people."""

    message: str
    detail: str | None = None
    kind: str | None = None
    provider: str | None = None
    retryable: bool = False
    status_code: int | None = None


class ErrorEvent(_StreamEvent):
    type: Literal["error"]
    error: ChatError


class QueueUpdateEvent(_StreamEvent):
    """The whole queue as it now is; absent means empty."""

    type: Literal["queue_update"]
    queued_messages: list[dict[str, Any]] | None = None


class Retry(BaseModel):
    """An attempt failed; the next one begins at `retrying_at`."""

    attempt: int
    delay_ms: int
    error: str
    kind: str | None = None
    provider: str | None = None
    status_code: int | None = None
    retrying_at: AwareDatetime


class RetryEvent(_StreamEvent):
    type: Literal["retry"]
    retry: Retry


class ToolCall(BaseModel):
    tool_call_id: str
    tool_name: str
    args: str


class ActionRequired(BaseModel):
    tool_calls: list[ToolCall]


class ActionRequiredEvent(_StreamEvent):
    type: Literal["action_required"]
    action_required: ActionRequired


class NearestBudget(BaseModel):
    scope: Literal["organization", "group", "user", "chat"]
    limit_micros: int
    remaining_micros: int = Field(description="what is neither spent nor reserved")


class StepUsage(BaseModel):
    """Tokens that are unknown or none are absent, as in the message."""

    message_id: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None
    cost_micros: int
    chat_cost_micros: int = Field(description="of this chat so far, titles and what was edited away included")
    budget: NearestBudget | None = Field(
        default=None,
        description="that of the chat's budgets with the least left; for its owner and for who may see its budgets",
    )


class UsageEvent(_StreamEvent):
    """What a step has cost, after its message; steps without a price have none. Never in a snapshot."""

    type: Literal["usage"]
    usage: StepUsage


class PreviewResetEvent(_StreamEvent):
    """Drop the parts that were shown: the attempt they came from is void."""

    type: Literal["preview_reset"]


class HistoryResetEvent(_StreamEvent):
    """Drop the messages that were shown: all that still count follow."""

    type: Literal["history_reset"]


class ResyncEvent(_StreamEvent):
    """Drop everything that was shown: a whole snapshot follows."""

    type: Literal["resync"]


StreamEvent = Annotated[
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
    | ResyncEvent,
    Field(discriminator="type"),
]


class BudgetWarning(BaseModel):
    """A budget of which so many percent are spent; `budget_warning` and the webhook `budget.warning` carry it."""

    id: UUID
    organization_id: UUID
    scope: Literal["organization", "group", "user", "chat"]
    scope_id: UUID
    percent: int
    limit_micros: int
    period: Literal["day", "week", "month", "total"]
    settled_micros: int
    reserved_micros: int


class WatchEvent(BaseModel):
    """Something about one of the caller's chats changed. The chat is a light object: merge it, do not replace."""

    kind: Literal[
        "status_change",
        "summary_change",
        "title_change",
        "created",
        "deleted",
        "diff_status_change",
        "action_required",
        "budget_warning",
    ]
    chat: dict[str, Any]
    tool_calls: list[ToolCall] | None = None
    budget: BudgetWarning | None = None


class Repository(BaseModel):
    """A repository in a workspace, with what is not committed in it."""

    repo_root: str
    branch: str
    remote_origin: str
    unified_diff: str
    removed: bool = Field(description="It is not there any more.")


class GitChanges(BaseModel):
    """The repositories that have changed since the event before; at first, all."""

    type: Literal["changes"]
    scanned_at: AwareDatetime
    repositories: list[Repository]


class GitError(BaseModel):
    type: Literal["error"]
    message: str


GitEvent = Annotated[GitChanges | GitError, Field(discriminator="type")]
