"""Speaks X11 to a display over its socket: input through XTEST, pictures of the screen, and what is pressed.

The libraries that others use for it end their process when the display dies; we have to outlive it.
"""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KEY_PRESS, KEY_RELEASE, BUTTON_PRESS, BUTTON_RELEASE, MOTION = 2, 3, 4, 5, 6
_PATIENCE = 10.0  # seconds that a display may take to answer
_COOKIE = b"MIT-MAGIC-COOKIE-1"
_VIEWABLE = 2


class Dead(ConnectionError):
    """The display is gone, or does not answer."""


@dataclass(frozen=True)
class Pointer:
    """Where the pointer is, and the mask of modifiers and of the first five buttons."""

    x: int
    y: int
    mask: int


@dataclass(frozen=True)
class Picture:
    """Pixels from the left of the first row on: blue, green, red, and a fourth byte without meaning."""

    width: int
    height: int
    pixels: bytes


class Display:
    """One connection. Whatever goes wrong with it is Dead; what the display refuses is a ValueError."""

    def __init__(self, number: int, cookie: bytes) -> None:
        self._socket = _connected(number)
        self._sequence = 0
        try:
            self._greet(cookie)
            self._test = self._extension(b"XTEST")
            self._fixes = self._extension(b"XFIXES")
            if self._fixes:
                self._ask(self._fixes, 0, struct.pack("<II", 4, 0))
        except BaseException:
            self.close()
            raise
        if not self._test:
            self.close()
            raise ValueError("the display has no XTEST extension")

    def close(self) -> None:
        """Let go of the connection."""
        self._socket.close()

    def fake(self, kind: int, detail: int, x: int = 0, y: int = 0) -> None:
        """Have the display believe in an event of its keyboard or mouse."""
        root = self.root if kind == MOTION else 0
        body = struct.pack("<BBxxII8xhh7xB", kind, detail, 0, root, x, y, 0)
        self._send(self._test, 2, body)

    def sync(self) -> None:
        """Return once the display has done all that it was told."""
        self._ask(43)

    def pointer(self) -> Pointer:
        """Where the pointer is."""
        answer = self._ask(38, 0, struct.pack("<I", self.root))
        x, y = struct.unpack_from("<hh", answer, 16)
        (mask,) = struct.unpack_from("<H", answer, 24)
        return Pointer(x, y, mask)

    def pressed(self) -> set[int]:
        """The keycodes that are down."""
        keys = self._ask(44)[8:40]
        return {number for number in range(256) if keys[number // 8] >> number % 8 & 1}

    def mapping(self) -> dict[int, tuple[int, ...]]:
        """What each keycode means, by level."""
        count = self.last_key - self.first_key + 1
        answer = self._ask(101, 0, struct.pack("<BBxx", self.first_key, count))
        each = answer[1]
        symbols = struct.unpack_from(f"<{each * count}I", answer, 32)
        return {self.first_key + place: symbols[place * each : (place + 1) * each] for place in range(count)}

    def bind(self, first: int, symbols: Sequence[int]) -> None:
        """Let keycodes, from the first on, each mean one symbol, with Shift and without."""
        levels = [level for symbol in symbols for level in (symbol, symbol)]
        self._send(100, len(symbols), struct.pack(f"<BBxx{len(levels)}I", first, 2, *levels))

    def picture(self) -> Picture:
        """The screen as it is, with the pointer on it."""
        body = struct.pack("<IhhHHI", self.root, 0, 0, self.width, self.height, 0xFFFFFFFF)
        pixels = bytearray(self._ask(73, 2, body)[32:])
        if self._fixes:
            self._draw_pointer(pixels)
        return Picture(self.width, self.height, bytes(pixels))

    def windows(self) -> int:
        """How many windows there are to see."""
        (count,) = struct.unpack_from("<H", tree := self._ask(15, 0, struct.pack("<I", self.root)), 16)
        seen = 0
        for window in struct.unpack_from(f"<{count}I", tree, 32):
            try:
                shown = self._ask(3, 0, struct.pack("<I", window))[26] == _VIEWABLE
                x, y, width, height = struct.unpack_from("<hhHH", self._ask(14, 0, struct.pack("<I", window)), 12)
            except ValueError:  # closed meanwhile
                continue
            inside = x < self.width and y < self.height and x + width > 0 and y + height > 0
            seen += shown and inside and width * height > 1
        return seen

    def managed(self) -> bool:
        """Whether there is a window manager, and it is ready."""
        name = b"_NET_SUPPORTING_WM_CHECK"
        (atom,) = struct.unpack_from("<I", self._ask(16, 0, struct.pack("<Hxx", len(name)) + _padded(name)), 8)
        answer = self._ask(20, 0, struct.pack("<IIIII", self.root, atom, 0, 0, 1))
        return int.from_bytes(answer[16:20], "little") > 0

    def _draw_pointer(self, pixels: bytearray) -> None:
        answer = self._ask(self._fixes, 4)
        x, y, width, height, hot_x, hot_y = struct.unpack_from("<hhHHHH", answer, 8)
        for place, value in enumerate(struct.unpack_from(f"<{width * height}I", answer, 32)):
            alpha = value >> 24
            column, row = x - hot_x + place % width, y - hot_y + place // width
            if not alpha or not (0 <= column < self.width and 0 <= row < self.height):
                continue
            at = 4 * (row * self.width + column)
            for channel in range(3):  # premultiplied
                below = pixels[at + channel] * (255 - alpha) // 255
                pixels[at + channel] = min(255, (value >> 8 * channel & 255) + below)

    def _greet(self, cookie: bytes) -> None:
        hello = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(_COOKIE), len(cookie))
        self._write(hello + _padded(_COOKIE) + _padded(cookie))
        head = self._read(8)
        body = self._read(4 * struct.unpack_from("<H", head, 6)[0])
        if head[0] != 1:
            raise ValueError(f"the display refuses us: {body[: head[1]].decode(errors='replace')}")
        vendor, _, _, formats = struct.unpack_from("<HHBB", body, 16)
        self.first_key, self.last_key = body[26], body[27]
        screen = 32 + vendor + -vendor % 4 + 8 * formats
        (self.root,) = struct.unpack_from("<I", body, screen)
        self.width, self.height = struct.unpack_from("<HH", body, screen + 20)

    def _extension(self, name: bytes) -> int:
        answer = self._ask(98, 0, struct.pack("<Hxx", len(name)) + _padded(name))
        return answer[9] if answer[8] else 0

    def _send(self, code: int, detail: int = 0, body: bytes = b"") -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._write(struct.pack("<BBH", code, detail, 1 + len(body) // 4) + body)

    def _ask(self, code: int, detail: int = 0, body: bytes = b"") -> bytes:
        """The answer to a request; errors of what was sent before it concern nobody any more."""
        self._send(code, detail, body)
        while True:
            head = self._read(32)
            mine = struct.unpack_from("<H", head, 2)[0] == self._sequence
            if head[0] == 1:
                answer = head + self._read(4 * struct.unpack_from("<I", head, 4)[0])
                if mine:
                    return answer
            elif head[0] == 0 and mine:
                raise ValueError(f"the display refuses request {code} with error {head[1]}")

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Dead("the display does not answer") from error

    def _read(self, size: int) -> bytes:
        whole = bytearray(size)
        rest = memoryview(whole)
        while rest:
            try:
                taken = self._socket.recv_into(rest)
            except OSError as error:
                raise Dead("the display does not answer") from error
            if not taken:
                raise Dead("the display is gone")
            rest = rest[taken:]
        return bytes(whole)


def authority(cookie: bytes) -> bytes:
    """The file that lets programs in, whatever number and host their display has."""
    anywhere = 0xFFFF
    fields = (b"", b"", _COOKIE, cookie)
    return struct.pack(">H", anywhere) + b"".join(struct.pack(">H", len(field)) + field for field in fields)


def _connected(number: int) -> socket.socket:
    path = f"/tmp/.X11-unix/X{number}"  # noqa: S108 (X11's own)
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(_PATIENCE)
    try:
        opened.connect(path if Path(path).exists() else f"\0{path}")
    except OSError as error:
        opened.close()
        raise Dead(f"there is no display :{number}") from error
    return opened


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
