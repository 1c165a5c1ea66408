"""Who belongs to a command: its session, and everything that carries its mark in the environment."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "TURNSTONE_PROCESS"
_PROC = Path("/proc")


def total() -> int:
    """How many processes there are at all: a cheap upper bound of any command's own."""
    try:
        with os.scandir(_PROC) as entries:
            return sum(1 for entry in entries if entry.name.isdigit())
    except OSError:
        return 0


def marked(prefix: str) -> dict[int, str]:
    """The processes whose mark begins so, with what follows it; only those that we may look into."""
    found = {}
    needle = f"{MARK}={prefix}".encode()
    for pid in _pids():
        environment = _bytes(pid, "environ")
        if needle in environment:
            at = environment.index(needle)
            if at == 0 or environment[at - 1] == 0:
                found[pid] = environment[at + len(needle) :].split(b"\0", 1)[0].decode(errors="replace")
    return found


def members(mark: str, leader: int | None) -> list[int]:
    """The processes of a command, without its shell: those in its session and those that carry its mark."""
    carrying = {pid for pid, rest in marked(mark).items() if not rest}
    if leader is not None:
        # A number is not given out again while its session has members. If it is in use, it must be by our own shell.
        ours = leader in carrying or not (_PROC / str(leader)).exists()
        if ours:
            carrying |= {pid for pid in _pids() if _session(pid) == leader}
    return sorted(carrying - {leader, os.getpid()})


def residents(scope: str, leaders: set[int]) -> list[int]:
    """The processes of all commands of an agent: those with its mark, and those in a session of one of its shells."""
    carrying = set(marked(f"{scope}/"))
    ours = {leader for leader in leaders if leader in carrying or not (_PROC / str(leader)).exists()}
    return sorted((carrying | {pid for pid in _pids() if _session(pid) in ours}) - {os.getpid()})


def tell(pids: list[int], number: int) -> int:
    """Send a signal to each; how many got it."""
    told = 0
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            told += 1
    return told


def wipe(mark: str, leader: int | None, patience: float = 2.0) -> int:
    """Kill a command that may be multiplying: hold all still, kill all, until none is left; how many were killed."""
    killed = 0
    end = time.monotonic() + patience
    while (found := members(mark, leader)) and time.monotonic() < end:
        tell(found, signal.SIGSTOP)
        found = members(mark, leader)
        killed += tell(found, signal.SIGKILL)
        time.sleep(0.005)
    return killed


def _pids() -> list[int]:
    try:
        return [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]
    except OSError:
        return []


def _session(pid: int) -> int | None:
    fields = _bytes(pid, "stat").rpartition(b")")[2].split()
    if len(fields) < 4 or fields[0] in {b"Z", b"X"}:
        return None
    return int(fields[3])


def _bytes(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
