"""How much a command may take: each limit with its default, and how it is imposed."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What one command may take; 0 is no limit."""

    processes: int = 1024  # of one command: a watchdog kills it beyond
    processes_total: int = 8192  # of the agent and all commands: a pids cgroup, where one may be made
    open_files: int = 65536
    memory_kilobytes: int = 0  # address space of each process
    cpu_seconds: int = 0  # of each process
    file_kilobytes: int = 0  # the largest file that a process may write
    output_bytes: int = 64 * 2**20  # of one command's output on disk; the middle of more is given back
    output_total_bytes: int = 2**30  # of finished commands together: the oldest are forgotten beyond

    def narrowed(self, said: Mapping[str, object]) -> "Limits":
        """With each limit that is named made narrower: whoever set one first is never overruled upwards."""
        changes = {}
        for field in fields(self):
            value = said.get(field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                mine: int = getattr(self, field.name)
                changes[field.name] = min(mine, value) if mine else value
        return replace(self, **changes)

    def script(self) -> str:
        """The words of a shell that imposes what a shell can. A host that grants less keeps its own limit."""
        asked = (
            ("c", 0, True),
            ("n", self.open_files, False),
            ("v", self.memory_kilobytes, False),
            ("t", self.cpu_seconds, False),
            ("f", self.file_kilobytes * 2, False),  # in blocks of 512 bytes
        )
        return " ".join(f"ulimit -{letter} {value} 2>/dev/null;" for letter, value, zero in asked if value or zero)


def parse(words: list[str]) -> dict[str, object]:
    """Limits of the command line, `name=value` each; ValueError says which is wrong."""
    known = {field.name for field in fields(Limits)}
    said: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known or not value.isdigit():
            raise ValueError(f"{word!r}: a limit is name=number, with one of {', '.join(sorted(known))}")
        said[name] = int(value)
    return said


def confine(name: str, maximum: int) -> Path | None:
    """Enter a pids cgroup of one's own (version 2, else 1), the ceiling of all commands together; None if refused."""
    for parent, unified in _parents():
        folder = parent / f"turnstone-agent-{name}"
        try:
            folder.mkdir(exist_ok=True)
            (folder / "cgroup.procs").write_text(str(os.getpid()))
            if unified:  # grants a controller to its children only once it has no processes of its own
                (parent / "cgroup.subtree_control").write_text("+pids")
            (folder / "pids.max").write_text(str(maximum))
        except OSError:
            with suppress(OSError):
                (parent / "cgroup.procs").write_text(str(os.getpid()))
            with suppress(OSError):
                folder.rmdir()
            continue
        return folder
    return None


def confined(name: str) -> list[int]:
    """Who is in the cgroup of an agent: its commands, however well they hide, and itself."""
    found = []
    for parent, _ in _parents():
        with suppress(OSError):
            found += [int(line) for line in (parent / f"turnstone-agent-{name}" / "cgroup.procs").read_text().split()]
    return [pid for pid in found if pid != os.getpid()]


def release(name: str) -> None:
    """Remove the cgroup of an agent that is gone with all its commands."""
    for parent, _ in _parents():
        with suppress(OSError):
            (parent / f"turnstone-agent-{name}").rmdir()


def _parents() -> list[tuple[Path, bool]]:
    """Where a pids cgroup may be made, and whether it would be one of version 2."""
    found = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            parts = [part for part in path.split("/") if part and not part.startswith("turnstone-agent-")]
            if number == "0":
                found.append((Path("/sys/fs/cgroup", *parts), True))
            elif "pids" in controllers.split(","):
                found.append((Path("/sys/fs/cgroup/pids", *parts), False))
    return [(parent, unified) for parent, unified in found if os.access(parent, os.W_OK)]
