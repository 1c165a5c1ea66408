"""Which days a spend limit counts."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.periods import LONGEST, PERIODS, Period, named, window

SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(), timedelta(days=36_500)).map(lambda later: SOME_DAY + later)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [("day", "2026-03-01", "2026-03-02"), ("week", "2026-02-23", "2026-03-02"), ("month", "2026-03-01", "2026-04-01")],
)
def test_a_sunday_that_is_a_first_is_in_its_day_last_mondays_week_and_its_month(
    period: Period, start: str, end: str
) -> None:
    found = window(period, datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC))
    assert (found.start, found.end) == (day(start), day(end))


def test_a_period_ends_at_midnight_in_utc_wherever_one_is() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert window("day", datetime(2026, 3, 2, 8, 59, tzinfo=tokyo)).start == day("2026-03-01")
    assert window("day", datetime(2026, 3, 2, 9, 0, tzinfo=tokyo)).start == day("2026-03-02")


def test_a_december_ends_with_the_year() -> None:
    assert window("month", day("2026-12-31")).end == day("2027-01-01")


@given(st.sampled_from(PERIODS), MOMENTS)
def test_periods_hold_their_moment_and_follow_each_other_without_a_gap(period: Period, moment: datetime) -> None:
    found = window(period, moment)
    assert moment in found
    assert found.end not in found
    assert window(period, found.start) == found
    assert window(period, found.end).start == found.end
    assert found.end - found.start <= LONGEST


def test_only_the_three_are_periods() -> None:
    assert [named(word) for word in ("day", "week", "month", "year", "")] == ["day", "week", "month", None, None]
