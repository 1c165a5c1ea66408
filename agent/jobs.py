"""Does the jobs that the API sends: which kind is done how, and each effect at most once."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agent import instructions, reading, skills
from agent.connection import Connection
from agent.desktop import Desktop
from agent.edits import Edit
from agent.frames import Frame, Refused, flag, record, records, strings, text, whole
from agent.git import Git
from agent.journal import Journal
from agent.ledger import Entry, Ledger, usable
from agent.output import Tail
from agent.paths import located, resolved
from agent.process import Process
from agent.processes import Command, Processes
from agent.recordings import Recordings
from agent.upload import hand_over, upload
from agent.viewers import Viewers
from agent.writing import Writer

log = logging.getLogger(__name__)

EFFECTS = {
    *("exec", "signal", "upload", "write_file", "edit_files"),
    *("desktop", "record_start", "record_stop"),
}  # what must not happen twice is written down first
_OUTPUT_BYTES = 32 * 1024
_LONGEST_WAIT_MS = 24 * 3600 * 1000
_SIGNALS = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL}
_UPLOAD_PATIENCE = 60.0


@dataclass
class Place:
    """Where the workspace is; the directory is settled by the first welcome."""

    url: str
    token: str
    home: Path
    directory: Path

    def path(self, request: Frame, name: str = "path") -> Path:
        """The absolute path that a request means."""
        return located(text(request, name), self.directory, self.home)


@dataclass(frozen=True)
class Job:
    """A job on its way; `begun` is its entry in the ledger, once that is written (never, for what has no effect)."""

    id: str
    kind: str
    request: Frame
    begun: "asyncio.Future[Entry] | None"
    canceled: asyncio.Event

    async def entry(self) -> Entry:
        """The entry, once it is written."""
        assert self.begun is not None
        return await asyncio.shield(self.begun)


class Jobs:
    """Takes jobs, does them side by side, and owes their outcomes."""

    def __init__(
        self,
        place: Place,
        ledger: Ledger,
        journal: Journal,
        processes: Processes,
        git: Git,
        desktop: Desktop,
        recordings: Recordings,
        viewers: Viewers,
        connection: Connection,
    ) -> None:
        self._place = place
        self._boot_id = ledger.boot_id
        self._ledger = ledger
        self._journal = journal
        self._writer = Writer(journal)
        self._processes = processes
        self._git = git
        self._desktop = desktop
        self._recordings = recordings
        self._viewers = viewers
        self._connection = connection
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}
        self._kinds: dict[str, Callable[[Job], Awaitable[Frame]]] = {
            "exec": self._exec,
            "output": self._output,
            "processes": self._list,
            "signal": self._signal,
            "read_file": self._read,
            "write_file": self._write,
            "edit_files": self._edit,
            "upload": self._upload,
            "home": self._home,
            "resolve": self._resolve,
            "context": self._context,
            "skill": self._skill,
            "git": self._scan,
            "desktop": self._use_desktop,
            "view": self._view,
            "record_start": self._record,
            "record_stop": self._keep,
        }

    def accept(self, frame: Frame) -> None:
        """Take a job; one that is known is not begun again, and one that has ended is answered again."""
        job, kind = frame.get("job"), frame.get("kind")
        if not isinstance(job, str) or not isinstance(kind, str) or not usable(job):
            log.warning("a job without id or kind is ignored")
        elif job in self._running:
            self._connection.hint({"type": "ack", "job": job})
        elif not self._connection.owed(job):
            known = self._ledger.outcome(job) if kind in EFFECTS else None
            if known is not None:
                self._connection.owe(job, known)
                return
            begun = None
            try:
                request = record(frame, "request")
            except Refused as refused:
                self._connection.owe(job, refused.outcome())
                return
            if kind in EFFECTS:
                begin = asyncio.to_thread(self._ledger.begin, job, kind, request)
                begun = asyncio.ensure_future(begin)
            taken = Job(job, kind, request, begun, asyncio.Event())
            self._running[job] = taken, asyncio.create_task(self._perform(taken))

    def cancel(self, job: str) -> None:
        """Nobody waits for a job any more."""
        running = self._running.get(job)
        if running is not None:
            running[0].canceled.set()
        if (running is None or running[0].kind == "exec") and self._ledger.outcome(job) is None:
            self._processes.cancel(job)

    def stored(self, job: str) -> None:
        """The API has the outcome of a job."""
        self._connection.stored(job)
        self._ledger.stored(job)
        self._journal.forget(job)

    async def _perform(self, job: Job) -> None:
        saved = False
        try:
            try:
                if job.begun is None:
                    self._connection.hint({"type": "ack", "job": job.id})
                else:
                    job.begun.add_done_callback(lambda _: self._connection.hint({"type": "ack", "job": job.id}))
                perform = self._kinds.get(job.kind)
                if perform is None:
                    raise Refused("unsupported", f"this agent does not know the job {job.kind!r}")
                outcome: Frame = {"result": await perform(job)}
            finally:
                if job.begun is not None:
                    await job.entry()
                    saved = True
        except Refused as refused:
            outcome = refused.outcome()
        except Exception as error:
            log.exception("%s %s", job.kind, job.id)
            outcome = Refused("internal", f"the agent failed: {error}").outcome()
        finally:
            self._running.pop(job.id, None)
        if saved:
            try:
                self._ledger.finish(job.id, outcome)
            except OSError:  # a full disk: told now, but unknown to the next agent
                log.exception("the outcome of %s could not be kept", job.id)
        self._connection.owe(job.id, outcome)

    async def _exec(self, job: Job) -> Frame:
        request = job.request
        wait = whole(request, "wait_ms", 10_000, high=_LONGEST_WAIT_MS) / 1000
        limit = whole(request, "output_limit", _OUTPUT_BYTES, low=256, high=2**20)
        directory = self._place.directory
        if request.get("directory"):
            directory = self._place.path(request, "directory")
        command = Command(
            text(request, "command"),
            directory,
            strings(request, "environment"),
            flag(request, "background"),
            flag(request, "read_only"),
        )
        process = await self._processes.start(job.id, command, job.entry())
        await self._attend(job, process, process.info.started_at + wait)
        return process.snapshot(limit)

    async def _output(self, job: Job) -> Frame:
        process = self._processes.get(text(job.request, "process_id"))
        limit = whole(job.request, "output_limit", _OUTPUT_BYTES, low=256, high=2**20)
        wait = whole(job.request, "wait_ms", 10_000, high=_LONGEST_WAIT_MS) / 1000
        if wait:
            await self._attend(job, process, time.time() + wait)
        return process.snapshot(limit)

    async def _attend(self, job: Job, process: Process, until: float) -> None:
        """Wait for a command to end, and tell what it writes meanwhile."""
        tail = Tail(process.folder / "output")
        pause = 0.005
        while (left := until - time.time()) > 0 and not process.done.is_set():
            try:
                async with asyncio.timeout(min(pause, left)):
                    await process.done.wait()
            except TimeoutError:
                pass
            else:
                return
            if job.canceled.is_set() and job.kind == "output":
                return
            if (piece := tail.piece()) is not None:
                offset, said = piece
                self._connection.hint({"type": "output", "job": job.id, "stream_offset": offset, "text": said})
                pause = 0.1
            pause = min(pause * 2, 0.1)

    async def _list(self, job: Job) -> Frame:
        return {"processes": self._processes.lines()}

    async def _signal(self, job: Job) -> Frame:
        number = _SIGNALS.get(text(job.request, "signal"))
        if number is None:
            raise Refused("invalid", "signal must be terminate or kill")
        process = text(job.request, "process_id")
        if not (await job.entry()).fresh:
            raise Refused("lost", "the agent was restarted: nobody knows whether the signal was sent")
        why = await self._processes.signal(process, number)
        said = why or f"sent {number.name} to {process} and all that it has started"
        return {"success": why is None, "message": said}

    async def _read(self, job: Job) -> Frame:
        request = job.request
        path = self._place.path(request)
        offset = whole(request, "offset", 1, low=1)
        limit = whole(request, "limit", 2000, low=1, high=100_000)
        most = whole(request, "max_bytes", _OUTPUT_BYTES, low=1, high=2**20)
        return await asyncio.to_thread(reading.read, path, offset, limit, most)

    async def _write(self, job: Job) -> Frame:
        await self._undecided(job)
        content = text(job.request, "content", "")
        strictly = flag(job.request, "must_resolve_to_itself")
        return await self._writer.write(job.id, self._place.path(job.request), content, strictly=strictly)

    async def _undecided(self, job: Job) -> None:
        """Go on with a change of files unless it may have been made: the journal answers for what an agent left."""
        entry = await job.entry()
        if not entry.fresh and entry.boot_id != self._boot_id:
            raise Refused("lost", "the host stopped meanwhile: read the file again to see whether it was changed")

    async def _edit(self, job: Job) -> Frame:
        await self._undecided(job)
        files = [
            (
                self._place.path(file),
                [
                    Edit(text(edit, "search", ""), text(edit, "replace", ""), flag(edit, "replace_all"))
                    for edit in records(file, "edits")
                ],
            )
            for file in records(job.request, "files")
        ]
        return await self._writer.edit(job.id, files, strictly=flag(job.request, "must_resolve_to_itself"))

    async def _upload(self, job: Job) -> Frame:
        await job.entry()
        path, name = self._place.path(job.request), text(job.request, "name", "")
        most = whole(job.request, "max_bytes", 10 * 2**20, low=1, high=100 * 2**20)
        return await _insist(job, lambda: upload(self._place.url, self._place.token, job.id, path, name, most))

    async def _home(self, job: Job) -> Frame:
        return {"home": str(self._place.home)}

    async def _resolve(self, job: Job) -> Frame:
        return resolved(self._place.path(job.request))

    async def _context(self, job: Job) -> Frame:
        most = whole(job.request, "max_bytes_file", instructions.FILE_BYTES, high=2**20)
        total = whole(job.request, "max_bytes", instructions.TOTAL_BYTES, high=8 * 2**20)
        return await asyncio.to_thread(instructions.context, self._place.directory, self._place.home, most, total)

    async def _skill(self, job: Job) -> Frame:
        name, path = text(job.request, "name"), text(job.request, "path", "")
        return await asyncio.to_thread(skills.read, name, path, self._place.directory, self._place.home)

    async def _scan(self, job: Job) -> Frame:
        return await self._git.everything()

    async def _use_desktop(self, job: Job) -> Frame:
        if not (await job.entry()).fresh:
            raise Refused("lost", "the agent was restarted: nobody knows what was done; nothing is pressed any more")
        return await self._desktop.use(job.request, job.canceled)

    async def _view(self, job: Job) -> Frame:
        return await self._viewers.view(text(job.request, "session"), job.canceled)

    async def _record(self, job: Job) -> Frame:
        if not (await job.entry()).fresh:
            raise Refused("lost", "the agent was restarted, and the recording ended with it")
        return await self._recordings.start(job.id)

    async def _keep(self, job: Job) -> Frame:
        await job.entry()
        recording = await self._recordings.stop(text(job.request, "recording"))
        name = text(job.request, "name", "") or "recording"
        place = self._place
        if not flag(job.request, "store"):
            return recording.told(lambda *_: None, name)
        return await _insist(
            job,
            lambda: recording.told(
                lambda content, called, part: hand_over(place.url, place.token, job.id, content, called, part), name
            ),
        )


async def _insist(job: Job, deliver: Callable[[], Frame]) -> Frame:
    """Try again for a while when the API cannot be reached; the same file brought twice is one."""
    end = time.monotonic() + _UPLOAD_PATIENCE
    while True:
        try:
            return await asyncio.to_thread(deliver)
        except OSError as error:
            if time.monotonic() > end or job.canceled.is_set():
                raise Refused("internal", f"the file could not be handed to the API: {error}") from error
            await asyncio.sleep(0.5)
