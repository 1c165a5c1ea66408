"""Two revisions are told apart by more than noise, or not at all."""

import pytest

from benchmarks.compare import values
from benchmarks.figures import Figure, Report, over
from benchmarks.ratios import Ratio, Round, Value, ratios, table


def _rounds(*numbers: float, more_is_better: bool = False) -> list[Round]:
    return [{"f": Value("ms", number, more_is_better)} for number in numbers]


def _one(base: list[Round], ours: list[Round]) -> Ratio:
    [ratio] = ratios(base, ours)
    return ratio


def test_a_ratio_is_ours_by_base_and_its_middle_treats_gain_and_loss_alike() -> None:
    found = _one(_rounds(10, 20, 40), _rounds(20, 20, 20))
    assert (found.base, found.ours, found.paired) == (20, 20, (2.0, 1.0, 0.5))
    assert found.middle == pytest.approx(1.0)


def test_the_interval_is_that_of_a_paired_t_test_on_logarithms() -> None:
    found = _one(_rounds(10, 10, 10), _rounds(8, 9, 10))
    # log ratios -0.22314, -0.10536, 0: mean -0.10950, deviation 0.11163, t(2) = 4.303
    assert found.interval == pytest.approx((0.67924, 1.18273), rel=1e-3)
    assert found.verdict == ""


@pytest.mark.parametrize(
    ("ours", "more_is_better", "verdict"),
    [
        ((5.0, 5.1, 4.9), False, "better"),
        ((5.0, 5.1, 4.9), True, "worse"),
        ((20.0, 20.2, 19.9), False, "worse"),
        ((20.0, 20.2, 19.9), True, "better"),
        ((9.0, 11.0, 10.0), False, ""),
        ((5.0,), False, ""),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_one_out(
    ours: tuple[float, ...], more_is_better: bool, verdict: str
) -> None:
    base = _rounds(*[10.0] * len(ours), more_is_better=more_is_better)
    assert _one(base, _rounds(*ours, more_is_better=more_is_better)).verdict == verdict


def test_rounds_that_lack_a_figure_or_have_none_of_it_are_not_counted() -> None:
    base: list[Round] = [{"f": Value("ms", 10)}, {}, {"f": Value("ms", 0), "only base": Value("ms", 1)}]
    ours: list[Round] = [{"f": Value("ms", 5)}, {"f": Value("ms", 5)}, {"f": Value("ms", 5), "new": Value("ms", 1)}]
    assert [(each.name, each.paired) for each in ratios(base, ours)] == [("f", (0.5,))]


def test_figures_and_the_way_that_cpu_goes_are_compared_under_their_names() -> None:
    report = Report()
    report.add(
        Figure("rate", "turns/s", 50.0), Figure("share", "%", 100.0, budgets=over(100)), Figure("none", "ms", None)
    )
    report.profile["CPU of a plain turn, ms by process"] = {"api": 7.0}
    assert values(report) == {
        "rate": Value("turns/s", 50.0, more_is_better=True),
        "share": Value("%", 100.0, more_is_better=True),
        "CPU of a plain turn: api": Value("ms", 7.0),
    }


def test_the_table_marks_what_is_outside_noise() -> None:
    lines = table(ratios(_rounds(10, 10, 10), _rounds(5, 5.1, 4.9))).splitlines()
    assert lines[1].startswith("f (ms)")
    assert lines[1].endswith("better")
    assert " 0.50  0.48 – 0.53 " in lines[1]
