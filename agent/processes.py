"""Commands that outlive the agent: begun at most once, found again, followed, told to stop."""

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agent import census, readonly, shim
from agent.environment import for_command
from agent.frames import Frame, Refused
from agent.ledger import Entry
from agent.limits import Limits
from agent.process import Info, Process, read_info, write_info

KILL_AFTER_SECONDS = 5.0
KEPT_SECONDS = 24 * 3600
KEPT = 500
LISTED = 100
_GUARD_SECONDS, _IDLE_SECONDS = 0.1, 2.0
_WATCHFUL_SECONDS = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """What to run, where, and with what beside the usual environment."""

    words: str
    directory: Path
    environment: Mapping[str, str]
    background: bool = False
    read_only: bool = False


class Processes:
    """The commands of one state directory; those of an earlier agent are found when it opens."""

    def __init__(self, folder: Path, own: Mapping[str, str], limits: Limits, boot_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._own = own
        self._boot_id = boot_id
        self.limits = limits
        self.given: Mapping[str, str] = {}
        self.shown: Mapping[str, str] = {}  # where windows are opened, once there is a desktop
        self.scope = mark_of(folder)
        self._known: dict[str, Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = asyncio.Event()

    def find(self) -> None:
        """Take up what earlier agents left: running commands are watched again."""
        for folder in sorted(self._folder.iterdir()):
            info = read_info(folder)
            if info is None:
                continue
            process = self._known[folder.name] = Process(folder.name, folder, info, self.limits.output_bytes)
            state = process.look().state
            if info.boot_id != self._boot_id and state == "pending":
                process.lose()
            elif state in {"running", "starting"}:
                self._watch(process)
                if (folder / "canceled").exists():
                    self.cancel(folder.name)

    def get(self, job: str) -> Process:
        """A command by its id; refused when there is none that was begun."""
        process = self._known.get(job)
        if process is None or process.look().state == "pending":
            raise Refused("not_found", f"there is no process {job}")
        return process

    async def start(self, job: str, command: Command, begun: Awaitable[Entry]) -> Process:
        """Begin a command at most once, and only after it is written down; one begun earlier is found again."""
        known = self._known.get(job)
        if known is not None and await self._settled(known) != "pending":
            await begun
            return known
        process = known or Process(job, self._folder / job, self._info(command), self.limits.output_bytes)
        started: shim.Started | None = None
        try:
            try:
                # The shell comes up while the disk is busy with the ledger; it waits for its word.
                started = self._spawn(process, command)
            finally:
                entry = await begun
            if entry.boot_id != self._boot_id:
                process.lose()  # the host stopped since: what could say whether it ran may be gone
            elif (process.folder / "canceled").exists():
                raise Refused("conflict", "the command was canceled before it began")
            else:
                started.go()
                process.begun()
                self._began.set()
                self._watch(process, started.process)
                started = None
        finally:
            if started is not None:
                started.withdraw()
                self._keep(asyncio.create_task(_reaped(started.process)))
        self._known[job] = process
        return process

    def lines(self) -> list[Frame]:
        """The commands that run, and the last that have ended; newest last."""
        begun = [process for process in self._known.values() if process.look().state != "pending"]
        begun.sort(key=lambda process: process.info.started_at)
        listed = [process for process in begun if process.running] + [p for p in begun if not p.running][-LISTED:]
        return [process.line() for process in sorted(listed, key=lambda process: process.info.started_at)]

    async def signal(self, job: str, number: int) -> str | None:
        """Send a signal to a command and all that it has started; why not, if it has ended."""
        process = self.get(job)
        seen = process.look()
        found = await asyncio.to_thread(census.members, self._mark(job), seen.leader)
        if not process.running and not found:
            return "the process has already ended" + (f" with exit code {seen.code}" if seen.code is not None else "")
        if number == signal.SIGKILL:
            await asyncio.to_thread(census.wipe, self._mark(job), seen.leader)
        elif not found:
            return "the process has not come up yet: try again"
        else:
            census.tell(found, number)
            census.tell(found, signal.SIGCONT)  # what stands still hears nothing
        return None

    def cancel(self, job: str) -> None:
        """Nobody waits for a command any more: TERM, and after a while KILL. One in the background goes on."""
        process = self._known.get(job)
        if process is None or process.info.background or process.done.is_set():
            return
        (process.folder / "canceled").touch()
        self._keep(asyncio.create_task(self._end(process)))

    def show(self, environment: Mapping[str, str]) -> None:
        """Commands that begin from now on open their windows there."""
        self.shown = environment

    def prune(self, answered: Callable[[str], bool]) -> None:
        """Forget commands that ended long ago, and the oldest of those whose output takes too much room.

        One whose end nobody was told is kept: it may be asked for again, and must not run again.
        """
        ended = []
        for process in self._known.values():
            if process.done.is_set() and answered(process.job):
                with suppress(OSError):
                    written = (process.folder / "output").stat().st_mtime
                    ended.append((written, process.size(), process))
        room = self.limits.output_total_bytes
        ended.sort(key=lambda found: found[0], reverse=True)
        for place, (at, size, process) in enumerate(ended):
            room -= size
            if room < 0 or place >= KEPT or at < time.time() - KEPT_SECONDS:
                process.remove()
                self._known.pop(process.job, None)

    async def guard(self) -> None:
        """For ever: bound the output of commands on disk, and kill those that multiply without end."""
        counted = watchful = swept = 0.0
        while True:
            now = time.monotonic()
            running = [process for process in self._known.values() if process.running]
            everything = now >= swept  # what an ended command has left behind may still write
            swept = now + _IDLE_SECONDS if everything else swept
            for process in list(self._known.values()) if everything else running:
                process.cap.enforce()
            if now >= counted and self.limits.processes and census.total() > self.limits.processes:
                begin = time.monotonic()
                counts = Counter((await asyncio.to_thread(census.marked, f"{self.scope}/")).values())
                counted = now + 20 * (time.monotonic() - begin)  # at most a twentieth of the time goes into counting
                await self._judge(counts)
            if running or self._began.is_set():
                self._began.clear()
                watchful = now + _WATCHFUL_SECONDS
            # What a command has left behind may multiply too, but a quiet workspace costs next to nothing.
            if now < watchful:
                await asyncio.sleep(_GUARD_SECONDS)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await self._began.wait()

    async def _judge(self, counts: Mapping[str, int]) -> None:
        for job, count in counts.items():
            if count > self.limits.processes:
                process = self._known.get(job)
                if process is not None:
                    with suppress(OSError):
                        process.remark(f"It was killed: it had more than {self.limits.processes} processes at once.")
                leader = process.look().leader if process is not None else None
                killed = await asyncio.to_thread(census.wipe, self._mark(job), leader)
                log.warning("killed %d processes of %s: too many at once", killed, job)

    def _info(self, command: Command) -> Info:
        info = Info(command.words, command.background, time.time(), self._boot_id)
        if not command.read_only:
            return info
        confined, caveat = readonly.verdict()
        return replace(info, read_only=True, confined=confined, caveat=caveat)

    def _mark(self, job: str) -> str:
        return f"{self.scope}/{job}"

    async def _settled(self, process: Process) -> str:
        """The state of a process once it is clear whether an earlier agent began it."""
        while (state := process.look().state) == "starting":  # noqa: ASYNC110 (an earlier agent tells no event)
            await asyncio.sleep(0.005)
        return state

    def _spawn(self, process: Process, command: Command) -> shim.Started:
        if not command.directory.is_dir():
            raise Refused("not_found", f"the working directory {command.directory} does not exist")
        try:
            process.folder.mkdir(exist_ok=True)
            write_info(process.folder, process.info)
            words = ["/bin/sh", "-c", command.words]
            # What can type on the desktop can have others write.
            given = self.given if command.read_only else {**self.given, **self.shown}
            environment = for_command(self._own, given, command.environment, self._mark(process.job))
            if command.read_only:
                (process.folder / readonly.ROOM).mkdir(mode=0o700, exist_ok=True)
                environment |= readonly.environment(str(process.folder))
            if process.info.confined:
                words = readonly.words(str(process.folder), words)
            return shim.start(process.folder, words, command.directory, environment, self.limits.script())
        except FileNotFoundError as error:
            raise Refused("unsupported", "there is no /bin/sh here to run commands with") from error
        except ValueError as error:
            raise Refused("invalid", f"the command cannot be run: {error}") from error
        except OSError as error:
            raise Refused("internal", f"the command could not be started: {error.strerror}") from error

    def _watch(self, process: Process, child: "subprocess.Popen[bytes] | None" = None) -> None:
        self._known[process.job] = process
        self._keep(asyncio.create_task(self._await(process, child)))

    async def _await(self, process: Process, child: "subprocess.Popen[bytes] | None") -> None:
        if child is not None:
            code = await _ended(child)
            if code == shim.NEVER_RAN and process.look().state != "exited":
                process.lose("The command could not be begun (is the disk full?).")
        pause = 0.01
        while process.look().state not in {"exited", "lost"}:
            if process.observed.state == "pending":
                if child is not None:
                    process.lose("The command was not begun: its shell was killed first.")
                return  # an earlier agent died before it said the word: to be begun when it is asked for again
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    async def _end(self, process: Process) -> None:
        end = time.monotonic() + KILL_AFTER_SECONDS
        told = 0
        while process.running and time.monotonic() < end:
            if not told:  # the shell may not have begun it yet
                leader = process.look().leader
                found = await asyncio.to_thread(census.members, self._mark(process.job), leader)
                told = census.tell(found, signal.SIGTERM)
            await asyncio.sleep(0.05)
            process.look()
        if process.running:
            await asyncio.to_thread(census.wipe, self._mark(process.job), process.look().leader)

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def mark_of(folder: Path) -> str:
    """What the marks of all commands of a state directory begin with."""
    status = folder.stat()
    return f"{status.st_ino:x}-{status.st_dev:x}"


async def _reaped(child: "subprocess.Popen[bytes]") -> None:
    await _ended(child)


async def _ended(child: "subprocess.Popen[bytes]") -> int:
    """The exit status of a child of ours, as soon as there is one."""
    try:
        descriptor = os.pidfd_open(child.pid)
    except (OSError, AttributeError):
        return await asyncio.to_thread(child.wait)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return child.wait()
