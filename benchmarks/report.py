"""The results as a page for people: benchmarks/RESULTS.md."""

from collections.abc import Mapping
from typing import Any

from benchmarks import peers
from benchmarks.figures import Figure, Report

HEADER = """# Results of `make bench`

Everything runs on this one machine: clients, fake provider, API, worker, Temporal and PostgreSQL share its cores.
"Floor raw" is the same provider asked by a client with nothing in between, "floor litellm" by litellm alone in a client
process; both in the same run. Budgets are those of the first milestone and of the speed milestone.
"""


def page(report: Report, facts: Mapping[str, Any]) -> str:
    """RESULTS.md."""
    workers = f"{facts['workers']} worker{'s' * (facts['workers'] > 1)}"
    measured = f"Measured {facts['date']}, commit {facts['commit']}, {facts['kind']} run, {workers}"
    lines = [HEADER, f"{measured}, {facts['seconds']:.0f} s.", ""]
    lines += [
        "| figure | ours | floor raw | floor litellm | first budget | then | met? | samples | note |",
        "|---|--:|--:|--:|--:|--:|---|--:|---|",
    ]
    lines += [_row(figure) for figure in report.figures]
    lines += ["", "## Beside others", "", *peers.table(report), "## Where it goes", ""]
    for title, shares in report.profile.items():
        lines += [f"**{title}**", "", *_table(shares)]
    if report.strangers:
        lines += ["**CPU that other processes of the machine had meanwhile, % of its cores, by measure**", ""]
        lines += _table(report.strangers)
    if report.failures:
        lines += ["## What went wrong", "", *(f"* {name}: {what}" for name, what in report.failures.items()), ""]
    lines += ["## The machine", "", *(f"* {name}: {value}" for name, value in facts["machine"].items()), ""]
    return "\n".join(lines)


def _table(shares: Mapping[str, float]) -> list[str]:
    values = " | ".join(_number(value) for value in shares.values())
    return ["| " + " | ".join(shares) + " |", "|" + "--:|" * len(shares), f"| {values} |", ""]


def _row(figure: Figure) -> str:
    cells = [
        f"{figure.name} ({figure.unit})",
        _number(figure.ours),
        _number(figure.raw),
        _number(figure.litellm),
        *figure.budgets.words(),
        figure.verdict,
        str(figure.samples or ""),
        figure.note,
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
