"""Who lives in a workspace of this machine: every process that was born there bears its mark in its environment."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

WORKSPACE, ROOT = "TURNSTONE_WORKSPACE_ID", "TURNSTONE_WORKSPACES"
ROUNDS = 50
PAUSE = 0.02  # seconds
_PROC = Path("/proc")


def marked(name: str, value: str) -> list[int]:
    """The living processes in whose environment this variable was set when they began; none where there is no /proc."""
    mark = f"{name}={value}".encode()
    entries = _PROC.iterdir() if _PROC.is_dir() else ()
    pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _bears(_PROC / str(pid), mark)]


def end(name: str, value: str, grace: float) -> int:
    """End all of them: asked first, then killed, until none is left; how many there were. For a thread of its own."""
    first = marked(name, value)
    _send(first, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while marked(name, value) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    for _ in range(ROUNDS):
        # Who is stopped first cannot fork away while the others are killed.
        left = marked(name, value)
        if not left:
            break
        _send(left, signal.SIGSTOP)
        _send(marked(name, value), signal.SIGKILL)
        time.sleep(PAUSE)
    return len(first)


def can_be_found() -> bool:
    """Can processes be told apart by their marks here?"""
    return sys.platform == "linux"


def _bears(entry: Path, mark: bytes) -> bool:
    try:
        environment = (entry / "environ").read_bytes()  # a zombie's is empty
    except OSError:  # gone, or somebody else's
        return False
    return mark in environment.split(b"\0")


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
