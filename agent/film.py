"""Makes an animated PNG of a display as it changes: what every browser shows, and the standard library can write."""

import struct
from dataclasses import dataclass
from math import log2

from agent.pictures import SIGNATURE, chunk, compressed, header, rows
from agent.x11 import Picture

_BITS = (8, 4, 2, 1)
_TILE = 32  # pixels: how exactly the sides of what has changed are found
_LAST = 2 * 2**20  # bytes that are kept for the last frame
_AROUND = 64  # bytes of chunks around the data of a frame
_HUNDREDTHS = 2**16 - 1


@dataclass(frozen=True)
class Box:
    """A part of a picture."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class _Frame:
    at: float
    box: Box
    data: bytes


class Film:
    """Frames so far: each has what has changed since the one before. Never more than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most - 1024
        self._size = 0
        self._frames: list[_Frame] = []
        self.last: Picture | None = None

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self._frames)

    @property
    def pause(self) -> float:
        """Seconds until the next frame: with each half of the room that is taken, twice as many."""
        return 2.0 ** int(-log2(max(1 - self._size / (self._most - _LAST), 1e-3)))

    def add(self, picture: Picture, at: float, *, last: bool = False) -> bool:
        """Take a picture of that moment; False if there is no room for it. One that shows nothing new costs nothing."""
        box = changed(self.last, picture)
        if box is None:
            return True
        part = cut(picture, box)
        room = self._most - self._size - _AROUND - (0 if last else _LAST)
        for bits in _BITS:
            data = compressed(rows(part, bits))
            if len(data) <= room:
                self._frames.append(_Frame(at, box, data))
                self._size += len(data) + _AROUND
                self.last = picture
                return True
        return False

    def developed(self, until: float) -> bytes:
        """The file; its last frame is shown until then, at least for a second. There must be a frame."""
        assert self.last is not None
        made = [
            SIGNATURE,
            header(self.last.width, self.last.height),
            chunk(b"acTL", struct.pack(">II", len(self._frames), 1)),
        ]
        number = 0
        ends = [*(frame.at for frame in self._frames[1:]), max(until, self._frames[-1].at + 1)]
        for frame, end in zip(self._frames, ends, strict=True):
            box, shown = frame.box, min(_HUNDREDTHS, max(1, round((end - frame.at) * 100)))
            place = (box.width, box.height, box.left, box.top)
            made.append(chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *place, shown, 100, 0, 0)))
            number += 1
            if frame is self._frames[0]:
                made.append(chunk(b"IDAT", frame.data))
            else:
                made.append(chunk(b"fdAT", struct.pack(">I", number) + frame.data))
                number += 1
        return b"".join([*made, chunk(b"IEND", b"")])


def changed(before: Picture | None, after: Picture) -> Box | None:
    """What has changed between two pictures of one size; all of it if there was none."""
    if before is None:
        return Box(0, 0, after.width, after.height)
    if before.pixels == after.pixels:
        return None
    old, new, row = before.pixels, after.pixels, 4 * after.width
    other = [y for y in range(after.height) if old[y * row : y * row + row] != new[y * row : y * row + row]]
    sides = []
    for left in range(0, row, 4 * _TILE):
        right = min(left + 4 * _TILE, row)
        if any(old[y * row + left : y * row + right] != new[y * row + left : y * row + right] for y in other):
            sides += [left // 4, right // 4]
    return Box(min(sides), other[0], max(sides) - min(sides), other[-1] + 1 - other[0])


def cut(picture: Picture, box: Box) -> Picture:
    """A part of a picture."""
    row = 4 * picture.width
    starts = range(box.top * row + 4 * box.left, (box.top + box.height) * row, row)
    return Picture(box.width, box.height, b"".join(picture.pixels[at : at + 4 * box.width] for at in starts))
