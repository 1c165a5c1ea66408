"""What was once measured of others on a machine of this kind, put beside the figures of a run."""

from benchmarks.figures import Report

INTRODUCTION = """The figures of the others are those that the speed milestone began with: measured before it, on the
same kind of machine (2 cores) with the same fake provider, but on another day and by clients of their own; ours and
both floors are of this run. Aegra is version 0.11, as it is (not crash-safe) and with Redis; OpenHands is its
agent-server 1.58; LangGraph its dev server.
"""
NAMES = ("litellm proxy", "Aegra", "Aegra with Redis", "OpenHands", "LangGraph")
# Of each row: what it is, our figures of these names, and theirs in the order of NAMES.
ROWS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "first token p50 / p95, ms",
        ("first token: request sent → first delta, p50", "first token: request sent → first delta, p95"),
        ("21 / 30", "27 / 33", "37 / 42", "29 / 34", "778 / 1005"),
    ),
    (
        "turns/s, 32 chats / CPU ms a turn",
        ("plain turns of 20 tokens, closed loop of 32 chats", "CPU of a plain turn, all processes"),
        ("27 / 36", "27 / 43", "16 / 74", "16 / 62", "29 / 17"),
    ),
    (
        "20 streams: lag p50 / p99, ms",
        ("delta lag, 20 streams at 50 tokens/s, p50", "delta lag, 20 streams at 50 tokens/s, p99"),
        ("1 / 9", "1.2 / 12", "573 / 965", "2.7 / 158", "7 / 118"),
    ),
    (
        "100 streams: lag p50 / p99, ms",
        ("delta lag, 100 streams at 50 tokens/s, p50", "delta lag, 100 streams at 50 tokens/s, p99"),
        ("270 / 2,515", "66 / 589", "11 s / –", "11 s / –", "5.2 s / –"),
    ),
    (
        "100 streams: tokens/s of 4,000",
        ("tokens received, 100 streams",),
        ("1,435", "1,449", "713", "1,056", "2,209"),
    ),
    (
        "killed mid-turn: finishes by itself, %",
        ("turns whose worker was killed that finish by themselves, whole",),
        ("–", "no", "yes, after 40 s", "no", "no, history lost"),
    ),
    (
        "memory idle with stores, MiB",
        ("resident memory of everything, idle",),
        ("284", "220", "", "312", "128"),
    ),
    ("start, s", ("`turnstone dev`, warm start → ready",), ("10", "7", "", "12", "4")),
)


def table(report: Report) -> list[str]:
    """Lines of the comparison; a figure that this run did not measure stays empty."""
    lines = [INTRODUCTION, "| | raw client | litellm in the client | **ours** | " + " | ".join(NAMES) + " |"]
    lines.append("|---|" + "--:|" * (len(NAMES) + 3))
    by_name = {figure.name: figure for figure in report.figures}
    for what, names, theirs in ROWS:
        figures = [by_name[name] for name in names if name in by_name]
        cells = [_cell([getattr(figure, kind) for figure in figures]) for kind in ("raw", "litellm", "ours")]
        lines.append(f"| {what} | {' | '.join(cells)} | {' | '.join(theirs)} |")
    return [*lines, ""]


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return " / ".join(f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in known)
