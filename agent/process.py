"""One command: what is known of it, whether it still runs, and what the API is told of it."""

import asyncio
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent import readonly
from agent.frames import Frame, Refused
from agent.ledger import write_whole
from agent.output import Cap, clip
from agent.shim import Observed, observe

_COMMAND = 2000  # characters of it in a list
_LOST = "The shell that ran the command was killed, so that nobody knows how it ended; it may still be running."
_NOT_RUN = "The command did not run: what was to keep it from writing ended first"
_LOST_HOST = "The host stopped while the command ran, or before it began: nobody knows."


@dataclass(frozen=True)
class Info:
    """What was asked for."""

    command: str
    background: bool
    started_at: float
    boot_id: str
    read_only: bool = False
    confined: bool = False  # what is to be read-only may have to run without
    caveat: str = ""  # what a model must know of that


class Process:
    """A command and its folder; `done` is set once it has ended or is lost."""

    def __init__(self, job: str, folder: Path, info: Info, output_bytes: int) -> None:
        self.job = job
        self.folder = folder
        self.info = info
        self.cap = Cap(folder / "output", output_bytes)
        self.done = asyncio.Event()
        self.observed = Observed("pending")

    def look(self) -> Observed:
        """Read the files again."""
        if not self.done.is_set():
            self.observed = observe(self.folder)
            if self.observed.state in {"exited", "lost"}:
                self.done.set()
        return self.observed

    def lose(self, note: str = _LOST_HOST) -> None:
        """Nobody can know how it ended."""
        self.observed = Observed("lost")
        self.remark(note)
        self.done.set()

    @property
    def running(self) -> bool:
        """Whether it was begun and has not ended."""
        return not self.done.is_set() and self.observed.state != "pending"

    def begun(self) -> None:
        """Its shell has the word to begin."""
        self.observed = Observed("starting")

    def remark(self, note: str) -> None:
        """Keep a sentence for whoever asks how it ended."""
        write_whole(self.folder / "note", note.encode())

    def size(self) -> int:
        """The room on disk that its output takes, and what it has left in its own directory."""
        files = [self.folder / "output"]
        if self.info.read_only:
            files += [Path(top, name) for top, _, names in os.walk(self.folder / readonly.ROOM) for name in names]
        blocks = 0
        for file in files:
            with suppress(FileNotFoundError):
                blocks += file.lstat().st_blocks
        return blocks * 512

    def remove(self) -> None:
        """Forget it, and what it has left, also what its owner has made unwritable. Links are not followed."""
        for top, folders, _ in os.walk(self.folder):
            for folder in (Path(top, name) for name in folders):
                if not folder.is_symlink():
                    with suppress(OSError):
                        folder.chmod(0o700)
        shutil.rmtree(self.folder, ignore_errors=True)

    def snapshot(self, limit: int) -> Frame:
        """The command as the API is told of it, with at most so many bytes of output; refused if it could not run."""
        seen = self.look()
        shown = clip(self.folder / "output", limit)
        if seen.state == "exited" and self.info.confined and not self._proven():
            raise Refused("internal", f"{_NOT_RUN}: {shown.text.strip() or f'exit code {seen.code}'}")
        ended = seen.ended_at or time.time()
        told: Frame = {
            "process_id": self.job,
            "running": self.running,
            "output": shown.text,
            "truncated": shown.truncated,
            "total_bytes": shown.total,
            "wall_duration_ms": max(0, round((ended - self.info.started_at) * 1000)),
        }
        note = self._note()
        if self.info.read_only:
            told["read_only"] = self.info.confined
        if seen.code is not None:
            told["exit_code"] = seen.code
            if (name := signal_name(seen.code)) is not None:
                told["signal"] = name
        if seen.state == "lost":
            told["lost"] = True
            note = note or _LOST
        if said := " ".join(filter(None, (self.info.caveat, note))):
            told["note"] = said
        return told

    def line(self) -> Frame:
        """The command in a list of commands."""
        seen = self.look()
        told: Frame = {
            "id": self.job,
            "command": self.info.command[:_COMMAND],
            "running": self.running,
            "background": self.info.background,
            "started_at": self.info.started_at,
        }
        if seen.code is not None:
            told["exit_code"] = seen.code
        if seen.state == "lost":
            told["lost"] = True
        return told

    def _proven(self) -> bool:
        """Whether it was confined before it began."""
        with suppress(FileNotFoundError):
            return (self.folder / readonly.PROOF).stat().st_size > 0
        return False

    def _note(self) -> str | None:
        with suppress(FileNotFoundError):
            return (self.folder / "note").read_text()
        return None


def signal_name(code: int) -> str | None:
    """The signal that a shell reports by this exit status, by custom."""
    if code <= 128:
        return None
    with suppress(ValueError):
        return signal.Signals(code - 128).name
    return None


def write_info(folder: Path, info: Info) -> None:
    """Keep what was asked for."""
    write_whole(folder / "info.json", json.dumps(vars(info)).encode())


def read_info(folder: Path) -> Info | None:
    """What was asked for, if it was written down."""
    try:
        return Info(**json.loads((folder / "info.json").read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
