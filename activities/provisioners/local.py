"""The local provisioner: a directory on the worker's machine, and an agent in it that outlives the worker."""

import asyncio
import contextlib
import fcntl
import os
import pwd
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from activities.provisioners import inhabitants, launch
from activities.provisioners.provisioner import Agent, Building, Log, ProvisionFailed, State
from models.settings import Settings

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE = 5.0  # seconds that processes have to end by themselves
LONGEST_LOG = 16 * 1024 * 1024
LIMITS: Mapping[str, int] = {
    "memory_bytes": resource.RLIMIT_AS,
    "processes": resource.RLIMIT_NPROC,
    "open_files": resource.RLIMIT_NOFILE,
    "file_bytes": resource.RLIMIT_FSIZE,
    "cpu_seconds": resource.RLIMIT_CPU,
}


class Local:
    """`<workspaces_dir>/<workspace id>/`: `home` is the workspace's, the rest is ours."""

    def __init__(self, settings: Settings, program: Callable[[], Sequence[str]] = launch.program) -> None:
        self._root = Path(settings.workspaces_dir).absolute()
        self._url = settings.agents_url
        self._isolation = settings.workspace_isolation
        self._program = program
        self._walls: bool | None = None

    async def start(self, build: Building, log: Log) -> State:
        state = await self._here(build)
        place = self._place(build)
        if not place.is_dir() and build.state.get("home"):
            raise ProvisionFailed("The workspace's files are gone.", "FILES_GONE")
        await self._prepare(place, build)
        others = [each for each in self._builds(place) if each.name != str(build.build_id)]
        if others:
            await self._empty(build, log)
            for each in others:
                await asyncio.to_thread(_remove, each)
        for agent in build.agents:
            began = await self._begin(place, build, agent)
            log(f"Agent {agent.name} {'was started' if began else 'is running'}.", stage="agents")
        return {**state, "home": str(place / "home")}

    async def stop(self, build: Building, log: Log) -> State:
        state = await self._here(build)
        await self._empty(build, log)
        place = self._place(build)
        for each in self._builds(place):
            await asyncio.to_thread(_remove, each)
        return {**state, "home": str(place / "home")} if place.is_dir() else state

    async def delete(self, build: Building, log: Log) -> State:
        state = await self._here(build)
        await self._empty(build, log)
        await asyncio.to_thread(_remove, self._place(build))
        log("The workspace's files were deleted.", stage="files")
        return state

    def _place(self, build: Building) -> Path:
        return self._root / str(build.workspace_id)

    def _builds(self, place: Path) -> list[Path]:
        """What agents of a build need, a directory each."""
        return sorted((place / "agent").iterdir()) if (place / "agent").is_dir() else []

    async def _here(self, build: Building) -> State:
        """This machine's mark; raises ProvisionFailed when the workspace lives on another one."""
        mark = await asyncio.to_thread(self._machine)
        if build.state.get("machine", mark) != mark:
            raise ProvisionFailed("The workspace lives on another machine.", "OTHER_MACHINE")
        return {"machine": mark}

    def _machine(self) -> str:
        """What tells this machine's workspaces from others': a word in their directory, written once."""
        file = self._root / "machine"
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):
                draft = self._root / f"machine.{uuid4()}"
                draft.write_text(str(uuid4()))
                try:
                    os.link(draft, file)  # whole, or not at all
                finally:
                    draft.unlink()
            return file.read_text()
        except OSError as unable:
            raise ProvisionFailed(f"The directory of workspaces cannot be used: {unable}", "DIRECTORY") from unable

    async def _prepare(self, place: Path, build: Building) -> None:
        def make() -> None:
            for name in ("home", "log", "tmp"):
                (place / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            place.chmod(0o700)
            for agent in build.agents:
                own = self._own(place, build, agent)
                (own / "state").mkdir(parents=True, exist_ok=True, mode=0o700)
                draft = own / f"token.{uuid4()}"
                with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(agent.token)
                draft.replace(own / "token")

        try:
            await asyncio.to_thread(make)
        except OSError as unable:
            raise ProvisionFailed(f"The workspace's directory cannot be made: {unable}", "DIRECTORY") from unable

    def _own(self, place: Path, build: Building, agent: Agent) -> Path:
        return place / "agent" / str(build.build_id) / agent.name

    async def _begin(self, place: Path, build: Building, agent: Agent) -> bool:
        """Start the agent; False when it runs already: who runs holds the lock, and nobody else can be started."""
        own, home = self._own(place, build, agent), place / "home"
        directory = (home / Path(agent.directory.removeprefix("~/"))) if agent.directory not in ("", "~") else home
        arguments = launch.arguments(self._url, str(own / "token"), str(directory), str(own / "state"))
        try:
            walls = await self._walled(place)
            argv = [*walls, *launch.kept([*self._program(), *arguments])]
            limits = build.spec.get("local") or {}
            environment = self._environment(place, build, agent)
            spawn = partial(_spawn, own, home, place / "log", argv, environment, limits, self._url)
            if await asyncio.to_thread(spawn):
                return True
            if _read(own / "url") in ("", self._url):
                return False
            # The API has moved, and an agent knows only where it was told to look.
            await asyncio.to_thread(_end_keepers, build, own)
            return await asyncio.to_thread(spawn)
        except ModuleNotFoundError as missing:
            raise ProvisionFailed(f"There is no agent to start: {missing}", "NO_AGENT") from missing
        except OSError as unable:
            raise ProvisionFailed(f"The agent cannot be started: {unable}", "AGENT") from unable

    def _environment(self, place: Path, build: Building, agent: Agent) -> dict[str, str]:
        """Nothing of the worker's: neither its secrets nor its settings."""
        user = pwd.getpwuid(os.getuid()).pw_name
        return {
            "PATH": PATH,
            "HOME": str(place / "home"),
            "TMPDIR": str(place / "tmp"),
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            inhabitants.ROOT: str(self._root),
            inhabitants.WORKSPACE: str(build.workspace_id),
            "TS_AGENT_NAME": agent.name,
        }

    async def _walled(self, place: Path) -> list[str]:
        """The beginning of a command line that shuts the rest in, where that is wanted and works."""
        if self._isolation == "none":
            return []
        if self._walls is None:
            probe = self._root / f"probe-{uuid4()}"
            self._walls = await asyncio.to_thread(_works, self._wall(probe), probe)
        if self._walls:
            return self._wall(place)
        if self._isolation == "bubblewrap":
            raise ProvisionFailed("bubblewrap does not work on this machine.", "ISOLATION")
        return []

    def _wall(self, place: Path) -> list[str]:
        """Sees the system, but nobody else's workspace, nobody else's processes, and writes to its own place alone."""
        program = self._program()
        ours = [Path(each) for each in (sys.prefix, sys.base_prefix, *program[-1:]) if each.startswith("/")]
        data = self._root.parent  # of an embedded stack: keys, tokens and the database
        hidden = self._root if any(each.is_relative_to(data) for each in ours) else data
        bwrap = shutil.which("bwrap") or "bwrap"
        return [
            *(bwrap, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--ro-bind", "/", "/", "--dev", "/dev"),
            *("--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", str(hidden), "--bind", str(place), str(place)),  # noqa: S108
            "--",
        ]

    async def _empty(self, build: Building, log: Log) -> None:
        """Nobody lives in the workspace any more."""
        workspace = str(build.workspace_id)
        if not inhabitants.can_be_found() and self._builds(self._place(build)):
            log("Its processes cannot be found on this system; they may go on.", stage="agents", level="warn")
        ended = await asyncio.to_thread(inhabitants.end, inhabitants.WORKSPACE, workspace, GRACE)
        if ended:
            log(f"{ended} processes were ended.", stage="agents")


def _works(argv: Sequence[str], place: Path) -> bool:
    """Does the beginning of a command line work, for a place that is there for the moment?"""
    if shutil.which(argv[0]) is None:
        return False
    try:
        place.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([*argv, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        with contextlib.suppress(OSError):
            place.rmdir()
    return done.returncode == 0


def _spawn(
    own: Path,
    home: Path,
    logs: Path,
    argv: Sequence[str],
    environment: Mapping[str, str],
    limits: Mapping[str, Any],
    url: str,
) -> bool:
    """Begin the command in a session of its own; False when one holds the lock. It keeps it as long as it lives."""
    said = logs / f"agent-{own.name}.log"
    if said.exists() and said.stat().st_size > LONGEST_LOG:
        said.unlink()
    with (own / "lock").open("w") as lock, said.open("ab") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        (own / "url").write_text(url)
        with subprocess.Popen(  # noqa: S603 - our own program
            launch.detached(str(own / "pid"), argv),
            cwd=home,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        ) as starting:
            assert starting.stdin is not None
            _limit(starting.pid, limits)
            starting.stdin.write(b"go\n")
    return True


def _end_keepers(build: Building, own: Path) -> None:
    """End the agent and what keeps it alive, and nothing else that runs in the workspace."""
    state = str(own / "state").encode()
    for pid in inhabitants.marked(inhabitants.WORKSPACE, str(build.workspace_id)):
        with contextlib.suppress(OSError):
            if state in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
    with (own / "lock").open("w") as lock:
        for _ in range(inhabitants.ROUNDS):  # free as soon as they are gone
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(inhabitants.PAUSE)


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _limit(pid: int, limits: Mapping[str, Any]) -> None:
    """Set what a process and its children may use; nothing above what this process may."""
    if sys.platform != "linux":
        return
    wanted = {LIMITS[name]: int(value) for name, value in limits.items()} | {resource.RLIMIT_CORE: 0}
    for kind, value in wanted.items():
        _, hard = resource.prlimit(pid, kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.prlimit(pid, kind, (most, most))


def _remove(path: Path) -> None:
    """Delete a directory with all that is in it, also what its owner has made unwritable."""
    try:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if path.exists():
                raise
        except PermissionError:
            _open_up(path)
            shutil.rmtree(path)
    except OSError as unable:
        raise ProvisionFailed(f"The workspace's files cannot be deleted: {unable}", "FILES") from unable


def _open_up(path: Path) -> None:
    """Make every directory below one's own again; links are not followed."""
    path.chmod(stat.S_IRWXU)
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            _open_up(Path(entry.path))
