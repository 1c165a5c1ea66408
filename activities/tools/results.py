"""A tool's outcome in the shape in which it is stored and read by the model (runtime.md 1.3)."""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from activities.tools.tool import Attached, Media
from models.parts import Part, tool_result
from models.rules import tool_results


def succeeded(call: Mapping[str, Any], outcome: Any, at: str, most: int) -> Part:
    """The result part of a call that went well, in at most `most` bytes beside the data of media."""
    if isinstance(outcome, Media):
        shown = _shown(outcome) | {"text": tool_results.cut(tool_results.legible(outcome.text), most)}
        if outcome.more:
            shown["more"] = [_shown(each) for each in outcome.more]
        return tool_result(call, shown, created_at=at) | {"is_media": True}
    if isinstance(outcome, Attached):
        made = succeeded(call, outcome.outcome, at, most)
        return made | {"provider_metadata": {tool_results.ATTACHED: list(outcome.files)}}
    return tool_result(call, tool_results.fitted(tool_results.normalised(outcome), most), created_at=at)


def _shown(media: Media) -> dict[str, Any]:
    return {"data": base64.b64encode(media.data).decode(), "mime_type": media.mime_type}


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
