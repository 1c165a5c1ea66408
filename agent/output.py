"""What a command wrote: bounded for the model, followed for who watches, and bounded on disk."""

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

FRAME_BYTES = 4096
_PUNCH = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_SLACK = 8 * 2**20


@dataclass(frozen=True)
class Clip:
    """Output as a model gets it: all of it, or its head and its tail."""

    text: str
    truncated: bool
    total: int


def decode(raw: bytes) -> str:
    """Text from any bytes; what is no UTF-8, and NUL, which JSON stores refuse, become replacement characters."""
    return raw.decode(errors="replace").replace("\0", "\ufffd")


def whole_start(raw: bytes) -> bytes:
    """Without the rest of a character that began before it."""
    skip = 0
    while skip < min(3, len(raw)) and raw[skip] & 0xC0 == 0x80:
        skip += 1
    return raw[skip:]


def whole_end(raw: bytes) -> bytes:
    """Without the beginning of a character that ends after it."""
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return raw[:-back] if length > back else raw
    return raw


def fitted(text: str, limit: int, *, end: bool = False) -> str:
    """The first (or last) characters that take at most so many bytes of UTF-8."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    if limit <= 0:
        return ""
    return whole_start(raw[-limit:]).decode() if end else whole_end(raw[:limit]).decode()


def clip(path: Path, limit: int) -> Clip:
    """A file's text in at most `limit` bytes of UTF-8: when it is more, its head, what is left out, its tail."""
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            if total <= limit:
                text = decode(file.read(limit))
                if len(text.encode()) <= limit:
                    return Clip(text, truncated=False, total=total)
            note = f"\n[… {total} bytes in all, the middle is left out …]\n"
            room = max(0, limit - len(note.encode())) // 2
            file.seek(0)
            head = fitted(decode(whole_end(file.read(room))), room)
            file.seek(max(0, total - room))
            tail = fitted(decode(whole_start(file.read(room))), room, end=True)
            return Clip(fitted(head + note + tail, limit), truncated=True, total=total)
    except FileNotFoundError:
        return Clip("", truncated=False, total=0)


class Tail:
    """Follows a growing file in pieces of one frame; what is too much is skipped, and the offsets tell."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset

    def piece(self, *, last: bool = False) -> tuple[int, str] | None:
        """The newest output not told yet, and where it begins in the file; nothing when there is none."""
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._offset = min(self._offset, size)  # a command may truncate its own output
                if size == self._offset:
                    return None
                return self._read(file.fileno(), size, last=last)
        except FileNotFoundError:
            return None

    def _read(self, file: int, size: int, *, last: bool) -> tuple[int, str] | None:
        begin = max(self._offset, size - FRAME_BYTES)
        raw = os.pread(file, size - begin, begin)
        if begin > self._offset:
            cut = whole_start(raw)
            begin += len(raw) - len(cut)
            raw = cut
        if not last:
            raw = whole_end(raw)
        text = decode(raw)
        if len(text.encode()) > FRAME_BYTES:  # binary: each byte may have become three
            keep = FRAME_BYTES // 3
            begin += len(raw) - keep
            raw = raw[-keep:]
            text = decode(raw)
        self._offset = begin + len(raw)
        return (begin, text) if text else None


class Cap:
    """Keeps head and tail of an output on disk: the middle of a large file is given back to the filesystem."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._half = max(limit // 2, 2**16)
        self._punched = self._half
        self._works = True

    def enforce(self) -> None:
        """Give back what lies between head and tail, if it has become worth it."""
        if not self._works:
            return
        try:
            size = self._path.stat().st_size
            end = (size - self._half) & ~0xFFF
            if end - self._punched < min(_SLACK, self._half):
                return
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return
        try:
            self._works = _punch(descriptor, self._punched & ~0xFFF, end)
            self._punched = end
        finally:
            os.close(descriptor)


def _punch(descriptor: int, begin: int, end: int) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "fallocate", None)
    if call is None:
        return False
    result = call(descriptor, _PUNCH, ctypes.c_int64(begin), ctypes.c_int64(end - begin))
    return result == 0 or ctypes.get_errno() not in {errno.EOPNOTSUPP, errno.ENOSYS}
