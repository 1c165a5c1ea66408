"""Questions about a transcript: which tool calls are open, is it complete, how far is the turn."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from models.parts import Part

Row = Mapping[str, Any]
"""A message row: at least `role` and `content` (parts)."""

CANCELLED_BY_MESSAGE = "Tool execution interrupted by new user message"
CANCELLED_BY_SEND_INTERRUPT = "Tool execution interrupted by user message"
CANCELLED_BY_PROMOTION = "Tool execution interrupted by queued message promotion"
CANCELLED_BY_USER = "Tool execution interrupted by user"
CANCELLED_BEFORE_RESULT = "tool call was interrupted before it produced a result"
CANCELLED_INVALID = "Tool execution canceled due to invalid chat state"
CANCELLED_BY_COPY = "Tool execution had no result when the chat was copied"
CANCELLED_TIMEOUT = "Tool execution timed out"


DYNAMIC = "dynamic"
"""Internal mark of a call that the chat's client answers, not a worker."""
STEPS = "steps"
"""Internal mark of a summary: how many steps of the turn that goes on after it are within it."""
ASKED = "asked"
"""Internal mark of a summary: the id and the moment of the user message that was being answered."""

ADVICE = "advice"
"""Internal mark of a summary: how often the turn that goes on after it has been advised."""


CONTEXT_PARTS = frozenset({"context-file", "skill"})


def is_context(row: Row) -> bool:
    """Is it what a workspace tells its agents? It has the role of a user, and is nobody's message."""
    content = row["content"]
    return bool(row["role"] == "user" and content) and all(part.get("type") in CONTEXT_PARTS for part in content)


def calls(parts: Iterable[Part]) -> list[Part]:
    """The tool calls among `parts` that we must answer: those the provider ran itself are its own affair."""
    return [part for part in parts if part.get("type") == "tool-call" and not part.get("provider_executed")]


def answered(rows: Iterable[Row]) -> set[str]:
    """Ids of the calls that have a result in `rows`."""
    return {
        part["tool_call_id"]
        for row in rows
        for part in row["content"]
        if part.get("type") == "tool-result" and part.get("tool_call_id")
    }


def open_calls(rows: Sequence[Row]) -> list[Part]:
    """Calls of the last assistant message that have no result after it, in call order."""
    for index in range(len(rows) - 1, -1, -1):
        if rows[index]["role"] == "assistant":
            done = answered(rows[index:])
            return [call for call in calls(rows[index]["content"]) if call.get("tool_call_id") not in done]
        if rows[index]["role"] == "user" and not is_context(rows[index]):
            return []
    return []


def is_dynamic(call: Part) -> bool:
    """Was it said, when the call was committed, that the client answers it?"""
    return bool((call.get("provider_metadata") or {}).get(DYNAMIC))


def local(opened: Iterable[Part]) -> list[Part]:
    """The calls among `opened` that a worker answers."""
    return [call for call in opened if not is_dynamic(call)]


def visible_to_model(row: Row) -> bool:
    return row.get("visibility", "both") != "user" and not row.get("deleted", False)


def is_summary(row: Row) -> bool:
    """Does it stand for what came before it? Only the model sees it."""
    return row["role"] == "user" and bool(row.get("compressed")) and row.get("visibility") == "model"


def steps_since_user(rows: Sequence[Row]) -> int:
    """Assistant messages since the last user message: the steps of the current turn, those summarised included."""
    count = 0
    for row in reversed(rows):
        if is_summary(row):
            return count + int(_marked(row, STEPS) or 0)
        if row["role"] == "user" and not is_context(row):
            break
        count += row["role"] == "assistant"
    return count


def last_asked(rows: Sequence[Row]) -> tuple[int, datetime] | None:
    """The id and the moment of the newest message that people saw a user send, also when it was summarised."""
    for row in reversed(rows):
        if is_summary(row) and (asked := _marked(row, ASKED)):
            return asked[0], datetime.fromisoformat(asked[1])
        if row["role"] == "user" and row.get("visibility", "both") != "model" and not is_context(row):
            return row["id"], row["created_at"]
    return None


def _marked(row: Row, mark: str) -> Any:
    return next((found for part in row["content"] if (found := (part.get("provider_metadata") or {}).get(mark))), None)


def succeeded_since_user(rows: Sequence[Row], tools: Collection[str]) -> bool:
    """Has one of these tools succeeded since the last user message?"""
    for row in reversed(rows) if tools else ():
        if row["role"] == "user" and not is_context(row):
            break
        for part in row["content"]:
            if part.get("type") == "tool-result" and part.get("tool_name") in tools and not part.get("is_error"):
                return True
    return False


def advice_since_user(rows: Sequence[Row], tool: str) -> int:
    """How often this tool has given advice in the current turn, what was summarised included."""
    count = 0
    for row in reversed(rows):
        if is_summary(row):
            return count + int(_marked(row, ADVICE) or 0)
        if row["role"] == "user" and not is_context(row):
            break
        count += sum(_is_advice(part, tool) for part in row["content"])
    return count


def _is_advice(part: Part, tool: str) -> bool:
    result = part.get("result")
    given = part.get("type") == "tool-result" and part.get("tool_name") == tool and not part.get("is_error")
    return given and isinstance(result, dict) and result.get("type") == "advice"


def is_complete(rows: Sequence[Row]) -> bool:
    """The last message is an assistant's, without open calls: the turn has nothing more to do."""
    return bool(rows) and rows[-1]["role"] == "assistant" and not open_calls(rows)


def model_of_turn(rows: Sequence[Row]) -> Any:
    """The model config that the last user message names, or None."""
    for row in reversed(rows):
        if row["role"] == "user" and not is_context(row):
            return row.get("model_config_id")
    return None
