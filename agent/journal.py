"""Puts new contents of several files in place, all or none, also when the agent or the host dies in the middle."""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.frames import Frame, Refused
from agent.ledger import sync, write_whole
from agent.paths import refusal


class Changed(Exception):
    """A file is not as it was read any more: read it again."""


@dataclass(frozen=True)
class Change:
    """New content of a file, and the file as it was when the content was thought out (None: it did not exist)."""

    target: Path
    content: bytes
    before: os.stat_result | None


@dataclass(frozen=True)
class _Step:
    """A file on its way: `fresh` becomes `target`; `kept` is what it was, under another name."""

    fresh: Path
    target: Path
    kept: Path | None


class Journal:
    """The moment of decision is one file that names what is to be put in place, and what the job answers.

    Before it nothing has changed. After it, recovery finishes; a name that is gone was put in place already.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def commit(self, job: str, changes: list[Change], outcome: Frame) -> None:
        """Put all changes in place; Changed or Refused if none was."""
        steps: list[_Step] = []
        try:
            for number, change in enumerate(changes):
                steps.append(_prepare(change, f"turnstone-{job}-{number}", keep=len(changes) > 1))
            _verify(changes)
            # One rename decides for itself; of several, the host must remember after a crash that they were to be made.
            self._write(job, steps, outcome, undo=False, durable=len(steps) > 1)
        except OSError as error:
            _discard(steps)
            raise refusal(Path(error.filename or changes[len(steps) - 1].target), error) from error
        except Changed:
            _discard(steps)
            raise
        try:
            _forward(steps)
        except OSError as error:
            self._undo(job, steps)
            raise refusal(Path(error.filename2 or error.filename or "the file"), error) from error

    def forget(self, job: str) -> None:
        """The outcome is known elsewhere."""
        (self._folder / f"{job}.json").unlink(missing_ok=True)

    def recover(self) -> dict[str, Frame]:
        """Finish (or undo) what a crash interrupted; the outcome of each job that is found here."""
        outcomes = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                said = json.loads(path.read_bytes())
                steps = [
                    _Step(Path(fresh), Path(target), Path(kept) if kept else None)
                    for fresh, target, kept in said["steps"]
                ]
            except (ValueError, KeyError):
                path.unlink()
                continue
            outcomes[path.stem] = self._resume(path.stem, steps, said)
        return outcomes

    def _resume(self, job: str, steps: list[_Step], said: Frame) -> Frame:
        outcome = said["outcome"]
        assert isinstance(outcome, dict)
        if not said["undo"]:
            try:
                _forward([step for step in steps if step.fresh.exists()])
            except OSError as error:
                target = Path(error.filename2 or error.filename or "the file")
                outcome = refusal(target, error).outcome()
                said["undo"] = True
                self._write(job, steps, outcome, undo=True)
        if said["undo"]:
            _backward(steps)
        _discard(steps)
        return outcome

    def _undo(self, job: str, steps: list[_Step]) -> None:
        self._write(job, steps, Refused("internal", "the files could not be put in place").outcome(), undo=True)
        _backward(steps)
        _discard(steps)
        self.forget(job)

    def _write(self, job: str, steps: list[_Step], outcome: Frame, *, undo: bool, durable: bool = True) -> None:
        named = [[str(step.fresh), str(step.target), str(step.kept) if step.kept else None] for step in steps]
        content = json.dumps({"steps": named, "outcome": outcome, "undo": undo})
        write_whole(self._folder / f"{job}.json", content.encode(), durable=durable)


def _verify(changes: list[Change]) -> None:
    for change in changes:
        if _identity(_status(change.target)) != _identity(change.before):
            raise Changed(str(change.target))


def _prepare(change: Change, name: str, *, keep: bool) -> _Step:
    """Write the new content beside its target, with its rights; keep the old under a second name, to go back to."""
    folder = change.target.parent
    folder.mkdir(parents=True, exist_ok=True)
    fresh, kept = folder / f".{name}.new", folder / f".{name}.old"
    for left in (fresh, kept):
        left.unlink(missing_ok=True)
    with fresh.open("xb") as file:
        file.write(change.content)
        if change.before is not None:
            with suppress(PermissionError):
                os.fchown(file.fileno(), change.before.st_uid, change.before.st_gid)
            os.fchmod(file.fileno(), change.before.st_mode & 0o7777)
        file.flush()
        os.fsync(file.fileno())
    if change.before is None or not keep:
        return _Step(fresh, change.target, None)
    try:
        os.link(change.target, kept, follow_symlinks=False)
    except OSError:  # a filesystem without hard links
        shutil.copy2(change.target, kept)
    return _Step(fresh, change.target, kept)


def _forward(steps: list[_Step]) -> None:
    for step in steps:
        step.fresh.replace(step.target)
    for folder in {step.target.parent for step in steps}:
        sync(folder)
    _discard(steps)


def _backward(steps: list[_Step]) -> None:
    for step in steps:
        with suppress(OSError):
            if step.fresh.exists():
                continue
            if step.kept is None:
                step.target.unlink(missing_ok=True)
            elif step.kept.exists():
                step.kept.replace(step.target)


def _discard(steps: list[_Step]) -> None:
    for step in steps:
        for path in (step.fresh, step.kept):
            if path is not None:
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _identity(status: os.stat_result | None) -> tuple[int, ...] | None:
    return status and (status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns)
