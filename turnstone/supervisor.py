"""Keeps the processes of the embedded stack alive, at their addresses, until told to stop."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnstone.processes import Exits, Process, describe_exit, end_orphan, spawn

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
LONG_LIFE = 10.0
PROBE_INTERVAL = 0.025

Say = Callable[[str], None]


async def nothing() -> None:
    """The default preparation: none."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One process to keep: what it runs, when it is ready, how it is ended; `bear` begins it in another way."""

    role: str
    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    pid_file: Path
    ready: Callable[[int], Awaitable[bool]]
    prepare: Callable[[], Awaitable[None]] = nothing
    bear: Callable[[], Awaitable[Process]] | None = None
    pass_fds: Sequence[int] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    hard_signal: signal.Signals = signal.SIGKILL
    grace: float = 10.0
    user: tuple[int, int] | None = None
    niceness: int = 0  # how readily it leaves the processor to the others


@dataclass
class Child:
    """One kept process: started, watched, restarted with back-off."""

    command: Command
    exits: Exits
    say: Say
    changed: Callable[[], None]
    process: Process | None = None
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the present incarnation."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def start(self) -> asyncio.Task[None]:
        """Begin keeping it; the task ends only by `stop`, or with the error that makes keeping impossible."""
        self._task = asyncio.create_task(self._keep(), name=self.command.name)
        return self._task

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            await self.command.prepare()
            born = time.monotonic()
            self.process = await self._begin()
            self.command.pid_file.write_text(str(self.process.pid))
            probing = asyncio.create_task(self._probe(self.process.pid))
            code = await self.exits.wait(self.process)
            probing.cancel()
            self.is_ready.clear()
            if self._stopping.is_set():
                return
            if time.monotonic() - born >= LONG_LIFE:
                delay = FIRST_DELAY
            self.say(f"{self.command.name} ended ({describe_exit(code)}); restarting in {delay:.1f} s")
            if code > 0:
                self.say(tail(self.command.log))
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _begin(self) -> Process:
        if self.command.bear is not None:
            return await self.command.bear()
        process = spawn(
            self.command.argv,
            env=self.command.env,
            log=self.command.log,
            death_signal=self.command.hard_signal,
            user=self.command.user,
            pass_fds=self.command.pass_fds,
        )
        with contextlib.suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, self.command.niceness)
        return process

    async def _probe(self, pid: int) -> None:
        while not await self.command.ready(pid):  # noqa: ASYNC110 - another process tells no Event
            await asyncio.sleep(PROBE_INTERVAL)
        self.is_ready.set()
        self.changed()

    def give_up(self) -> None:
        """Do not start it again."""
        self._stopping.set()

    async def stop(self) -> None:
        """End it with patience, then without."""
        self._stopping.set()
        process = self.process
        if process is not None and process.poll() is None:
            send(process, self.command.stop_signal)
            try:
                async with asyncio.timeout(self.command.grace):
                    await self.exits.wait(process)
            except TimeoutError:
                self.say(f"{self.command.name} did not stop within {self.command.grace:.0f} s; ending it")
                send(process, self.command.hard_signal)
                await self.exits.wait(process)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.command.pid_file.unlink(missing_ok=True)


class Supervisor:
    """All children of a stack: kept, counted, and stopped rank after rank."""

    def __init__(self, say: Say, changed: Callable[[], None]) -> None:
        self.exits = Exits()
        self.children: list[Child] = []
        self._say = say
        self._changed = changed
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def keep(self, command: Command) -> Child:
        """Start a process and keep it."""
        child = Child(command, self.exits, self._say, self._changed)
        self.children.append(child)
        child.start().add_done_callback(self._note_failure)
        return child

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def failure(self) -> None:
        """Return never; raise what makes it impossible to keep a child (a missing program, a broken directory)."""
        await asyncio.shield(self._failed)

    def pids(self, role: str) -> list[int]:
        """The living processes of a role."""
        return [child.pid for child in self.children if child.command.role == role and child.pid is not None]

    async def ready(self) -> None:
        """Return when every child is ready."""
        await asyncio.gather(*(child.is_ready.wait() for child in self.children))

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        stdout: Path | None = None,
        stdin: str = "",
        user: tuple[int, int] | None = None,
    ) -> int:
        """Run a process to its end; it dies with us as the kept ones do."""
        process = spawn(argv, env=env, log=log, stdout=stdout, stdin=stdin, user=user)
        try:
            return await self.exits.wait(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    async def stop(self, ranks: Sequence[Sequence[str]]) -> None:
        """Stop the roles rank after rank; the children of a rank together."""
        for rank in ranks:
            await asyncio.gather(*(child.stop() for child in self.children if child.command.role in rank))

    def kill(self) -> None:
        """End everything now, for good."""
        for child in self.children:
            child.give_up()
            if child.process is not None and child.process.poll() is None:
                send(child.process, child.command.hard_signal)


async def end_orphans(pid_files: Path, marker: str) -> list[str]:
    """End what an earlier run left behind, where the kernel did not; the names of those found."""
    found = []
    for file in sorted(pid_files.glob("*.pid")):  # noqa: ASYNC240 - a handful of names, before anything else runs
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text())
            first = signal.SIGQUIT if file.stem == "postgres" else signal.SIGKILL
            if pid != os.getpid() and await end_orphan(pid, marker, first):
                found.append(file.stem)
        file.unlink(missing_ok=True)
    return found


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a child that may just have ended."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, indented, for the terminal."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
