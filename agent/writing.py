"""Writes and edits files: under a lock per file, all files of a job or none."""

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from weakref import WeakValueDictionary

from agent.differences import unified
from agent.edits import Edit, EditFailed, apply
from agent.frames import Frame, Refused
from agent.journal import Change, Changed, Journal
from agent.paths import itself, real, refusal

MAX_BYTES = 64 * 2**20
_DIFF_BYTES = 8 * 2**20
_ATTEMPTS = 5
_NOTHING = "no edits were applied"


class Writer:
    """The one way in which files are changed here."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def write(self, job: str, path: Path, content: str, *, strictly: bool) -> Frame:
        """Make a file have this content; `strictly` refuses a path with a symbolic link in it."""

        def attempt() -> Frame:
            target = _target(path, strictly=strictly)
            raw = _encoded(content)
            before = _status(target)
            old = ""
            if before is not None and before.st_size <= _DIFF_BYTES:
                old = _read(target)[0].decode(errors="replace")
            short = len(raw) <= _DIFF_BYTES and (before is None or before.st_size <= _DIFF_BYTES)
            diff = unified(old, content, str(path), created=before is None) if short else ""
            result: Frame = {"created": before is None, "diff": diff}
            if before is None or before.st_size != len(raw) or _read(target)[0] != raw:
                self._journal.commit(job, [Change(target, raw, before)], {"result": result})
            return result

        return await self._locked([path], attempt, str(path))

    async def edit(self, job: str, files: list[tuple[Path, list[Edit]]], *, strictly: bool) -> Frame:
        """Apply edits to files, in order; when one fits not, no file is changed."""

        def attempt() -> Frame:
            texts: dict[Path, tuple[str, str, os.stat_result, Path]] = {}
            for path, edits in files:
                target = _target(path, strictly=strictly)
                if target not in texts:
                    text, status = _text(path, target)
                    texts[target] = (text, text, status, path)
                first, text, status, shown = texts[target]
                try:
                    texts[target] = (first, apply(text, edits), status, shown)
                except EditFailed as error:
                    raise Refused("invalid", f"{path}: {error}") from error
            told = [
                {"path": str(shown), "diff": unified(first, text, str(shown))}
                for first, text, _, shown in texts.values()
            ]
            result: Frame = {"files": told}
            changes = [
                Change(target, _encoded(text), status)
                for target, (first, text, status, _) in texts.items()
                if text != first
            ]
            if changes:
                self._journal.commit(job, changes, {"result": result})
            return result

        try:
            return await self._locked([path for path, _ in files], attempt, "a file")
        except Refused as error:
            raise Refused(error.kind, f"{error.message} ({_NOTHING})") from error

    async def _locked(self, paths: list[Path], attempt: Callable[[], Frame], shown: str) -> Frame:
        targets = sorted({real(path) for path in paths})
        async with AsyncExitStack() as held:
            for target in targets:  # in one order, so that two jobs never wait for each other
                await held.enter_async_context(self._locks.setdefault(target, asyncio.Lock()))
            for _ in range(_ATTEMPTS):
                try:
                    return await asyncio.to_thread(attempt)
                except Changed:
                    continue
        raise Refused("conflict", f"{shown} keeps changing while it is edited")


def _target(path: Path, *, strictly: bool) -> Path:
    """The file that a path leads to; refused unless a regular file is there, or could be."""
    if strictly:
        itself(path)
    target = real(path)
    status = _status(target)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise Refused("invalid", f"{path} is a directory")
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise Refused("invalid", f"{path} is not a regular file")
    return target


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(target, error) from error


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_BYTES:
                raise Refused("too_large", f"{path} is larger than {MAX_BYTES} bytes")
            return file.read(), status
    except OSError as error:
        raise refusal(path, error) from error


def _text(path: Path, target: Path) -> tuple[str, os.stat_result]:
    raw, status = _read(target)
    try:
        return raw.decode(), status
    except UnicodeDecodeError as error:
        raise Refused("binary", f"{path} is not UTF-8 text: use a command to change it") from error


def _encoded(content: str) -> bytes:
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise Refused("invalid", "the content is no valid Unicode") from error
