"""Cursors of live streams: what is encoded comes back, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Invalid
from models.rules.cursors import START, Cursor, parse


@given(st.builds(Cursor, *[st.integers(0, 2**62)] * 2, *[st.integers(0, 2**31)] * 2))
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    assert parse(cursor.encode()) == cursor


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2.3", "1.2.3.4.5", "-1.0.0.0", "1.2.3.x", " 1.2.3.4", "1.2.3.4\n", "١.2.3.4", "9" * 20 + ".1.1.1"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^Invalid cursor parameter\.$"):
        parse(text)


def test_the_start_can_be_resumed_from() -> None:
    assert parse(START.encode()) == START
    assert START.episode == (0, 0)
