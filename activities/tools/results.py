"""A tool's outcome in the shape in which it is stored and read by the model (runtime.md 1.3)."""

from typing import Any

import orjson

from models.parts import Part, tool_result


def succeeded(call: Part, outcome: Any, at: str) -> Part:
    """The result part of a call that went well: JSON as it is, other text as `{"output": …}`."""
    return tool_result(call, normalised(outcome), created_at=at)


def failed(call: Part, why: str, at: str) -> Part:
    """The result part of a call that did not."""
    return tool_result(call, {"error": why}, is_error=True, created_at=at)


def normalised(outcome: Any) -> Any:
    """A JSON value; text that is JSON is taken at its word, bytes are read as UTF-8 as far as they are."""
    if isinstance(outcome, bytes):
        outcome = outcome.decode("utf-8", "replace")
    if isinstance(outcome, str):
        try:
            return orjson.loads(outcome)
        except orjson.JSONDecodeError:
            return {"output": outcome}
    return orjson.loads(orjson.dumps(outcome, default=str))
