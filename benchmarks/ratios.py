"""What two series of the same figure say of each other: the ratio, its spread, and whether that is more than noise."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Two-sided 95 % quantiles of Student's t by degrees of freedom; beyond the last, the last is a little too careful.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Ratio:
    """One figure of two revisions: medians, and ours divided by base in the rounds that have both."""

    name: str
    unit: str
    base: float
    ours: float
    more_is_better: bool
    paired: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The geometric mean of the paired ratios."""
        return math.exp(statistics.fmean(map(math.log, self.paired)))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the ratio lies with 95 % confidence, by a paired t-test of its logarithm; None of a single round."""
        if len(self.paired) < 2:
            return None
        logs = [math.log(ratio) for ratio in self.paired]
        freedom = len(logs) - 1
        half = T95[min(freedom, len(T95)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
        return self.middle * math.exp(-half), self.middle * math.exp(half)

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval does not hold 1, else nothing."""
        if self.interval is None or self.interval[0] <= 1 <= self.interval[1]:
            return ""
        return "better" if (self.middle > 1) == self.more_is_better else "worse"


@dataclass(frozen=True)
class Value:
    """One figure of one round."""

    unit: str
    value: float
    more_is_better: bool = False


Round = Mapping[str, Value]


def ratios(base: Sequence[Round], ours: Sequence[Round]) -> list[Ratio]:
    """The figures that both have in some round, in order of appearance; what is not positive is left out."""
    found = []
    for name in dict.fromkeys(name for each in [*base, *ours] for name in each):
        pairs = [
            (before[name], after[name])
            for before, after in zip(base, ours, strict=True)
            if name in before and name in after and before[name].value > 0 and after[name].value > 0
        ]
        if pairs:
            last = pairs[-1][1]
            found.append(
                Ratio(
                    name,
                    last.unit,
                    statistics.median(before.value for before, _ in pairs),
                    statistics.median(after.value for _, after in pairs),
                    last.more_is_better,
                    tuple(after.value / before.value for before, after in pairs),
                )
            )
    return found


def table(found: Sequence[Ratio]) -> str:
    """Ratios for people to read."""
    wide = max((len(f"{each.name} ({each.unit})") for each in found), default=0)
    lines = [
        f"{'figure':<{wide}} {'base':>8} {'ours':>8} {'ratio':>6}  {'95 % interval':<14} {'min–max of rounds':<17}"
    ]
    for each in found:
        interval = "" if each.interval is None else f"{each.interval[0]:.2f} – {each.interval[1]:.2f}"
        spread = f"{min(each.paired):.2f} – {max(each.paired):.2f}"
        numbers = f"{_number(each.base):>8} {_number(each.ours):>8} {each.middle:>6.2f}  {interval:<14} {spread:<17}"
        lines.append(f"{each.name + f' ({each.unit})':<{wide}} {numbers} {each.verdict}".rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
