from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from models.rules.backoff import LONGEST_WISH, delay

SECOND = timedelta(seconds=1)
MINUTE = timedelta(seconds=60)


def test_the_wait_doubles_from_the_base_up_to_the_cap() -> None:
    waits = [delay(attempt, base=SECOND, cap=MINUTE).total_seconds() for attempt in range(1, 9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_provider_that_asks_for_more_gets_more() -> None:
    assert delay(1, base=SECOND, cap=MINUTE, retry_after=timedelta(seconds=90)) == timedelta(seconds=90)


def test_a_provider_that_asks_for_less_gets_the_back_off() -> None:
    assert delay(4, base=SECOND, cap=MINUTE, retry_after=SECOND) == timedelta(seconds=8)


def test_a_wish_of_more_than_an_hour_is_an_hour() -> None:
    assert delay(1, base=SECOND, cap=MINUTE, retry_after=timedelta(days=3)) == LONGEST_WISH


@given(
    attempt=st.integers(-5, 10_000),
    base=st.timedeltas(timedelta(milliseconds=1), timedelta(minutes=5)),
    cap=st.timedeltas(timedelta(milliseconds=1), timedelta(hours=2)),
)
def test_waits_never_shrink_and_never_pass_the_cap(attempt: int, base: timedelta, cap: timedelta) -> None:
    now, later = delay(attempt, base=base, cap=cap), delay(attempt + 1, base=base, cap=cap)
    assert timedelta() < now <= later <= cap
