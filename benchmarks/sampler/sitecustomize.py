"""Samples the main thread of a Python process that starts with this folder on its path; see benchmarks/profile.py."""

import collections
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

INTERVAL = 0.002
WRITE_EVERY = 1.0
DEEPEST = 80
IDLE = frozenset({"select", "poll", "run_forever", "run", "run_until_complete"})


def _place(frame: FrameType) -> str:
    code = frame.f_code
    parts = code.co_filename.replace("\\", "/").rpartition("site-packages/")[2].split("/")
    return f"{'/'.join(parts[-3:])}:{code.co_qualname}"


def _sample(target: Path) -> None:
    own: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    main, seen, idle = threading.main_thread().ident, 0, 0
    assert main is not None
    while not (target.parent / "begin").exists():
        time.sleep(0.05)
    sys.setswitchinterval(0.0005)
    written = time.monotonic()
    while True:
        time.sleep(INTERVAL)
        frame: FrameType | None = sys._current_frames().get(main)  # noqa: SLF001 - there is no public way
        if frame is None:
            return
        seen += 1
        if frame.f_code.co_name in IDLE:
            idle += 1
        else:
            own[_place(frame)] += 1
            places = set()
            for _ in range(DEEPEST):
                if frame is None:
                    break
                places.add(_place(frame))
                frame = frame.f_back
            total.update(places)
        if time.monotonic() - written > WRITE_EVERY:
            written = time.monotonic()
            state = {"argv": sys.argv, "seen": seen, "idle": idle, "own": own, "total": total}
            target.with_suffix(".new").write_text(json.dumps(state))
            target.with_suffix(".new").rename(target)


if folder := os.environ.get("BENCH_SAMPLES"):
    arguments = (Path(folder) / f"{os.getpid()}.json",)
    threading.Thread(target=_sample, args=arguments, daemon=True, name="sampler").start()
