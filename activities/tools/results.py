"""A tool's outcome in the shape in which it is stored and read by the model (runtime.md 1.3)."""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from activities.tools.tool import Attached, Media
from models.parts import Part, tool_result
from models.rules import tool_results


def succeeded(call: Mapping[str, Any], outcome: Any, at: str, most: int) -> Part:
    """The result part of a call that went well, in at most `most` bytes unless it is media."""
    if isinstance(outcome, Media):
        data = base64.b64encode(outcome.data).decode()
        shown = {"data": data, "mime_type": outcome.mime_type, "text": tool_results.legible(outcome.text)}
        return tool_result(call, shown, created_at=at) | {"is_media": True}
    if isinstance(outcome, Attached):
        made = succeeded(call, outcome.outcome, at, most)
        return made | {"provider_metadata": {tool_results.ATTACHED: list(outcome.files)}}
    return tool_result(call, tool_results.fitted(tool_results.normalised(outcome), most), created_at=at)


def failed(
    call: Mapping[str, Any],
    why: str,
    at: str,
    most: int = tool_results.FLOOR,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Part:
    """The result part of a call that did not."""
    error = tool_results.fitted({"error": tool_results.legible(why), **tool_results.legible(dict(facts))}, most)
    return tool_result(call, error, is_error=True, created_at=at)
