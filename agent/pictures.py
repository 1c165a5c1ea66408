"""Makes PNG of what a display shows: one picture, and the frames of an animated one."""

import struct
import zlib

from agent.x11 import Picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 4


def png(picture: Picture, most: int) -> bytes:
    """The picture in at most so many bytes: the low bits of its colours go first, its geometry never does."""
    for bits in (8, 5, 4, 3, 2, 1):
        body = compressed(rows(picture, bits))
        made = SIGNATURE + header(picture.width, picture.height) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
        if len(made) <= most:
            break
    return made


def rows(picture: Picture, bits: int = 8) -> bytes:
    """What is compressed of a picture, with so many bits of each colour."""
    colours = bytearray(3 * picture.width * picture.height)
    for place in range(3):
        colours[place::3] = picture.pixels[2 - place :: 4]
    if bits < 8:
        colours = colours.translate(bytes((value >> 8 - bits) * 255 // (2**bits - 1) for value in range(256)))
    size = 3 * picture.width
    return b"".join(b"\0" + colours[start : start + size] for start in range(0, len(colours), size))


def compressed(raw: bytes) -> bytes:
    """What an IDAT or fdAT chunk has of it."""
    return zlib.compress(raw, _LEVEL)


def header(width: int, height: int) -> bytes:
    """The first chunk: eight bits each of red, green and blue."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def reduced(picture: Picture, width: int) -> Picture:
    """The picture with every so-manieth pixel of it, at most so wide."""
    step = -(-picture.width // width)
    seen = memoryview(picture.pixels).cast("I")
    kept = [
        seen[row * picture.width : (row + 1) * picture.width : step].tobytes() for row in range(0, picture.height, step)
    ]
    return Picture(-(-picture.width // step), len(kept), b"".join(kept))
