"""What the machine says of processes (CPU, memory, family) and of itself."""

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024
PACKAGES = ("litellm", "temporalio", "fastapi", "uvicorn", "psycopg", "sqlalchemy", "orjson")


@dataclass(frozen=True)
class Memory:
    """MiB of some processes: `pss` counts a shared page once, `rss` once a process."""

    pss: float
    rss: float


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(roots: Iterable[int]) -> list[int]:
    """Processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting += children.get(pid, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU that processes used since they began, with their children that have ended."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid))) / TICKS


class Strangers:
    """CPU that went to neither us nor our descendants: what a figure may owe to others on the machine."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = self._elsewhere()

    def share(self) -> float:
        """Per cent of the machine's cores that others had since it was made."""
        seconds = (time.monotonic() - self._began) * len(os.sched_getaffinity(0))
        return max((self._elsewhere() - self._before) / seconds * 100, 0.0)

    @staticmethod
    def _elsewhere() -> float:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        busy = user + nice + system + irq + softirq + steal
        return busy / TICKS - cpu_seconds(family([os.getpid()]))


def memory(pids: Iterable[int]) -> Memory:
    """What processes hold in memory now."""
    pss = rss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        pss += sizes["Pss"]
        rss += sizes["Rss"]
    return Memory(pss * 1024 / MIB, rss * 1024 / MIB)


def describe() -> dict[str, str]:
    """Facts of this machine and of the software that matters; nothing that names it."""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def revision() -> str:
    """The commit measured, marked when the tree differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short=12", "HEAD") or "no commit yet"
    return f"{commit} with changes" if git("status", "--porcelain", "--", ".", ":!benchmarks") else commit
