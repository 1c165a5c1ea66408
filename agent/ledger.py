"""What was begun and how it ended, on disk: a job that comes a second time finds its first."""

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from agent.begun import BegunLog
from agent.frames import Frame, Refused

KEPT_SECONDS = 24 * 3600
KEPT_BYTES = 64 * 1024  # of an outcome that the API has: pictures would fill the disk
_TOLD: Frame = Refused("lost", "what came of it was told, and is no longer kept here").outcome()
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,79}")


@dataclass(frozen=True)
class Entry:
    """A job that was written down before its effect: `fresh` only for whoever wrote it now."""

    job: str
    fresh: bool
    boot_id: str


def usable(job: str) -> bool:
    """Whether an id of a job may name files."""
    return _ID.fullmatch(job) is not None


def digest(kind: str, request: Frame) -> str:
    """What tells a job that comes again from another one under its id."""
    return hashlib.sha256(json.dumps([kind, request], sort_keys=True).encode()).hexdigest()


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put a file in place in one step: a reader sees all of it or what was there before."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)
    if durable:
        sync(path.parent)


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Ledger:
    """One small file a job, and its outcome beside it until the API has stored it.

    These outlive the agent, but a crash of the host may take the newest: a log that is durable before the effect then
    says that there was more (agent.begun).
    """

    def __init__(self, folder: Path, boot_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.boot_id = boot_id
        self._log = BegunLog(folder)
        self._earlier = {job: boot for job, boot in self._log.read().items() if boot != boot_id}

    def begin(self, job: str, kind: str, request: Frame) -> Entry:
        """Write down, durably, that the job is begun; refused when the id belongs to another job."""
        if not usable(job):
            raise Refused("invalid", "the job has no usable id")
        path = self._folder / f"{job}.job"
        said = digest(kind, request)
        known = self._read(path)
        if known is None and job in self._earlier:
            return Entry(job, fresh=False, boot_id=self._earlier[job])
        if known is None:  # nothing, or half a record: no effect ever follows half a record
            entry = {"kind": kind, "digest": said, "boot_id": self.boot_id, "at": time.time()}
            path.write_bytes(json.dumps(entry).encode())
            self._log.add(job, self.boot_id)
            return Entry(job, fresh=True, boot_id=self.boot_id)
        if known.get("digest") != said:
            raise Refused("conflict", "another job has this id")
        return Entry(job, fresh=False, boot_id=str(known.get("boot_id")))

    def outcome(self, job: str) -> Frame | None:
        """How a job ended, if it did."""
        return self._read(self._folder / f"{job}.result") or self._read(self._folder / f"{job}.stored")

    def finish(self, job: str, outcome: Frame) -> None:
        """Keep how a job ended. Not fsynced: after a crash of the host an unsent outcome may be unknown again."""
        write_whole(self._folder / f"{job}.result", json.dumps(outcome).encode())

    def stored(self, job: str) -> None:
        """The API has it: it need not be sent again, but the job stays known."""
        result = self._folder / f"{job}.result"
        if result.exists():
            if result.stat().st_size > KEPT_BYTES:
                write_whole(result, json.dumps(_TOLD).encode())
            result.replace(result.with_suffix(".stored"))

    def unsent(self) -> dict[str, Frame]:
        """Outcomes that the API has not said to have stored."""
        found = {path.stem: self._read(path) for path in self._folder.glob("*.result")}
        return {job: outcome for job, outcome in found.items() if outcome is not None}

    def prune(self) -> None:
        """Forget what was stored long ago."""
        horizon = time.time() - KEPT_SECONDS
        for path in self._folder.glob("*.stored"):
            if path.stat().st_mtime < horizon:
                path.with_suffix(".job").unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> Frame | None:
        try:
            value = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None
