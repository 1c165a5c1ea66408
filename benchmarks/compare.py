"""`make bench-compare BASE=<rev>`: two revisions measured in turns in one run, both by this revision's clients."""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.__main__ import ALONE, PAIR, Measure, say
from benchmarks.bench import QUICK, Bench, connect
from benchmarks.figures import Report
from benchmarks.floors import Raw
from benchmarks.lines import Process, clean_environment
from benchmarks.ratios import Value, ratios, table
from benchmarks.stack import UNLIMITED, Stack, StackFailed

ROOT = Path(__file__).resolve().parent.parent
# Pages that both stacks have in memory would be halved.
SOLITARY = frozenset({"start"})
DEFAULT = "first_token,steps,lag_20,turns"
LOCK = "requirements.lock"
PACKAGES = ("models", "workflows", "activities", "api", "turnstone")
WARM_CHATS, WARM_TURNS = 4, 5


class Refused(Exception):
    """The two cannot be compared fairly; the message says why."""


@dataclass
class Side:
    """One revision: its code, its interpreter, its own data, and what was found out."""

    name: str
    root: Path
    python: str
    place: Path
    rounds: list[dict[str, Value]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    limits: dict[str, str] = field(default_factory=dict)  # those of UNLIMITED that its code knows

    @property
    def environment(self) -> dict[str, str]:
        """Makes every process of the stack load this side's code: neither the current folder's nor an installed one."""
        return {"PYTHONPATH": str(self.root), "PYTHONSAFEPATH": "1"}

    def prepare(self) -> None:
        """Have its byte code, and be sure that it is its code which runs."""
        self.place.mkdir()
        environment = clean_environment() | self.environment
        folders = [str(self.root / package) for package in PACKAGES]
        subprocess.run([self.python, "-m", "compileall", "-q", *folders], env=environment, check=False)
        tell = "import turnstone; print(turnstone.__file__)"
        told = subprocess.run([self.python, "-c", tell], env=environment, capture_output=True, text=True, check=False)
        if not told.stdout.startswith(f"{self.root}{os.sep}"):
            raise Refused(f"{self.name}: the code of {self.root} is not what runs:\n{told.stdout}{told.stderr}")
        tell = "from models.settings import Settings; print(*Settings.model_fields)"
        told = subprocess.run([self.python, "-c", tell], env=environment, capture_output=True, text=True, check=True)
        known = {f"TURNSTONE_{name.upper()}" for name in told.stdout.split()}
        self.limits = {name: value for name, value in UNLIMITED.items() if name in known}


@contextlib.contextmanager
def checkout(revision: str, place: Path) -> Iterator[None]:
    """The revision in a git worktree that is gone afterwards."""
    _git("worktree", "add", "--detach", "--quiet", str(place), revision)
    try:
        yield
    finally:
        _git("worktree", "remove", "--force", str(place))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())
    return done.stdout.strip()


async def compare(sides: tuple[Side, Side], names: list[str], rounds: int, workers: int) -> None:
    """Measure base, ours, ours, base … each figure right after the other's, with fresh processes in each round."""
    provider = await Process.start("benchmarks.provider")
    try:
        for side in sides:
            await (await _started(side, workers)).stop()  # the first start makes the database
        for number in range(rounds):
            began = time.monotonic()
            order = sides if number % 2 == 0 else sides[::-1]
            for side in order:
                side.rounds.append({})
            for measures, least in ((ALONE, 1), (PAIR, 2)):
                wanted = {name: measure for name, measure in measures.items() if name in names}
                await _round(order, wanted, max(workers, least), provider)
            say(f"round {number + 1} of {rounds}: {time.monotonic() - began:.0f} s")
    finally:
        await provider.stop()


async def _started(side: Side, workers: int) -> Stack:
    return await Stack.start(
        side.place, workers=workers, settings=side.environment, python=side.python, limits=side.limits
    )


async def _round(order: tuple[Side, ...], wanted: dict[str, Measure], workers: int, provider: Process) -> None:
    together = [measure for name, measure in wanted.items() if name not in SOLITARY]
    for measure in (measure for name, measure in wanted.items() if name in SOLITARY):
        for side in order:
            async with _bench(side, workers, provider) as bench:
                await _one(side, measure, bench)
    if together:
        async with contextlib.AsyncExitStack() as stacks:
            benches = [(side, await stacks.enter_async_context(_bench(side, workers, provider))) for side in order]
            for measure in together:
                for side, bench in benches:
                    await _one(side, measure, bench)
                benches.reverse()


async def _one(side: Side, measure: Measure, bench: Bench) -> None:
    bench.report = Report()
    try:
        await measure(bench)
    except Exception as error:  # the other figures are still worth having
        side.failures.append(f"{measure.__name__}: {type(error).__name__}: {error}"[:300])
    side.failures += [f"{what}: {why}" for what, why in bench.report.failures.items()]
    side.rounds[-1].update(values(bench.report))


@contextlib.asynccontextmanager
async def _bench(side: Side, workers: int, provider: Process) -> AsyncIterator[Bench]:
    stack = await _started(side, workers)
    try:
        url = provider.greeting["url"]
        service = await connect(stack, url)
        chats = await service.chats(WARM_CHATS)
        for _, chat in zip(range(WARM_TURNS * WARM_CHATS), itertools.cycle(chats), strict=False):
            await chat.turn(tokens=5)
        for chat in chats:
            chat.close()
        bench = Bench(QUICK, provider, None, Raw(url), Report(), stack, service)
        await bench.requests()
        yield bench
    finally:
        await stack.stop()


def values(report: Report) -> dict[str, Value]:
    """The figures and the profile of a report, by name."""
    found = {
        each.name: Value(each.unit, each.ours, each.more_is_better) for each in report.figures if each.ours is not None
    }
    for title, shares in report.profile.items():
        what, _, unit = title.rpartition(", ")
        found |= {f"{what}: {name}": Value(unit.partition(" ")[0], value) for name, value in shares.items()}
    return found


def _sides(arguments: argparse.Namespace, place: Path) -> tuple[Side, Side]:
    theirs = place / "checkout"
    if not arguments.base_python and (theirs / LOCK).read_bytes() != (ROOT / LOCK).read_bytes():
        raise Refused(
            f"{LOCK} of {arguments.base} differs from ours: make an environment by it, "
            "and name its interpreter with --base-python"
        )
    base = Side("base", theirs, arguments.base_python or sys.executable, place / "base")
    return base, Side("ours", ROOT, sys.executable, place / "ours")


def main() -> int:
    """Compare, print, and say whether anything could not be measured."""
    known = [*ALONE, *PAIR]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--base", required=True, help="the revision that ours is compared with")
    parser.add_argument("--only", default=DEFAULT, help=f"some of {','.join(known)}; default {DEFAULT}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; default 3")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of each stack; default 1")
    parser.add_argument("--base-python", default="", help="the interpreter of an environment with the base's packages")
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.only.split(",")]
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    try:
        with tempfile.TemporaryDirectory(prefix="turnstone-compare-", ignore_cleanup_errors=True) as folder:
            place = Path(folder)
            with checkout(arguments.base, place / "checkout"):
                sides = _sides(arguments, place)
                for side in sides:
                    side.prepare()
                uvloop.run(compare(sides, names, arguments.rounds, arguments.workers))
    except (Refused, StackFailed) as refused:
        say(str(refused))
        return 2
    base, ours = sides
    print(f"base {_git('rev-parse', '--short=12', arguments.base)}, ours {_git('describe', '--always', '--dirty')}")
    print(f"{arguments.rounds} rounds each, in turns; medians; ratio = ours / base\n")
    print(table(ratios(base.rounds, ours.rounds)))
    print("\nbetter, worse: 1 is outside the 95 % interval of the paired ratios; of twenty such lines one is chance.")
    for side in sides:
        for failure in side.failures:
            print(f"{side.name}: {failure}")
    return 1 if base.failures or ours.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
