"""What a figure is: a number of ours, the floors beside it, and the budgets it is held against."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Budgets:
    """Limits of the first milestone and of the speed milestone; `at_least` turns both round."""

    first: float | None = None
    then: float | None = None
    at_least: bool = False

    def verdict(self, value: float | None) -> str:
        """Which of them are met, in words."""
        limits = {name: limit for name, limit in (("first", self.first), ("then", self.then)) if limit is not None}
        if value is None or not limits:
            return "—"
        missed = [name for name, limit in limits.items() if (value < limit if self.at_least else value > limit)]
        if not missed:
            return "yes"
        return "no" if len(missed) == len(limits) else "first yes, then no"

    def words(self) -> tuple[str, str]:
        """Both, as they stand in a table."""
        sign = "≥" if self.at_least else "≤"
        first, then = ("" if limit is None else f"{sign} {limit:,g}" for limit in (self.first, self.then))
        return first, then


NONE = Budgets()


@dataclass(frozen=True)
class Figure:
    """One row of the results; None is what was not measured or does not exist."""

    name: str
    unit: str
    ours: float | None
    raw: float | None = None
    litellm: float | None = None
    budgets: Budgets = NONE
    samples: int = 0
    note: str = ""

    @property
    def more_is_better(self) -> bool:
        """Whether it is a rate or a share of successes, and not a time or a cost."""
        return self.budgets.at_least or self.unit.endswith("/s")

    @property
    def verdict(self) -> str:
        """Which budgets are met."""
        return self.budgets.verdict(self.ours)


@dataclass
class Report:
    """All that one run found out."""

    figures: list[Figure] = field(default_factory=list)
    profile: dict[str, dict[str, float]] = field(default_factory=dict)  # where time or CPU goes, by measure
    strangers: dict[str, float] = field(default_factory=dict)  # per cent of the machine that others had, by measure
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, *figures: Figure) -> None:
        self.figures += figures

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "figures": [{**asdict(each), "verdict": each.verdict} for each in self.figures]}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` percent of the values do not exceed."""
    if not values:
        raise ValueError("no samples")
    ordered = sorted(values)
    return ordered[max(math.ceil(share / 100 * len(ordered)) - 1, 0)]


def ms(seconds: float) -> float:
    """Seconds in milliseconds."""
    return seconds * 1000


def under(first: float | None = None, then: float | None = None) -> Budgets:
    """Upper limits."""
    return Budgets(first, then)


def over(first: float | None = None, then: float | None = None) -> Budgets:
    """Lower limits."""
    return Budgets(first, then, at_least=True)
