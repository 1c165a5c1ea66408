"""Pictures and films of a desktop: exact where they have room, never larger than they may be."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.film import Film
from agent.pictures import png
from agent.x11 import Picture
from tests.agent.conftest import Resident

WIDTH, HEIGHT = 70, 9


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + size
    return found


def shown(film: bytes) -> list[tuple[bytearray, float]]:
    """What a browser shows, picture by picture, and for how many seconds."""
    canvas, frames, due = bytearray(3 * WIDTH * HEIGHT), [], 0
    for kind, body in chunks(film):
        if kind in (b"fcTL", b"fdAT"):
            assert struct.unpack_from(">I", body)[0] == due
            due += 1
        if kind == b"fcTL":
            _, width, height, left, top, number, per, dispose, blend = struct.unpack(">IIIIIHHBB", body)
            assert (dispose, blend) == (0, 0)
        elif kind in (b"IDAT", b"fdAT"):
            raw = zlib.decompress(body if kind == b"IDAT" else body[4:])
            for y in range(height):
                line = raw[y * (3 * width + 1) + 1 : (y + 1) * (3 * width + 1)]
                at = 3 * ((top + y) * WIDTH + left)
                canvas[at : at + 3 * width] = line
            frames.append((bytearray(canvas), number / per))
    return frames


def painted(spots: list[tuple[int, int]]) -> Picture:
    pixels = bytearray(4 * WIDTH * HEIGHT)
    for x, y in spots:
        pixels[4 * (y * WIDTH + x) : 4 * (y * WIDTH + x) + 3] = bytes([x, y, 255])
    return Picture(WIDTH, HEIGHT, bytes(pixels))


def colours(picture: Picture) -> bytearray:
    return bytearray(b"".join(picture.pixels[at : at + 3][::-1] for at in range(0, len(picture.pixels), 4)))


SPOTS = st.lists(st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)), max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(SPOTS, min_size=1, max_size=5))
def test_a_film_shows_each_picture_for_as_long_as_nothing_changed(scenes: list[list[tuple[int, int]]]) -> None:
    film, expected = Film(10 * 2**20), []
    for second, spots in enumerate(scenes):
        picture = painted(spots)
        assert film.add(picture, second)
        if not expected or expected[-1][0] != colours(picture):
            expected.append((colours(picture), second))
    ends = [*(begin for _, begin in expected[1:]), max(len(scenes) + 2, expected[-1][1] + 1)]
    told = [(picture, end - begin) for (picture, begin), end in zip(expected, ends, strict=True)]
    assert shown(film.developed(len(scenes) + 2)) == told
    assert film.frames == len(expected)


def test_a_film_takes_ever_fewer_pictures_and_always_the_last(tmp_path: Path) -> None:
    noise, most = random.Random(1), 3 * 2**20
    film, at = Film(most), 0.0
    pauses = [film.pause]
    while len(pauses) < 12:
        film.add(Picture(300, 200, noise.randbytes(240_000)), at)
        at += film.pause
        pauses.append(film.pause)
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]
    last = Picture(300, 200, bytes(240_000))
    assert film.add(last, at, last=True)
    made = film.developed(at)
    assert len(made) <= most
    assert film.last == last


def test_a_picture_that_is_too_large_loses_colours_and_no_size() -> None:
    picture = Picture(400, 300, random.Random(2).randbytes(480_000))
    exact = png(picture, 10 * 2**20)
    smaller = png(picture, 100_000)
    assert len(smaller) <= 100_000 < len(exact)
    assert smaller[:33] == exact[:33]
    assert png(picture, 1)[:33] == exact[:33]


def test_without_a_server_the_job_says_what_to_install(fresh: Callable[..., Resident], tmp_path: Path) -> None:
    resident = fresh()
    resident.path = str(tmp_path)
    resident.start()
    request = {"geometry": [800, 600], "steps": [], "screenshot": True}
    words = {"kind": "unsupported", "message": "The workspace has no desktop: Xvfb is not installed. "
             "Install it: apt-get install xvfb openbox x11vnc"}  # fmt: skip
    assert resident.outside.error("desktop", request) == words
    assert resident.outside.error("view", {"session": "x"})["kind"] == "unsupported"
    recording = resident.outside.call("record_start", {})["recording"]
    told = resident.outside.call("record_stop", {"recording": recording, "store": True})
    assert (told["file"], told["thumbnail"], told["frames"]) == (None, None, 0)
