"""A conversation made short enough to be given to a model whole: what a summary is written from when all is too long.

Works on provider messages (models/rules/prompt.py). Lengths are characters, four to a token.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]

CHARACTERS_A_TOKEN = 4
RESULT = 2_000  # characters kept of a tool's result or arguments, once something must give
MEDIA = 6_000  # characters that an image is reckoned as: its bytes are not read as text
MOST_AT_HEAD = 20  # messages kept of the beginning
LEFT_OUT = "[{count} earlier messages are left out here: the conversation is too long to be read at once.]"
CUT = "\n[… {count} characters left out …]\n"


def length(messages: Sequence[Message]) -> int:
    """How many characters the model has to read."""
    return sum(_length(message) for message in messages)


def fitted(messages: Sequence[Message], budget: int) -> list[dict[str, Any]]:
    """The messages in at most about `budget` characters; the beginning and the newest are kept longest.

    In this order: all as they are; tools' results and arguments cut; the middle left out, with a note in its place, and
    what is kept cut where a single message is too long. A call stays with its results.
    """
    if length(messages) <= budget:
        return [dict(message) for message in messages]
    made = [_lean(message) for message in messages]
    if length(made) <= budget:
        return made
    head = _head(made)
    most = max(budget // 4, RESULT)
    kept = [_clipped(message, max(most // max(head, 1), 200)) for message in made[:head]]
    room = budget - length(kept)
    rounds = _rounds(made[head:])
    tail: list[dict[str, Any]] = []
    for taken in reversed(rounds):
        clipped = [_clipped(message, max(most // len(taken), 200)) for message in taken]
        if tail and length(clipped) > room:
            break
        room -= length(clipped)
        tail = [*clipped, *tail]
    gone = len(made) - head - len(tail)
    note = [{"role": "user", "content": LEFT_OUT.format(count=gone)}] if gone else []
    return _joined([*kept, *note, *tail])


def clip(text: str, most: int) -> str:
    """The text, or two thirds of `most` characters of its beginning and a third of its end."""
    if len(text) <= most:
        return text
    tail = most // 3
    head = most - tail
    return f"{text[:head]}{CUT.format(count=len(text) - most)}{text[len(text) - tail :]}"


def _head(messages: Sequence[Message]) -> int:
    """How many messages there are before the model first spoke: instructions, and what the chat is about."""
    said = next((place for place, each in enumerate(messages) if each["role"] not in ("system", "user")), len(messages))
    return min(said, MOST_AT_HEAD)


def _rounds(messages: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Each message with the tool results that follow it."""
    made: list[list[dict[str, Any]]] = []
    for message in messages:
        if message["role"] == "tool" and made:
            made[-1].append(message)
        else:
            made.append([message])
    return made


def _joined(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """With what the user says in a row as one message: some models take the roles in turns only."""
    made: list[dict[str, Any]] = []
    for message in messages:
        if made and message["role"] == made[-1]["role"] == "user":
            made[-1] = {**made[-1], "content": f"{made[-1]['content']}\n\n{message['content']}"}
        else:
            made.append(message)
    return made


def _lean(message: Message) -> dict[str, Any]:
    """Without media and thoughts, tools' results and arguments cut."""
    lean = {key: value for key, value in message.items() if key not in ("thinking_blocks", "reasoning_content")}
    content = lean.get("content")
    if isinstance(content, list):
        lean["content"] = "\n".join(part.get("text") or f"[{part.get('type', 'part')}]" for part in content)
    if message["role"] == "tool":
        lean["content"] = clip(str(lean.get("content") or ""), RESULT)
    if calls := message.get("tool_calls"):
        lean["tool_calls"] = [_lean_call(call) for call in calls]
    return lean


def _lean_call(call: Message) -> dict[str, Any]:
    function = call["function"]
    if len(function["arguments"]) <= RESULT:
        return dict(call)
    arguments = json.dumps({"arguments": clip(function["arguments"], RESULT)}, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}


def _clipped(message: dict[str, Any], most: int) -> dict[str, Any]:
    content = message.get("content")
    return {**message, "content": clip(content, most)} if isinstance(content, str) else message


def _length(message: Message) -> int:
    content = message.get("content")
    if isinstance(content, str):
        size = len(content)
    else:
        size = sum(len(part["text"]) if "text" in part else MEDIA for part in content or ())
    for call in message.get("tool_calls") or ():
        size += len(call["function"]["name"]) + len(call["function"]["arguments"])
    return size + sum(len(str(block.get("thinking", ""))) for block in message.get("thinking_blocks") or ())
