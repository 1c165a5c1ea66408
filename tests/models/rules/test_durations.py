"""Durations as models write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.durations import parsed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), (" 2m ", 120), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), (".5h", 1800), ("0", 0), ("0s", 0)],
)
def test_a_duration_is_the_sum_of_its_pieces(text: str, seconds: float) -> None:
    assert parsed(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "5", "-5s", "5 s", "s", "1d", "1m30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parsed(text)


@given(st.integers(0, 10**30), st.sampled_from(["ns", "us", "ms", "s", "m", "h"]))
def test_no_number_is_too_large(number: int, unit: str) -> None:
    assert timedelta() <= parsed(f"{number}{unit}") <= timedelta(days=3650)
