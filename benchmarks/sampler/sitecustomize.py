"""Samples the main thread of a Python process that starts with this folder on its path; see benchmarks/profile.py."""

import collections
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

INTERVAL = 0.004  # of CPU time; the kernel's own tick is about as long
WRITE_EVERY = 1.0
DEEPEST = 100


class Sampler:
    """Counts where the main thread is, each time that the process has used some CPU.

    A signal handler sees the frames of its own thread; looking at them from another thread is not safe with greenlets.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._own: collections.Counter[str] = collections.Counter()
        self._total: collections.Counter[str] = collections.Counter()
        self._seen = self._elsewhere = 0
        self._used = time.thread_time()
        self._written = 0.0

    def take(self, _number: int, frame: FrameType | None) -> None:
        """Note the place, unless the CPU was used by other threads (Temporal's core has its own)."""
        used, before = time.thread_time(), self._used
        self._used = used
        now = time.monotonic()
        if frame is None or not (self._target.parent / "begin").exists():
            return
        self._seen += 1
        if used - before < INTERVAL / 2:
            self._elsewhere += 1
        else:
            self._note(frame)
        if now - self._written > WRITE_EVERY:
            self._written = now
            self._write()

    def _note(self, frame: FrameType) -> None:
        self._own[_place(frame)] += 1
        places = set()
        at: FrameType | None = frame
        for _ in range(DEEPEST):
            if at is None:
                break
            places.add(_place(at))
            at = at.f_back
        self._total.update(places)

    def _write(self) -> None:
        state = {"seen": self._seen, "elsewhere": self._elsewhere, "own": self._own, "total": self._total}
        fresh = self._target.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.rename(self._target)


def _place(frame: FrameType) -> str:
    code = frame.f_code
    parts = code.co_filename.replace("\\", "/").rpartition("site-packages/")[2].split("/")
    return f"{'/'.join(parts[-3:])}:{code.co_qualname}"


def begin(folder: str) -> None:
    """Sample this process from now on."""
    signal.signal(signal.SIGPROF, Sampler(Path(folder) / f"{os.getpid()}.json").take)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)


if (folder := os.environ.get("BENCH_SAMPLES")) and sys.argv[:1] == ["-m"]:
    begin(folder)
    if "nursery" in sys.orig_argv:  # what it forks goes on as it is; a timer is not inherited then, but by what is run
        os.register_at_fork(after_in_child=partial(begin, folder))
