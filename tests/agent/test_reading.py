"""Lines are read as a plain reading of the whole file would find them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import reading
from agent.frames import Refused


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading") / "file"


@given(
    text=st.text(alphabet="aé€\r\n", max_size=60),
    offset=st.integers(1, 12),
    limit=st.integers(1, 8),
    most=st.integers(1, 80),
)
@settings(max_examples=300, deadline=None)
def test_a_part_is_what_the_whole_has_there(path: Path, text: str, offset: int, limit: int, most: int) -> None:
    path.write_bytes(text.encode())
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    if not lines[-1]:
        lines.pop()
    try:
        told = reading.read(path, offset, limit, most)
    except Refused:
        assert offset > max(len(lines), 1)
        return
    asked = "".join(lines[offset - 1 : offset - 1 + limit])
    content = str(told["content"])
    assert len(content.encode()) <= most
    assert told["total_lines"] == len(lines)
    assert told["file_size"] == len(text.encode())
    assert told["truncated"] == (len(asked.encode()) > most)
    if not told["truncated"]:
        assert content == asked
        assert told["lines_read"] == len(lines[offset - 1 : offset - 1 + limit])
        return
    whole = lines[offset - 1 : offset - 1 + limit]
    kept: list[str] = []
    while whole and len("".join([*kept, whole[0]]).encode()) <= most:
        kept.append(whole.pop(0))
    if kept:
        assert content == "".join(kept)
        assert told["lines_read"] == len(kept)
    else:  # the first line alone is too long: as many of its characters as fit
        assert whole[0].startswith(content)
        assert len(content.encode()) > most - 3


@given(before=st.integers(0, 3), long=st.integers(2**20 - 3, 2**20 + 3))
@settings(max_examples=12, deadline=None)
def test_lines_are_found_across_the_pieces_that_are_read(path: Path, before: int, long: int) -> None:
    path.write_bytes(b"x\n" * before + b"y" * long + b"\nlast\nend")
    told = reading.read(path, before + 2, 10, 1000)
    assert (told["content"], told["total_lines"]) == ("last\nend", before + 3)
