"""A real agent as a subprocess, and the API it speaks to.

`outside` and `agent` are one pair for a module; `fresh` makes a pair of one's own, to be killed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.residence import stop
from tests.agent.outside import PATIENCE, TOKEN, Outside

ROOT = Path(__file__).parents[2]


class Resident:
    """An agent on a state directory, which may be killed and started again."""

    def __init__(self, folder: Path, outside: Outside, *options: str) -> None:
        self.home, self.state, self.directory = folder / "home", folder / "state", folder / "work"
        for place in (self.home, self.directory):
            place.mkdir(parents=True)
        self.outside = outside
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.path = os.environ["PATH"]
        self.under: tuple[str, ...] = ()  # what runs it, before its own words

    def start(self, *, wait: bool = True) -> None:
        environment = {
            "PATH": self.path,
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.home),
            "TURNSTONE_AGENT_TOKEN": TOKEN,
        }
        before = self.outside.connections
        log = (self.state.parent / "agent.log").open("ab")
        self.process = subprocess.Popen(
            [
                *(*self.under, sys.executable, "-m", "agent", "--url", self.outside.url),
                *("--state", str(self.state), "--directory", str(self.directory), *self.options),
            ],
            env=environment,
            cwd=self.home,
            stderr=log,
        )
        log.close()
        if wait:
            self.outside.until(lambda: self.outside.connections > before)
            self.outside.until(lambda: self.outside.of("lifecycle"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """The agent and whatever it started."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        stop(self.state)


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    with Outside().living() as opened:
        yield opened


@pytest.fixture(scope="module")
def agent(outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resident]:
    resident = Resident(tmp_path_factory.mktemp("agent"), outside)
    resident.start()
    yield resident
    resident.end()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Resident]]:
    with ExitStack() as stack:

        def make(*options: str) -> Resident:
            outside = stack.enter_context(Outside().living())
            resident = Resident(tmp_path / f"agent{len(list(tmp_path.iterdir()))}", outside, *options)
            stack.callback(resident.end)
            return resident

        yield make
