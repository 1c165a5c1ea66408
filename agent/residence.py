"""The agent put together: one state directory, one connection, from start to stop."""

import asyncio
import ctypes
import fcntl
import logging
import os
import platform
import signal
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent import census, shim
from agent.connection import Connection
from agent.desktop import Desktop
from agent.environment import inherited
from agent.frames import PROTOCOL, VERSION, Frame, strings
from agent.git import Git
from agent.jobs import Jobs, Place
from agent.journal import Journal
from agent.ledger import Entry, Ledger
from agent.limits import Limits, confine, confined, release
from agent.paths import located
from agent.processes import Processes, mark_of
from agent.recordings import Recordings
from agent.screen import Where
from agent.startup import Startup
from agent.viewers import Viewers

log = logging.getLogger(__name__)

_PRUNE_SECONDS = 600.0
_PR_SET_DUMPABLE = 4


class Occupied(Exception):
    """Another agent runs on this state directory."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    url: str
    token: str
    state: Path
    directory: Path | None
    limits: Limits
    environment: Mapping[str, str]


class Agent:
    """Everything that one running agent consists of."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = _occupy(options.state)
        self._boot_id = _boot_id()
        own = inherited(options.environment)
        home = Path(options.environment.get("HOME") or Path.cwd())
        self._place = Place(options.url, options.token, home, options.directory or home)
        self._place.directory.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(options.state / "ledger", self._boot_id)
        self._journal = Journal(options.state / "journal")
        self._processes = Processes(options.state / "processes", own, options.limits, self._boot_id)
        self._git = Git(lambda: self._place.directory, own)
        self._connection = Connection(options.url, options.token, self._hello)
        where = Where(options.state / "desktop", own, f"{self._processes.scope}/desktop")
        self._desktop = Desktop(where, self._processes.show)
        self._recordings = Recordings(self._desktop)
        self._viewers = Viewers(self._desktop, where, options.url, options.token)
        self._jobs = Jobs(
            self._place,
            self._ledger,
            self._journal,
            self._processes,
            self._git,
            self._desktop,
            self._recordings,
            self._viewers,
            self._connection,
        )
        self._startup = Startup(
            self._processes, self._begin_startup, options.state, self._boot_id, self._connection.hint
        )
        self._welcomed = asyncio.Event()

    async def run(self) -> None:
        """Work until told to stop; commands go on without us. Raises connection.Rejected."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="agent"))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        _close_up()
        confine(self._processes.scope, self._options.limits.processes_total)
        for job, outcome in self._journal.recover().items():
            if self._ledger.outcome(job) is None:
                self._ledger.finish(job, outcome)
        for job, outcome in self._ledger.unsent().items():
            self._connection.owe(job, outcome)
        self._processes.find()
        await self._desktop.find()
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._connection.run(self), name="connection"),
            asyncio.create_task(_always(self._processes.guard), name="guard"),
            asyncio.create_task(_always(self._watch_git), name="git"),
            asyncio.create_task(_always(self._prune), name="prune"),
            asyncio.create_task(_always(self._desktop.watch), name="desktop"),
        ]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # only ever an error
            self._recordings.close()
            await self._viewers.close()
            await self._desktop.close()
            self._startup.move("shutting_down")
            self._startup.move("off")
            await self._connection.drain(1.0)
        finally:
            stopped.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)

    def welcomed(self, frame: Frame) -> None:
        """Take what the API says of the workspace."""
        try:
            self._settle(frame)
        except Exception:
            log.exception("the welcome")

    def _settle(self, frame: Frame) -> None:
        """Where we work is settled by the first welcome; the environment by each."""
        if not self._welcomed.is_set():
            if self._options.directory is None and frame.get("directory"):
                directory = located(str(frame["directory"]), self._place.home, self._place.home)
                with suppress(OSError):
                    directory.mkdir(parents=True, exist_ok=True)
                    self._place.directory = directory
            said = frame.get("limits")
            self._processes.limits = self._options.limits.narrowed(said if isinstance(said, dict) else {})
        workspace = {
            name: str(frame[key])
            for name, key in (
                ("CODER_WORKSPACE_NAME", "workspace_name"),
                ("CODER_WORKSPACE_OWNER_NAME", "owner_name"),
            )
            if frame.get(key)
        }
        self._processes.given = {**workspace, **strings(frame, "environment")}
        timeout = frame.get("startup_timeout_seconds")
        self._startup.welcomed(
            str(frame.get("agent_id", "")),
            str(frame.get("startup_script") or ""),
            float(timeout) if isinstance(timeout, int | float) else 0.0,
            self._place.directory,
        )
        self._git.forget()
        self._welcomed.set()

    def heard(self, frame: Frame) -> None:
        """Do what the API asks; what cannot be done must not cost the connection."""
        try:
            self._do(frame)
        except Exception:
            log.exception("a frame of type %s", frame.get("type"))

    def _do(self, frame: Frame) -> None:
        kind, job = frame.get("type"), frame.get("job")
        if kind == "job":
            self._jobs.accept(frame)
        elif kind == "cancel" and isinstance(job, str):
            self._jobs.cancel(job)
        elif kind == "stored" and isinstance(job, str):
            self._jobs.stored(job)
        elif kind == "git_refresh":
            self._git.refresh()

    def _hello(self) -> Frame:
        return {
            "type": "hello",
            "protocol": PROTOCOL,
            "version": VERSION,
            "os": platform.system().lower(),
            "architecture": platform.machine(),
            "hostname": socket.gethostname(),
            "home": str(self._place.home),
            "directory": str(self._place.directory),
            "boot_id": self._boot_id,
        }

    async def _begin_startup(self, job: str, request: Frame) -> Entry:
        return await asyncio.to_thread(self._ledger.begin, job, "startup", request)

    async def _watch_git(self) -> None:
        await self._welcomed.wait()
        await self._git.watch(lambda frame: self._connection.hint({"type": "git", **frame}), self._connection.listening)

    async def _prune(self) -> None:
        while True:
            self._processes.prune(lambda job: self._ledger.outcome(job) is not None)
            await asyncio.to_thread(self._ledger.prune)
            await asyncio.sleep(_PRUNE_SECONDS)


async def _always(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Keep something going that must not end, nor end us."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("%s", getattr(work, "__qualname__", work))
        await asyncio.sleep(1.0)


def stop(state: Path, patience: float = 10.0) -> int:
    """End the agent of a state directory and every command it ever started; how many processes were killed."""
    with suppress(OSError, ValueError):
        pid = int((state / "agent.lock").read_text())
        end = time.monotonic() + patience
        while _held(state):
            number = signal.SIGTERM if time.monotonic() < end else signal.SIGKILL
            os.kill(pid, number)
            time.sleep(0.05)
    if not (state / "processes").is_dir():
        return 0
    scope = mark_of(state / "processes")
    seen = [shim.observe(folder).leader for folder in (state / "processes").iterdir()]
    leaders = {leader for leader in seen if leader is not None}
    killed = 0
    while found := {*census.residents(scope, leaders), *confined(scope)}:
        census.tell([*found], signal.SIGSTOP)
        killed += census.tell([*found], signal.SIGKILL)
        time.sleep(0.01)
    release(scope)
    return killed


def _occupy(state: Path) -> int:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(state / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Occupied(str(state)) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _held(state: Path) -> bool:
    lock = os.open(state / "agent.lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _close_up() -> None:
    """Keep commands of the same user from reading our memory and environment, where the token is. Not from root."""
    call = getattr(ctypes.CDLL(None), "prctl", None)
    if call is not None:
        call(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _boot_id() -> str:
    """What differs after a crash of the host; one of our own where the system tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(uuid.uuid4())
