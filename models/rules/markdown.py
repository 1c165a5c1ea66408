"""A chat as Markdown for people. What was said is quoted, so nothing in it can break out of its place."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from models.parts import Part

_LINE = re.compile(r"\r\n|\r|\n")
_TICKS = re.compile(r"`+")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")
_ROLES = {"user": "User", "assistant": "Assistant", "tool": "Tool"}
_INFO = re.compile(r"[^a-z]")


def heading(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """The top of the document: what the chat is called, and facts about it."""
    lines = [f"# {_inline(title)}", ""]
    lines += [f"- {name}: {_inline(value)}" for name, value in facts]
    return "\n".join(lines) + "\n"


def message(role: str, created_at: str, parts: Sequence[Part]) -> str:
    """A message under its role; tool calls and results are fenced."""
    blocks = [f"## {_ROLES.get(role, role)} · {created_at}"]
    blocks += [block for part in parts if (block := _block(part))]
    return "\n" + "\n\n".join(blocks) + "\n"


def fenced(content: str, language: str = "") -> str:
    """The content as a code block that nothing in it can end."""
    longest = max((len(run) for run in _TICKS.findall(content)), default=0)
    fence = "`" * max(3, longest + 1)
    text = "\n".join(_LINE.split(content))
    return f"{fence}{_INFO.sub('', language)}\n{text}\n{fence}"


def quoted(content: str) -> str:
    """The content as a block quote: fences, headings and markup that it opens end with it."""
    return "\n".join(f"> {line}" if line else ">" for line in _LINE.split(content))


def _block(part: Part) -> str:
    match part.get("type"):
        case "text":
            return quoted(part.get("text") or "")
        case "reasoning":
            return f"*Reasoning*\n\n{quoted(part.get('text') or '')}"
        case "tool-call":
            return f"**Call** {_code(part)}\n\n{_json(part.get('args', {}))}"
        case "tool-result":
            outcome = "Error" if part.get("is_error") else "Result"
            return f"**{outcome}** {_code(part)}\n\n{_json(part.get('result'))}"
        case "source":
            return f"- Source: {_inline(part.get('title') or '')} {_inline(part.get('url') or '')}"
        case "file":
            return f"- File: {_inline(part.get('name') or '')} ({_inline(part.get('media_type') or '')})"
        case "file-reference":
            lines = f"lines {part.get('start_line', 0)}–{part.get('end_line', 0)}"
            return f"- {_inline(part.get('file_name') or '')}, {lines}\n\n{fenced(part.get('content') or '')}"
        case "context-file":
            return f"- Context: {_inline(part.get('context_file_path') or '')}"
        case "skill":
            return f"- Skill: {_inline(part.get('skill_name') or '')}"
        case _:
            return ""


def _json(value: Any) -> str:
    """A value as people read it: the output of a tool as text, everything else as indented JSON."""
    if isinstance(value, Mapping) and value.keys() == {"output"} and isinstance(value["output"], str):
        return fenced(value["output"], "text")
    return fenced(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode(), "json")


def _code(part: Part) -> str:
    return f"`{' '.join(str(part.get('tool_name') or '').replace('`', ' ').split()) or 'unknown'}`"


def _inline(text: str) -> str:
    """The text on one line, with nothing in it that Markdown would take for its own."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
