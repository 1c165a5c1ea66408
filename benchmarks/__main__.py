"""`python -m benchmarks`: measures every figure on a stack of its own, and writes benchmarks/RESULTS.md."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks import durability, latency, load, machine, reads, replicas, report, watchers, workspaces
from benchmarks.bench import FULL, QUICK, Bench, Size, connect
from benchmarks.figures import Report
from benchmarks.floors import Raw
from benchmarks.lines import Process
from benchmarks.stack import Stack, StackFailed

Measure = Callable[[Bench], Awaitable[None]]

# What `turnstone dev` is without being told anything.
ALONE: dict[str, Measure] = {
    "start": durability.start_and_idle,
    "first_token": latency.first_token,
    "steps": latency.steps,
    "lag_20": load.lag_20,
    "lag_100": load.lag_100,
    "lag_300": load.lag_300,
    "interrupt": latency.interrupt,
    "turns": load.turns,
    "history": durability.history,
    "replicas": replicas.replicas,
    "tools": workspaces.tools,
    "waiting": workspaces.waiting,
    "builds": workspaces.builds,
    "watchers": watchers.watchers,
    "after_load": durability.after_load,
}
# A takeover needs somebody to take over.
PAIR: dict[str, Measure] = {"killed": durability.killed, "reads": reads.reads}
RESULTS = Path(__file__).parent / "RESULTS.md"


async def _measure(names: Sequence[str], size: Size, fewest: int, found: Report) -> None:
    provider, bare = await asyncio.gather(
        Process.start("benchmarks.provider"), Process.start("benchmarks.bare_litellm")
    )
    try:
        with tempfile.TemporaryDirectory(prefix="turnstone-bench-", ignore_cleanup_errors=True) as folder:
            place = Path(folder)
            cold = await Stack.start(place)
            say(f"first start {cold.start_seconds:.1f} s")
            if "start" in names:
                await durability.without_provider(cold, found)
            await cold.stop()
            for measures, workers in ((ALONE, fewest), (PAIR, max(fewest, 2))):
                wanted = {name: measure for name, measure in measures.items() if name in names}
                if not wanted:
                    continue
                stack = await Stack.start(place, workers=workers)
                try:
                    service = await connect(stack, provider.greeting["url"])
                    raw = Raw(provider.greeting["url"])
                    bench = Bench(size, provider, bare, raw, found, stack, service)
                    for name, measure in wanted.items():
                        await _one(name, measure, bench)
                finally:
                    await stack.stop()
    finally:
        await asyncio.gather(provider.stop(), bare.stop())


async def _one(name: str, measure: Measure, bench: Bench) -> None:
    began, known, living = time.monotonic(), len(bench.report.figures), bench.stack.facts["pids"]
    strangers = machine.Strangers()
    try:
        await measure(bench)
    except Exception as error:  # the other figures are still worth having
        traceback.print_exc()
        bench.report.failures[name] = f"{type(error).__name__}: {error}"[:500]
    bench.report.strangers[name] = strangers.share()
    if name != "killed" and (now := bench.stack.facts["pids"]) != living:
        bench.report.failures[f"{name}: a process was replaced"] = f"{living} became {now}"
    say(f"{name} ({time.monotonic() - began:.1f} s; others had {bench.report.strangers[name]:.0f} % of the machine)")
    for figure in bench.report.figures[known:]:
        floor = "" if figure.raw is None else f"  raw {figure.raw:.1f}"
        floor += "" if figure.litellm is None else f"  litellm {figure.litellm:.1f}"
        ours = "?" if figure.ours is None else f"{figure.ours:.1f}"
        say(f"  {figure.name}: {ours} {figure.unit}{floor}  [{figure.verdict}]")


def say(line: str) -> None:
    """A line for whoever watches the run."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write, and say whether anything could not be measured."""
    known = [*ALONE, *PAIR]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(known), help=f"some of {','.join(known)}")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--workers", type=int, default=1, help="worker processes, at least 2 for a takeover; default 1")
    parser.add_argument("--quick", action="store_true", help="small sizes: under 90 s, for a first look")
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.only.split(",")]
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    found, began = Report(), time.monotonic()
    try:
        uvloop.run(_measure(names, QUICK if arguments.quick else FULL, arguments.workers, found))
    except StackFailed as failed:
        say(str(failed))
        return 2
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": machine.revision(),
        "kind": "quick" if arguments.quick else "full",
        "workers": arguments.workers,
        "seconds": time.monotonic() - began,
        "machine": machine.describe(),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps({**facts, **found.as_json()}, indent=2) + "\n")
    if set(names) == set(known):
        RESULTS.write_text(report.page(found, facts))
    else:
        print(report.page(found, facts))
    return 1 if found.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
