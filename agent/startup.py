"""Runs the script of a build once a boot, tells its lines, and says how far the workspace has come."""

import asyncio
import logging
import shlex
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from agent.frames import Frame, Refused
from agent.ledger import Entry, write_whole
from agent.output import decode, whole_end
from agent.process import Process
from agent.processes import Command, Processes

log = logging.getLogger(__name__)

_LINE_CHARACTERS = 4000
_CHUNK = 8 * 1024  # what one frame tells
_MOST_BYTES = 2**20


class Startup:
    """The lifecycle as it stands, and the script that moves it on.

    The script is a command like any other, with an id made of agent and boot: so it runs once, and a restarted agent
    finds it again.
    """

    def __init__(
        self,
        processes: Processes,
        begin: Callable[[str, Frame], Awaitable[Entry]],
        state_folder: Path,
        boot_id: str,
        tell: Callable[[Frame], bool],
    ) -> None:
        self._processes = processes
        self._begin = begin
        self._folder = state_folder
        self._boot_id = boot_id
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self.state = "created"

    def welcomed(self, agent_id: str, script: str, timeout: float, directory: Path) -> None:
        """Tell the state again to a new listener, and begin the script if this is the first one."""
        if self._task is not None:
            self._tell({"type": "lifecycle", "state": self.state})
            return
        self._task = asyncio.create_task(self._run(agent_id, script, timeout, directory))
        self._task.add_done_callback(_report)

    def move(self, state: str) -> None:
        """Go on to a state, and tell it."""
        self.state = state
        self._tell({"type": "lifecycle", "state": state})

    async def _run(self, agent_id: str, script: str, timeout: float, directory: Path) -> None:
        if not script.strip():
            self.move("ready")
            return
        job = str(uuid.uuid5(uuid.NAMESPACE_OID, f"startup {agent_id} {self._boot_id}"))
        path = self._folder / "startup.sh"
        write_whole(path, script.encode())
        path.chmod(0o700)
        words = (
            f"exec {shlex.quote(str(path))}" if script.startswith("#!") else f"exec /bin/sh {shlex.quote(str(path))}"
        )
        begun = asyncio.ensure_future(self._begin(job, {"startup": script}))
        try:
            process = await self._processes.start(job, Command(words, directory, {}, background=True), begun)
        except (Refused, OSError) as error:
            self._log([f"The startup script could not be begun: {error}"], level="error")
            self.move("start_error")
            return
        if not process.done.is_set():  # an earlier agent may have seen its end
            self.move("starting")
        await self._follow(process, timeout)

    async def _follow(self, process: Process, timeout: float) -> None:
        offset = self._offset(process)
        pause = 0.02
        while True:
            ended = process.done.is_set()
            offset = self._lines(process, offset, last=ended)
            if ended and offset >= _size(process):
                break
            late = timeout > 0 and time.time() > process.info.started_at + timeout
            if late and self.state == "starting":
                self._log([f"The startup script has taken more than {timeout:g} seconds; it goes on."], level="warn")
                self.move("start_timeout")
            if ended:  # nobody hears the last lines
                await asyncio.sleep(0.5)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await process.done.wait()
            pause = min(pause * 2, 0.5)
        code = process.look().code
        if code == 0:
            self.move("ready")
        else:
            how = "ended in a way that nobody knows" if code is None else f"ended with exit code {code}"
            self._log([f"The startup script {how}."], level="error")
            self.move("start_error")

    def _lines(self, process: Process, offset: int, *, last: bool) -> int:
        """Tell whole lines from an offset on; where the next begins. What nobody hears is told again later."""
        while offset < (size := _size(process)):
            if offset >= _MOST_BYTES:
                self._log(["[… the rest is left out …]"])
                return size
            with (process.folder / "output").open("rb") as file:
                file.seek(offset)
                raw = file.read(_CHUNK)
            if len(raw) == _CHUNK:
                raw = whole_end(raw)
            elif not last:
                raw = raw[: raw.rfind(b"\n") + 1]
            lines = decode(raw).removesuffix("\n").split("\n") if raw else []
            if not lines or not self._log(lines):
                break
            offset += len(raw)
            write_whole(self._folder / "startup.offset", f"{process.job} {offset}".encode())
        return offset

    def _offset(self, process: Process) -> int:
        """How far an earlier agent has told the output of this script."""
        try:
            job, offset = (self._folder / "startup.offset").read_text().split()
        except (OSError, ValueError):
            return 0
        return int(offset) if job == process.job else 0

    def _log(self, lines: list[str], *, level: str = "info") -> bool:
        at = datetime.now(UTC).isoformat()
        told = [
            {"at": at, "level": level, "source": "startup_script", "output": line[:_LINE_CHARACTERS]} for line in lines
        ]
        return self._tell({"type": "log", "lines": told})


def _size(process: Process) -> int:
    try:
        return (process.folder / "output").stat().st_size
    except OSError:
        return 0


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("startup: %r", error)
