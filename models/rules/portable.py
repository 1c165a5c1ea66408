"""A chat's messages outside of their chat: which a document may hold, and how they become a history again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.errors import Validation
from models.parts import Part, can_rest, tool_result
from models.rules import history
from models.rules.moments import rfc3339

FORMAT = "turnstone-chat"
VERSION = 1

_TAKEN: Mapping[str, frozenset[str]] = {
    "user": frozenset({"text", "file", "file-reference", "context-file", "skill"}),
    "assistant": frozenset({"text", "reasoning", "tool-call", "tool-result", "source", "file"}),
    "tool": frozenset({"tool-result", "file", "source"}),
}
# Of a stream, not of a history; and what would point at things of another deployment.
_LEFT_BEHIND = frozenset(
    {"args_delta", "result_delta", "result_reset", "data", "mcp_server_config_id", "context_file_agent_id"}
)
_MAY_BE_NULL = frozenset({"args", "result"})
_YEARS = range(1970, 9000)

Message = dict[str, Any]
"""A message of a document: `role`, `content`, `visibility`, `created_at`, and perhaps `model_config_id` and `usage`."""


def is_moment(value: datetime) -> bool:
    """Is it a moment that every clock and every column can hold?"""
    return value.year in _YEARS


def part(given: Mapping[str, Any]) -> Part:
    """The part as it is stored: what is absent has no key, moments and ids are text."""
    return {
        key: _plain(value)
        for key, value in given.items()
        if key not in _LEFT_BEHIND and (value is not None or key in _MAY_BE_NULL)
    }


def problems(messages: Sequence[Message]) -> Iterator[Validation]:
    """What keeps these messages, whose parts are well-formed, from being a history."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages.{index}.content"
        role = message["role"]
        if not message["content"]:
            yield Validation(where, "A message must not be empty.")
        if role == "tool" and message["content"] and message["content"][0]["type"] != "tool-result":
            yield Validation(f"{where}.0", "The first part of a tool's message is its result.")
        if role != "tool":
            called = {call.get("tool_call_id", "") for call in history.calls(message["content"])}
        for number, each in enumerate(message["content"]):
            wrong = _problem(role, each, called)
            if wrong:
                yield Validation(f"{where}.{number}", wrong)


def closed(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, with an error for each call that has no result before the next message."""
    opened: list[Part] = []
    last: Message = {}
    for message in messages:
        if message["role"] == "tool":
            done = history.answered([message])
            opened = [call for call in opened if call["tool_call_id"] not in done]
        else:
            yield from _unanswered(opened, last)
            opened = history.calls(message["content"]) if message["role"] == "assistant" else []
            last = message
        yield message
    yield from _unanswered(opened, last)


def _unanswered(opened: Iterable[Part], asked: Message) -> Iterator[Message]:
    for call in opened:
        error = tool_result(call, {"error": history.CANCELLED_BY_COPY}, is_error=True)
        kept = {"visibility": asked["visibility"], "created_at": asked["created_at"]}
        yield {"role": "tool", "content": [error], "model_config_id": None, **kept}


def _problem(role: str, given: Part, called: set[str]) -> str:
    kind = given["type"]
    if kind not in _TAKEN[role]:
        return f'A message of role "{role}" has no part of type "{kind}".'
    if not can_rest(given):
        return "It is nested too deep, or holds a number that is too large."
    if kind in ("tool-call", "tool-result"):
        if not given.get("tool_call_id"):
            return "tool_call_id is required."
        if not given.get("tool_name"):
            return "tool_name is required."
    if kind == "tool-result":
        if bool(given.get("provider_executed")) != (role == "assistant"):
            return "A result is the assistant's if its provider ran the tool, and a tool's otherwise."
        if role == "tool" and given["tool_call_id"] not in called:
            return "The assistant's message before it makes no such call."
    if kind == "file" and not given.get("file_id"):
        return "file_id is required: it names one of the document's files."
    return ""


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return rfc3339(value)
        case UUID():
            return str(value)
    return value
