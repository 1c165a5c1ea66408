"""Output keeps within its bounds and between its characters."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.output import FRAME_BYTES, Cap, Tail, clip, fitted, whole_end, whole_start

OUTPUT = st.one_of(st.binary(max_size=6000), st.text(alphabet="aé€😀\n\0", max_size=3000).map(str.encode))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output") / "output"


@given(raw=OUTPUT, limit=st.integers(256, 5000))
@settings(max_examples=200, deadline=None)
def test_clipped_output_fits_and_is_whole_where_it_can_be(path: Path, raw: bytes, limit: int) -> None:
    path.write_bytes(raw)
    shown = clip(path, limit)
    assert len(shown.text.encode()) <= limit
    assert "\0" not in shown.text
    assert shown.total == len(raw)
    text = raw.decode(errors="replace").replace("\0", "\ufffd")
    assert shown.truncated == (len(raw) > limit or len(text.encode()) > limit)
    if not shown.truncated:
        assert shown.text == text


@given(text=st.text(alphabet="aé€😀", min_size=1, max_size=400), limit=st.integers(256, 900))
@settings(max_examples=100, deadline=None)
def test_characters_are_never_cut(path: Path, text: str, limit: int) -> None:
    path.write_text(text)
    assert "\ufffd" not in clip(path, limit).text
    for cut in (fitted(text, limit), fitted(text, limit, end=True)):
        assert len(cut.encode()) <= limit
        assert text.startswith(cut) or text.endswith(cut)


@given(text=st.text(alphabet="aé€😀", max_size=20), begin=st.integers(0, 80), end=st.integers(0, 80))
def test_the_whole_part_of_a_piece_decodes(text: str, begin: int, end: int) -> None:
    assert whole_end(whole_start(text.encode()[begin:end])).decode() in text


@given(pieces=st.lists(st.text(alphabet="aé€😀\n", max_size=2000), max_size=6), cut=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_a_tail_tells_each_byte_at_its_offset_or_leaves_a_gap(path: Path, pieces: list[str], cut: int) -> None:
    path.write_bytes(b"")
    raw = "".join(pieces).encode()
    tail = Tail(path)
    told: list[tuple[int, str]] = []
    size = 0
    for piece in pieces:
        size += len(piece.encode())
        path.write_bytes(raw[: max(0, size - cut)])  # the last character may be half written
        if (said := tail.piece()) is not None:
            told.append(said)
    path.write_bytes(raw)
    if (said := tail.piece(last=True)) is not None:
        told.append(said)
    end = 0
    for offset, text in told:
        encoded = text.encode()
        assert len(encoded) <= FRAME_BYTES
        assert offset >= end
        assert raw[offset : offset + len(encoded)] == encoded
        end = offset + len(encoded)
    assert end == len(raw)


def test_the_middle_of_a_large_output_is_given_back(path: Path) -> None:
    cap = Cap(path, 2**20)
    with path.open("wb") as file:
        for number in range(64):
            file.write(bytes([65 + number % 26]) * 2**20)
            file.flush()
            cap.enforce()
    status = path.stat()
    assert status.st_size == 64 * 2**20
    assert status.st_blocks * 512 < 4 * 2**20
    raw = path.read_bytes()
    assert raw[: 2**19] == b"A" * 2**19
    assert raw[-(2**19) :] == bytes([65 + 63 % 26]) * 2**19
