"""Questions about a transcript: which tool calls are open, is it complete, how far is the turn."""

from collections.abc import Iterable, Mapping, Sequence
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
CANCELLED_TIMEOUT = "Tool execution timed out"


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
        if rows[index]["role"] == "user":
            return []
    return []


def visible_to_model(row: Row) -> bool:
    return row.get("visibility", "both") != "user" and not row.get("deleted", False)


def steps_since_user(rows: Sequence[Row]) -> int:
    """Assistant messages since the last user message: the steps of the current turn."""
    count = 0
    for row in reversed(rows):
        if row["role"] == "user":
            break
        count += row["role"] == "assistant"
    return count


def is_complete(rows: Sequence[Row]) -> bool:
    """The last message is an assistant's, without open calls: the turn has nothing more to do."""
    return bool(rows) and rows[-1]["role"] == "assistant" and not open_calls(rows)


def model_of_turn(rows: Sequence[Row]) -> Any:
    """The model config that the last user message names, or None."""
    for row in reversed(rows):
        if row["role"] == "user":
            return row.get("model_config_id")
    return None
