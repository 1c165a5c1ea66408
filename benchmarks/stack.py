"""A real `turnstone dev` in a directory of its own, started, timed, and watched from outside."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from benchmarks import machine
from benchmarks.lines import clean_environment
from turnstone.processes import spawn

PATIENCE = 120.0
# A benchmark is one caller; what is measured is not how well it is kept away.
UNLIMITED = {"TURNSTONE_RATE_LIMIT_PER_MINUTE": "0", "TURNSTONE_STREAMS_PER_USER": "0"}


class StackFailed(Exception):
    """The stack did not come up; the message ends with its log."""


class Stack:
    """One run of `turnstone dev`."""

    def __init__(self, process: subprocess.Popen[bytes], ready: Path, seconds: float) -> None:
        self._process = process
        self._ready = ready
        self.start_seconds = seconds

    @classmethod
    async def start(
        cls,
        place: Path,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        python: str = sys.executable,
        limits: Mapping[str, str] = UNLIMITED,
    ) -> Self:
        """Start on the data directory below `place`; returns when it says that it is ready."""
        ready, log = place / "ready.json", place / "dev.log"
        ready.unlink(missing_ok=True)
        argv = [python, "-m", "turnstone", "dev", "--data-dir", str(place / "data")]
        for name in ("--port", "--temporal-port", "--temporal-ui-port"):
            argv += [name, "0"]
        argv += ["--workers", str(workers), "--ready-file", str(ready)]
        environment = clean_environment() | dict(limits) | dict(settings or {})
        began = time.monotonic()
        process = spawn(argv, env=environment, log=log, death_signal=signal.SIGTERM)
        while not ready.exists():
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                raise StackFailed(f"turnstone dev did not become ready:\n{log.read_text()[-4000:]}")
            await asyncio.sleep(0.005)
        return cls(process, ready, time.monotonic() - began)

    @property
    def facts(self) -> dict[str, Any]:
        """The ready file as it is now: processes may have been replaced."""
        facts: dict[str, Any] = json.loads(self._ready.read_text())
        return facts

    def processes(self) -> dict[str, list[int]]:
        """The living processes by role, each with its descendants."""
        roots: dict[str, Any] = self.facts["pids"]
        roles = {role: machine.family(pids) for role, pids in roots.items() if isinstance(pids, list)}
        known = {pid for pids in roles.values() for pid in pids}
        roles["supervisor"] = [pid for pid in machine.family([roots["supervisor"]]) if pid not in known]
        return roles

    async def stop(self) -> None:
        """End it as Ctrl-C would, and wait."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            await asyncio.to_thread(self._process.wait, 30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


class Meter:
    """CPU of a stack, by role, over a stretch of time."""

    def __init__(self, stack: Stack) -> None:
        self._roles = stack.processes()
        self._began = time.monotonic()
        self._before = {role: machine.cpu_seconds(pids) for role, pids in self._roles.items()}

    def stop(self) -> dict[str, float]:
        """Milliseconds of CPU by role since it was made."""
        return {role: (machine.cpu_seconds(pids) - self._before[role]) * 1000 for role, pids in self._roles.items()}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began
