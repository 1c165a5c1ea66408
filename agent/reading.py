"""Reads lines of a file of any size in bounded memory, and lists directories."""

import os
import stat
from pathlib import Path

from agent.frames import Frame, Refused
from agent.output import decode, fitted, whole_end
from agent.paths import refusal

_CHUNK = 2**20
_SNIFF = 8192


def read(path: Path, offset: int, limit: int, max_bytes: int) -> Frame:
    """Lines from `offset` (from 1) on, as they are; of a directory, its entries."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hold us
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                return _entries(path, offset, limit)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("invalid", f"{path} is not a regular file")
            return _lines(path, descriptor, status.st_size, offset, limit, max_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise refusal(path, error) from error


def _lines(path: Path, file: int, size: int, offset: int, limit: int, max_bytes: int) -> Frame:
    if b"\0" in os.pread(file, _SNIFF, 0):
        return {
            "content": "",
            "first_line": offset,
            "lines_read": 0,
            "total_lines": 0,
            "file_size": size,
            "truncated": False,
            "binary": True,
        }
    begin, total = _scan(file, offset)
    if offset > max(total, 1):
        raise Refused("invalid", f"offset {offset} is beyond the end of the file: it has {total} lines")
    raw, cut = _take(file, begin, limit, max_bytes)
    content = decode(raw)
    fits = fitted(content, max_bytes)
    told: Frame = {
        "content": fits,
        "first_line": offset,
        "lines_read": raw.count(b"\n") + (not raw.endswith(b"\n") and bool(raw)),
        "total_lines": total,
        "file_size": size,
        "truncated": cut or len(fits) < len(content),
    }
    if "\ufffd" in content and "\ufffd".encode() not in raw:
        told["note"] = "The file is not valid UTF-8; what could not be read is shown as \ufffd."
    return told


def _scan(file: int, offset: int) -> tuple[int, int]:
    """Where a line begins, and how many lines there are."""
    lines = 0
    begin = 0 if offset == 1 else -1
    position = 0
    last = b"\n"
    while chunk := os.pread(file, _CHUNK, position):
        count = chunk.count(b"\n")
        if begin < 0 and lines + count >= offset - 1:
            at = -1
            for _ in range(offset - 1 - lines):
                at = chunk.index(b"\n", at + 1)
            begin = position + at + 1
        lines += count
        position += len(chunk)
        last = chunk[-1:]
    return max(begin, 0), lines + (last != b"\n")


def _take(file: int, begin: int, limit: int, max_bytes: int) -> tuple[bytes, bool]:
    """So many lines, in at most so many bytes: whole lines, unless the first alone is too long."""
    raw = os.pread(file, max_bytes + 1, begin)
    at = -1
    for _ in range(limit):
        at = raw.find(b"\n", at + 1)
        if at < 0:
            break
    if at >= 0 and at < max_bytes:
        return raw[: at + 1], False
    if len(raw) <= max_bytes:
        return raw, False
    end = raw.rfind(b"\n", 0, max_bytes)
    return (raw[: end + 1] if end >= 0 else whole_end(raw[:max_bytes])), True


def _entries(path: Path, offset: int, limit: int) -> Frame:
    names = sorted(entry.name for entry in path.iterdir())
    entries = []
    for name in names[offset - 1 : offset - 1 + limit]:
        entry = path / name
        try:
            status = entry.stat()
        except OSError:  # a link to nowhere, or gone meanwhile
            status = None
        is_dir = status is not None and stat.S_ISDIR(status.st_mode)
        shown = name.encode(errors="replace").decode()
        entries.append({"name": shown, "is_dir": is_dir, "size": status.st_size if status and not is_dir else 0})
    return {
        "is_directory": True,
        "absolute_path": str(path),
        "entries": entries,
        "total_entries": len(names),
        "truncated": offset - 1 + len(entries) < len(names),
    }
