"""Make a transcript acceptable to a provider: every call answered once, right after it, in order (runtime.md 1.7)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from models.rules import history

INTERRUPTED = {"error": "The tool call was interrupted and has no result."}

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")

Row = Mapping[str, Any]


def safe_id(call_id: str) -> str:
    """A tool call id in the alphabet that every provider takes."""
    return _UNSAFE.sub("_", call_id) or "call"


def safe_name(tool: str) -> str:
    """A tool's name as every provider takes it, also one that a model made up or never finished."""
    return _UNSAFE.sub("_", tool)[:64] or "unknown"


def repaired(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with open calls answered by an error, stray results dropped, and rows without content left out.

    Results keep their own rows; each follows its assistant row, in call order.
    """
    made: list[dict[str, Any]] = []
    index = 0
    while index < len(rows):
        row = rows[index]
        index += 1
        if row["role"] == "tool":
            continue  # a result without a call before it
        if row["content"]:
            made.append({"role": row["role"], "content": list(row["content"])})
        if row["role"] != "assistant":
            continue
        results: dict[str, list[Any]] = {}
        while index < len(rows) and rows[index]["role"] == "tool":
            for part in rows[index]["content"]:
                if part.get("type") == "tool-result" and not part.get("provider_executed"):
                    results.setdefault(part.get("tool_call_id", ""), []).append(part)
            index += 1
        for call in history.calls(row["content"]):
            named = results.get(call.get("tool_call_id", ""))
            made.append({"role": "tool", "content": [named.pop(0) if named else _unanswered(call)]})
    return made


def _unanswered(call: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "tool-result",
        "tool_call_id": call.get("tool_call_id", ""),
        "tool_name": call.get("tool_name", ""),
        "result": INTERRUPTED,
        "is_error": True,
    }
