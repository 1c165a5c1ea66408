"""The stretch of time that a spend limit counts over: a calendar day, week or month in UTC (admin.md 8.3)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)
LONGEST = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to just before `end`."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def named(period: str) -> Period | None:
    """The period of this name, if it is one."""
    return next((known for known in PERIODS if known == period), None)


def window(period: Period, now: datetime) -> Window:
    """The period that `now` is in; weeks begin on Monday, and the end is the beginning of the next."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return Window(day, day + timedelta(days=1))
    if period == "week":
        monday = day - timedelta(days=day.weekday())
        return Window(monday, monday + timedelta(days=7))
    first = day.replace(day=1)
    return Window(first, (first + LONGEST).replace(day=1))
