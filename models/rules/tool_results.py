"""What a tool's outcome looks like in a transcript: JSON of a bounded size, and honest where nobody knows."""

from collections.abc import Mapping
from typing import Any

import orjson

from models.parts import Part, from_rest, to_rest, tool_result

FLOOR = 16 * 1024  # bytes
WITHOUT_LIMIT = 64 * 1024  # bytes, for a model whose context limit is not known
BYTES_PER_TOKEN = 3
RESERVE = 256  # bytes, for the marker and for what surrounds the text

MAY_HAVE_HAPPENED = "It may have taken effect: find out before you repeat it."
UNKNOWN_AFTER_CRASH = f"The worker died during this tool call, which was not run again. {MAY_HAVE_HAPPENED}"
UNKNOWN_AFTER_STOP = f"This tool call was interrupted while it ran. {MAY_HAVE_HAPPENED}"


def unknown(call: Mapping[str, Any], why: str, at: str | None = None) -> Part:
    """The result part of a call that may or may not have happened."""
    return tool_result(call, {"error": why, "outcome": "unknown"}, is_error=True, created_at=at)


ATTACHED = "attached"
"""Internal mark of a result: the parts of the files that its tool has attached to the chat."""


def with_files(result: Part) -> list[Part]:
    """The parts of the message that tells a result: the result, and the files that came with it."""
    return [result, *((result.get("provider_metadata") or {}).get(ATTACHED) or ())]


def normalised(outcome: Any) -> Any:
    """A JSON value that can be stored; text that is JSON is taken at its word, other text is `{"output": …}`."""
    if isinstance(outcome, (bytes, bytearray, memoryview)):
        outcome = bytes(outcome).decode("utf-8", "replace")
    outcome = legible(outcome)
    if not isinstance(outcome, str):
        value = orjson.loads(orjson.dumps(outcome, default=str, option=orjson.OPT_NON_STR_KEYS))
        return value if _storable(value) else {"output": str(value)}
    try:
        value = orjson.loads(outcome)
    except orjson.JSONDecodeError:
        return {"output": outcome}
    return value if _storable(value) else {"output": outcome}


def legible(value: Any) -> Any:
    """The value with halves of characters replaced, which no encoder takes."""
    return from_rest(to_rest(value))


def budget(context_limit: int | None) -> int:
    """The bytes that one result may take of a context of so many tokens."""
    if not context_limit or context_limit < 0:
        return WITHOUT_LIMIT
    return max(context_limit // 3 * BYTES_PER_TOKEN, FLOOR)


def fitted(result: Any, most: int) -> Any:
    """The result in at most `most` bytes of JSON: its longest text is cut in the middle, or all of it as one text."""
    size = len(_encoded(result))
    if size <= most:
        return result
    if isinstance(result, dict):
        texts = {key: value for key, value in result.items() if isinstance(value, str)}
        longest = max(texts, key=lambda key: len(texts[key]), default=None)
        if longest is not None:
            around = len(_encoded({**result, longest: ""}))
            if most - around > 2 * RESERVE:
                return {**result, longest: _cut_to(texts[longest], most - around)}
    whole = result if isinstance(result, str) else _encoded(result).decode()
    return {"output": _cut_to(whole, most - len(_encoded({"output": ""})))}


def cut(text: str, most: int) -> str:
    """Two thirds of what fits from the start and one third from the end, around a marker that names what is gone."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return text
    room = max(most - RESERVE, 0)
    front = room * 2 // 3
    head = raw[:front].decode("utf-8", "ignore")
    tail = raw[len(raw) - (room - front) :].decode("utf-8", "ignore") if room > front else ""
    removed = len(raw) - len(head.encode()) - len(tail.encode())
    return f"{head}\n\n[… {removed} bytes were removed here: the result was too large …]\n\n{tail}"


def _cut_to(text: str, most: int) -> str:
    """Cut until the text fits as JSON, in which a character may take up to six bytes."""
    allowed = most
    while len(_encoded(made := cut(text, allowed))) - 2 > most and allowed > RESERVE:
        allowed = min(allowed - 1, max(allowed * most // len(_encoded(made)), RESERVE))
    return made


def _storable(value: Any) -> bool:
    """Is it shallow enough to be encoded where it will rest?"""
    try:
        orjson.dumps([[[[value]]]])
    except (orjson.JSONEncodeError, RecursionError):
        return False
    return True


def _encoded(value: Any) -> bytes:
    return orjson.dumps(value)
