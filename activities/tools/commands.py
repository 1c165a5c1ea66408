"""What commands in a workspace came to, as a model is told of it; the tools around processes have it in common."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from activities.tools.endings import ToolFailed, ToolUnknown
from models.rules import durations

OUTPUT_BYTES = 32 * 1024
USUAL_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=4)
STILL_RUNNING = "process is still running"
UNAWARE = "Nothing kept the command from writing: the workspace's agent is too old to know how."

_BACKGROUND = re.compile(r"(?<![&|>\\])&\s*$")
_DUMP = re.compile(r"\s*(?:cat|less|more|head|tail)\s+(?:-[\w-]+\s+(?:\d+\s+)?)*[^\s|<>;&$`'\"]+\s*")


def wait_of(text: str, *, name: str, may_be_zero: bool = False) -> timedelta:
    """How long to wait, as the model has put it; raises ToolFailed."""
    if not text.strip():
        return USUAL_WAIT
    try:
        wait = durations.parsed(text)
    except ValueError as wrong:
        raise ToolFailed(f"invalid {name}: {wrong}") from None
    if not wait and not may_be_zero:
        raise ToolFailed(f"invalid {name}: it must be positive")
    return min(wait, LONGEST_WAIT)


def backgrounded(command: str) -> tuple[str, bool]:
    """The command without a `&` at its end, and whether there was one."""
    bare = _BACKGROUND.sub("", command)
    return (bare.rstrip(), True) if bare != command else (command, False)


def advice(command: str) -> str:
    """A better tool for what the command does, if there is one."""
    if _DUMP.fullmatch(command):
        return "Use read_file to read files: it numbers lines and reads a part of a large file."
    return ""


def forewarned(result: dict[str, Any]) -> dict[str, Any]:
    """What an agent says of a command that is to be read-only, with a warning if it has taken no notice of that."""
    if "read_only" in result:
        return result
    return result | {"note": " ".join(filter(None, (UNAWARE, result.get("note"))))}


def told(result: Mapping[str, Any], *, note: str = "") -> dict[str, Any]:
    """What an agent says of a process, as the model is told; raises ToolUnknown for one whose end nobody knows.

    Of one that still runs the caller says what that means.
    """
    said = str(result.get("note") or "")
    if result.get("lost"):
        raise ToolUnknown(
            f"{said or 'Nobody knows how the command ended.'} Its output so far: {result.get('output') or '(none)'}"
        )
    code = result.get("exit_code")
    outcome: dict[str, Any] = {
        "success": code == 0,
        "output": str(result.get("output") or ""),
        "exit_code": -1 if code is None else code,
        "wall_duration_ms": result.get("wall_duration_ms", 0),
    }
    if result.get("signal"):
        outcome["error"] = f"the process was killed by {result['signal']}"
    if result.get("truncated"):
        outcome["truncated"] = _truncated(result)
    if notes := " ".join(filter(None, (said, note))):
        outcome["note"] = notes
    return outcome


def _truncated(result: Mapping[str, Any]) -> dict[str, Any]:
    total, kept = int(result.get("total_bytes") or 0), len(str(result.get("output") or "").encode())
    return {
        "original_bytes": total,
        "retained_bytes": min(kept, total),
        "omitted_bytes": max(total - kept, 0),
        "strategy": "head_tail",
    }
