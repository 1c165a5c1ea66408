"""`turnstone worker --processes N`: one process loads everything once, forks N workers and keeps them."""

import logging
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from models.settings import Settings
from turnstone import preload
from turnstone.processes import call_it, describe_exit
from turnstone.supervisor import FIRST_DELAY, LONG_LIFE, LONGEST_DELAY

log = logging.getLogger(__name__)

DATABASE_PATIENCE = 60.0  # seconds, as a worker's
AFTER_GRACE = 5.0  # seconds beyond the workers' own until they are killed
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass
class Place:
    """Where one worker is after another."""

    index: int
    pid: int = 0
    told: int = -1  # reads what the worker says once it is ready
    is_ready: bool = False
    born: float = 0.0
    begins: float = 0.0
    delay: float = FIRST_DELAY


class Workers:
    """Forked worker processes: kept, told to stop together, and judged by their exit codes.

    The process that keeps them has no thread, no event loop and no connection, so that it may fork at any time.
    """

    def __init__(self, settings: Settings, count: int, ready: Path | None) -> None:
        self._settings = settings
        self._ready = ready
        self._places = [Place(index) for index in range(count)]
        self._have_been_ready = False
        self._deadline: float | None = None
        self._code = 0
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    def keep(self) -> int:
        """Keep them until told to stop, or until they cannot begin; the exit code that says how it went."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            for place in self._places:
                if place.pid == 0 and self._deadline is None and place.begins <= time.monotonic():
                    self._bear(place)
            told = self._wait()
            for place in self._places:
                if place.told in told and os.read(place.told, 64):
                    place.is_ready = True
                    self._announce()
                self._bury(place)
            if self._deadline is not None:
                if not any(place.pid for place in self._places):
                    return self._code
                if time.monotonic() > self._deadline:
                    self._send(signal.SIGKILL)

    def _bear(self, place: Place) -> None:
        place.told, tell = os.pipe()
        place.born = time.monotonic()
        # A signal between the fork and what follows it would reach the wrong one of us.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        place.pid = preload.fork(lambda: self._work(place.index, tell))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        os.close(tell)

    def _work(self, index: int, tell: int) -> None:
        os.setsid()  # a Ctrl-C of the terminal reaches us by the one who keeps us, once
        signal.set_wakeup_fd(-1)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        call_it(f"worker {index}")
        port = self._settings.metrics_port
        preload.become("worker", f"/dev/fd/{tell}", metrics_port=port + index if port else port)

    def _wait(self) -> list[int]:
        """Sleep until a signal, a word of a new worker, or the next thing to do."""
        moments = [place.begins for place in self._places if place.pid == 0 and self._deadline is None]
        moments += [] if self._deadline is None else [self._deadline]
        timeout = max(min(moments) - time.monotonic(), 0) + 0.001 if moments else None
        new = [place.told for place in self._places if place.told >= 0 and not place.is_ready]
        told, _, _ = select.select([self._woken, *new], [], [], timeout)
        if self._woken in told:
            os.read(self._woken, 4096)
        return told

    def _bury(self, place: Place) -> None:
        if not place.pid:
            return
        pid, status = os.waitpid(place.pid, os.WNOHANG)
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        os.close(place.told)
        if time.monotonic() - place.born >= LONG_LIFE:
            place.delay = FIRST_DELAY
        place.pid, place.told, place.is_ready = 0, -1, False
        place.begins = time.monotonic() + place.delay
        self._announce()
        if self._deadline is not None:
            if code not in (0, *(-number for number in STOP_SIGNALS)):
                self._code = self._code or (code if code > 0 else 128 - code)
        elif code > 0 and not self._have_been_ready:
            log.error("worker %d could not begin (%s)", place.index, describe_exit(code))
            self._code = code
            self._stop(signal.SIGTERM)
        else:
            said = "worker %d ended (%s); another begins in %.1f s"
            log.warning(said, place.index, describe_exit(code), place.delay)
            place.delay = min(place.delay * 2, LONGEST_DELAY)

    def _announce(self) -> None:
        """The file is there while every worker polls."""
        ready = all(place.is_ready for place in self._places)
        self._have_been_ready = self._have_been_ready or ready
        if self._ready is not None:
            if ready:
                self._ready.write_text("ready\n")
            else:
                self._ready.unlink(missing_ok=True)

    def _stop(self, number: int, _frame: object = None) -> None:
        self._deadline = self._deadline or (
            time.monotonic() + self._settings.shutdown_grace.total_seconds() + AFTER_GRACE
        )
        self._send(number)

    def _send(self, number: int) -> None:
        for place in self._places:
            if place.pid:
                os.kill(place.pid, number)


def keep_workers(settings: Settings, count: int, ready: Path | None) -> int:
    """Fork so many workers and keep them until told to stop; the exit code."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))  # nothing has begun
    preload.load("worker")
    preload.load_providers(DATABASE_PATIENCE)
    preload.settle()
    return Workers(settings, count, ready).keep()
