"""Watches the repositories of the working directory, and tells what has changed in them."""

import asyncio
import hashlib
import logging
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.frames import Frame

log = logging.getLogger(__name__)

DIFF_BYTES = 2**20
_FRAME_BYTES = 4 * 2**20
_READ_BYTES = 16 * 2**20
_DEPTH = 3
_MOST = 20
_UNTRACKED = 100
_UNTRACKED_BYTES = 64 * 1024
_SKIPPED = {"node_modules", ".venv", "venv", "__pycache__", "target", "vendor"}
_INTERVAL = 5.0
_PATIENCE = 20
# The index stays unlocked for whoever works there; nothing that a repository names is run to look at it.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotepath=false")
_CREDENTIALS = re.compile(r"(?<=//)[^/@]*@")


@dataclass(frozen=True)
class Repository:
    """A repository as it was seen; `mark` differs when anything of it does."""

    mark: str
    told: Frame


class Git:
    """What was last seen of each repository, and a scan that says what is new."""

    def __init__(self, directory: Callable[[], Path], environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = {**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
        self._seen: dict[str, Repository] = {}
        self._wake = asyncio.Event()
        self._again = False

    def refresh(self) -> None:
        """Look now, and tell it even if nothing has changed."""
        self._again = True
        self._wake.set()

    def forget(self) -> None:
        """Whoever listens now has been told nothing yet."""
        self._seen = {}
        self._wake.set()

    async def everything(self) -> Frame:
        """One scan, with every repository in it."""
        now = await asyncio.to_thread(self._scan, {})
        return _frame([repository.told for repository in now.values()])

    async def watch(self, tell: Callable[[Frame], bool], listening: Callable[[], bool]) -> None:
        """For ever, while somebody listens: tell of repositories that are new, changed or gone."""
        while True:
            self._wake.clear()
            if not listening():
                await self._wake.wait()
                continue
            asked, self._again = self._again, False
            begin = time.monotonic()
            seen = self._seen
            try:
                now = await asyncio.to_thread(self._scan, seen)
            except (OSError, subprocess.SubprocessError) as error:
                log.debug("git: %s", error)
                if asked:
                    tell({**_frame([]), "error": str(error)})
            else:
                if self._seen is seen:  # nobody new has come meanwhile
                    changed = [now[root].told for root in now if root not in seen or seen[root].mark != now[root].mark]
                    gone = [
                        {**seen[root].told, "unified_diff": "", "removed": True} for root in seen if root not in now
                    ]
                    if not (changed or gone or asked) or tell(_frame(changed + gone)):
                        self._seen = now
            pause = max(_INTERVAL, 20 * (time.monotonic() - begin))
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _scan(self, seen: Mapping[str, Repository]) -> dict[str, Repository]:
        found = {}
        for root in _roots(self._directory()):
            status = self._run(root, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all")
            if status is None:
                continue
            mark = _mark(root, status)
            known = seen.get(str(root))
            found[str(root)] = known if known and known.mark == mark else Repository(mark, self._told(root, status))
        return found

    def _told(self, root: Path, status: bytes) -> Frame:
        branch = re.search(rb"(?:^|\0)# branch\.head ([^\0]*)", status)
        remote = self._run(root, "remote", "get-url", "origin") or b""
        base = "HEAD" if self._run(root, "rev-parse", "--verify", "-q", "HEAD") is not None else "--cached"
        diff = self._run(root, "diff", base, "--no-ext-diff", "--no-textconv", "--no-color") or b""
        return {
            "repo_root": str(root),
            "branch": branch.group(1).decode(errors="replace") if branch else "",
            "remote_origin": _CREDENTIALS.sub("", remote.decode(errors="replace").strip()),
            "unified_diff": _bounded(diff + _untracked(root, status)),
            "removed": False,
        }

    def _run(self, root: Path, *words: str) -> bytes | None:
        with subprocess.Popen(
            [*_GIT, *words],
            cwd=root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            killer = threading.Timer(_PATIENCE, process.kill)
            killer.start()
            try:
                assert process.stdout is not None
                said = process.stdout.read(_READ_BYTES)
                if len(said) == _READ_BYTES:  # nobody wants to know more
                    process.kill()
                    return said
                return said if process.wait() == 0 else None
            finally:
                killer.cancel()


def _frame(repositories: list[Frame]) -> Frame:
    """What is told of repositories, in a size that any WebSocket takes."""
    told = []
    room = _FRAME_BYTES
    for repository in repositories:
        room -= len(str(repository["unified_diff"]).encode())
        left_out = "[… the diffs of all repositories are too long together: this one is left out …]\n"
        told.append(repository if room >= 0 else {**repository, "unified_diff": left_out})
    return {"scanned_at": datetime.now(UTC).isoformat(), "repositories": told}


def _roots(directory: Path) -> list[Path]:
    """Repositories in a directory, or the one that it is in."""
    found: list[Path] = []
    level = [directory]
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            if (folder / ".git").exists():
                found.append(folder)
                continue  # what is inside is its own business
            try:
                with os.scandir(folder) as entries:
                    below += [
                        Path(entry.path)
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False)
                        and entry.name not in _SKIPPED
                        and not entry.name.startswith(".")
                    ]
            except OSError:
                continue
        level = sorted(below)[:200]
    if not found:
        found = [parent for parent in directory.parents if (parent / ".git").exists()][:1]
    return found[:_MOST]


def _names(status: bytes) -> list[bytes]:
    """The paths that a status names."""
    names = []
    for line in status.split(b"\0"):
        if line[:2] == b"? ":
            names.append(line[2:])
        elif line[:2] in {b"1 ", b"u "}:
            names.append(line.split(b" ", 8 if line[:1] == b"1" else 10)[-1])
        elif line[:2] == b"2 ":
            names.append(line.split(b" ", 9)[-1])
    return names


def _mark(root: Path, status: bytes) -> str:
    """The status, and what of the named files changes when they are changed once more."""
    said = hashlib.sha256(status)
    for name in _names(status):
        try:
            entry = (root / os.fsdecode(name)).lstat()
        except OSError:
            continue
        said.update(b"%d %d %d;" % (entry.st_mtime_ns, entry.st_size, entry.st_mode))
    for file in (".git/HEAD", ".git/config"):
        try:
            said.update(b"%d;" % (root / file).lstat().st_mtime_ns)
        except OSError:
            continue
    return said.hexdigest()


def _untracked(root: Path, status: bytes) -> bytes:
    """New files as a diff shows them, which git leaves out."""
    parts = []
    for name in [line[2:] for line in status.split(b"\0") if line[:2] == b"? "][:_UNTRACKED]:
        path = root / os.fsdecode(name)
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > _UNTRACKED_BYTES:
                content = None
            else:
                content = path.read_bytes()
        except OSError:
            continue
        head = b"diff --git a/%s b/%s\nnew file mode 100644\n" % (name, name)
        if content is None or b"\0" in content:
            parts.append(head + b"Binary files /dev/null and b/%s differ\n" % name)
        elif content:
            lines = content.splitlines(keepends=True)
            body = b"".join(b"+" + line for line in lines)
            ending = b"" if content.endswith(b"\n") else b"\n\\ No newline at end of file\n"
            parts.append(head + b"--- /dev/null\n+++ b/%s\n@@ -0,0 +1,%d @@\n" % (name, len(lines)) + body + ending)
        else:
            parts.append(head)
    return b"".join(parts)


def _bounded(diff: bytes) -> str:
    text = diff.decode(errors="replace").replace("\0", "\ufffd")
    if len(diff) <= DIFF_BYTES:
        return text
    kept = diff[:DIFF_BYTES].decode(errors="ignore").replace("\0", "\ufffd").rpartition("\n")[0]
    return f"{kept}\n[… the diff is {len(diff)} bytes long, the rest is left out …]\n"
