"""Makes it durable that a job is begun, by one write to disk: names go into a file that has its room already."""

import os
import re
import threading
from pathlib import Path

_ROOM = 2**20
_LINE = re.compile(rb"^([0-9A-Za-z-]+) ([0-9A-Za-z-]+)$", re.MULTILINE)


class BegunLog:
    """Lines of job and boot. A full log makes room for a new one and stays until that is full too.

    Creating a file for each job would cost several writes to disk: of the file, its name, and the filesystem's own log.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "begun.log"
        self._old = folder / "begun.old"
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._synced = 0
        self._descriptor = -1
        self._end = 0
        self._open()

    def read(self) -> dict[str, str]:
        """The jobs that were begun, each with its boot."""
        found = {}
        for path in (self._old, self._path):
            if path.exists():
                for job, boot in _LINE.findall(path.read_bytes()):
                    found[job.decode()] = boot.decode()
        return found

    def add(self, job: str, boot: str) -> None:
        """Write down a job; on disk when this returns. Those who come together share one write to disk."""
        line = f"{job} {boot}\n".encode()
        with self._writing:
            if self._end + len(line) > _ROOM:
                with self._syncing:
                    self._turn()
            os.pwrite(self._descriptor, line, self._end)
            self._end += len(line)
            mine, descriptor = self._end, self._descriptor
        with self._syncing:
            if self._descriptor == descriptor and self._synced < mine:
                reached = self._end
                os.fdatasync(descriptor)
                self._synced = reached

    def _open(self) -> None:
        if not self._path.exists():
            fresh = self._path.with_suffix(".new")
            with fresh.open("wb") as file:
                file.write(b"\0" * _ROOM)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(folder)
            os.close(folder)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        content = self._path.read_bytes()
        # After the last line that is whole: half a line is overwritten, nothing follows it.
        self._end = self._synced = content.rfind(b"\n") + 1

    def _turn(self) -> None:
        os.fdatasync(self._descriptor)
        os.close(self._descriptor)
        self._path.replace(self._old)
        self._open()
