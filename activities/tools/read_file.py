"""The tool `read_file`: lines of a file in the workspace, numbered, or what a directory holds."""

import posixpath
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, EVERYWHERE, ToolContext, tool
from models.rules.executions import Policy

LINES = 2000
MOST_BYTES = 32 * 1024


class Arguments(BaseModel):
    """Read a text file in the workspace; its lines come with their numbers, which are not part of the file.

    Of a directory, list what is in it.
    """

    path: str = Field(description="Absolute, or from the workspace's directory; `~` is the home directory.")
    offset: int = Field(default=1, ge=1, description="The first line to read, from 1.")
    limit: int = Field(default=LINES, ge=1, le=100_000, description="How many lines to read at most.")


@tool(policy=Policy.IDEMPOTENT, offered=EVERYWHERE, timeout=ASKING)
async def read_file(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    if not arguments.path.strip():
        raise ToolFailed("path is required")
    request = {
        "path": arguments.path.strip(),
        "offset": arguments.offset,
        "limit": arguments.limit,
        "max_bytes": MOST_BYTES,
    }
    result = await context.ask("read_file", request, harmless=True)
    if result.get("is_directory"):
        return _directory(result)
    if result.get("binary"):
        raise ToolFailed(
            f"{arguments.path} is not a text file ({result.get('file_size', 0)} bytes). Look into it with a command."
        )
    outcome = {
        "content": _numbered(str(result.get("content") or ""), int(result.get("first_line") or arguments.offset)),
        "file_size": result.get("file_size", 0),
        "total_lines": result.get("total_lines", 0),
        "lines_read": result.get("lines_read", 0),
    }
    if result.get("truncated"):
        following = outcome_end(result) + 1
        outcome["note"] = f"There was no room for more: read on from line {following}."
    if result.get("note"):
        outcome["note"] = " ".join(filter(None, (outcome.get("note"), str(result["note"]))))
    return outcome


def outcome_end(result: Mapping[str, Any]) -> int:
    """The number of the last line that was read."""
    return int(result.get("first_line") or 1) + int(result.get("lines_read") or 0) - 1


def _numbered(content: str, first: int) -> str:
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    return "\n".join(f"{number}\t{line.removesuffix(chr(13))}" for number, line in enumerate(lines, first))


def _directory(result: Mapping[str, Any]) -> dict[str, Any]:
    path = str(result.get("absolute_path") or "")
    entries = [
        {
            "name": str(each.get("name") or ""),
            "path": posixpath.join(path, str(each.get("name") or "")),
            "is_dir": bool(each.get("is_dir")),
            "size": each.get("size", 0),
        }
        for each in result.get("entries") or ()
    ]
    return {
        "content": "\n".join(f"{each['name']}/" if each["is_dir"] else str(each["name"]) for each in entries),
        "is_directory": True,
        "absolute_path": [piece for piece in path.split("/") if piece],
        "absolute_path_string": path,
        "entries": entries,
        "entries_read": len(entries),
        "total_entries": result.get("total_entries", len(entries)),
        "truncated": bool(result.get("truncated")),
    }
