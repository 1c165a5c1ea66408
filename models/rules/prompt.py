"""Transcript → provider messages, in the OpenAI chat-completions form that the provider door takes (runtime.md 1.7)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from models.parts import Part, from_rest
from models.rules.repair import repaired, safe_id, safe_name

Message = dict[str, Any]

NOTHING = "(no text)"  # a message of white space alone would be refused

KEEPS_THINKING = frozenset({"anthropic", "bedrock"})
"""Providers that sign their reasoning and want it back, unchanged, before the tool calls it led to."""


def build(rows: Sequence[Mapping[str, Any]], *, provider: str) -> list[Message]:
    """The messages to send: `rows` in order, those hidden from the model left out, every call answered once."""
    visible = [row for row in rows if row.get("visibility", "both") != "user" and not row.get("deleted", False)]
    made = [_message(row, provider) for row in repaired(visible)]
    return [message for message in made if message is not None]


def _message(row: Mapping[str, Any], provider: str) -> Message | None:
    parts = [from_rest(part) for part in row["content"]]
    match row["role"]:
        case "system":
            return {"role": "system", "content": _text(parts)}
        case "user":
            return {"role": "user", "content": "\n\n".join(filter(str.strip, map(_said, parts))) or NOTHING}
        case "assistant":
            return _assistant(parts, provider)
        case _:
            [result] = parts
            return {
                "role": "tool",
                "tool_call_id": safe_id(result.get("tool_call_id", "")),
                "content": json.dumps(result.get("result"), ensure_ascii=False),
            }


def _assistant(parts: Sequence[Part], provider: str) -> Message | None:
    text = _text(parts)
    if not text.strip():
        text = ""  # Anthropic refuses text that is only white space
    calls = [_call(part) for part in parts if part["type"] == "tool-call" and not part.get("provider_executed")]
    if not text and not calls:
        return None  # reasoning alone says nothing to the next step, and providers refuse an empty message
    message: Message = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = calls
    thinking = [block for part in parts if part["type"] == "reasoning" for block in _thinking(part)]
    if thinking and provider in KEEPS_THINKING:
        message["thinking_blocks"] = thinking
    return message


def _thinking(part: Part) -> list[dict[str, str]]:
    metadata = part.get("provider_metadata") or {}
    if metadata.get("redacted"):
        return [{"type": "redacted_thinking", "data": metadata["redacted"]}]
    if metadata.get("signature"):
        return [{"type": "thinking", "thinking": part.get("text", ""), "signature": metadata["signature"]}]
    return []  # unsigned thinking (an interrupted block) would be refused


def _call(part: Part) -> dict[str, Any]:
    args = part.get("args")
    return {
        "id": safe_id(part.get("tool_call_id", "")),
        "type": "function",
        "function": {
            "name": safe_name(part.get("tool_name", "")),
            "arguments": json.dumps(args if isinstance(args, dict) else {}, ensure_ascii=False),
        },
    }


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.get("text", "") for part in parts if part["type"] == "text")


def _said(part: Part) -> str:
    match part["type"]:
        case "text":
            return str(part.get("text", ""))
        case "file-reference":
            return (
                f"[file {part.get('file_name', '')}, lines {part.get('start_line', 0)}-{part.get('end_line', 0)}]\n"
                f"{part.get('content', '')}"
            )
        case "file":
            return f"[attached file {part.get('name') or part.get('file_id') or ''}]"
        case _:
            return ""
