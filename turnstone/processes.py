"""How a child process is tied to its parent, so that no start ever leaves strangers behind."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    death_signal: signal.Signals = signal.SIGKILL,
    user: tuple[int, int] | None = None,
    stdout: Path | None = None,
    stdin: str = "",
) -> subprocess.Popen[bytes]:
    """Start a child that the kernel ends (Linux: by `death_signal`) when this process dies, however it dies.

    The kernel watches the *thread* that forked: call it from the main thread only.
    """
    parent = os.getpid()
    given, give = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, given)
        os.write(give, stdin.encode())  # a line or two: it fits the pipe
        os.close(give)
        errors = stack.enter_context(log.open("ab"))
        output = stack.enter_context(stdout.open("wb")) if stdout else errors
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=given,
            stdout=output,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C of the terminal reaches the supervisor alone
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
            preexec_fn=_die_with(parent, death_signal),
        )


def _die_with(parent: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # it died before the tie was made
            os._exit(1)

    return tie


def follow_parent(parent: int) -> None:
    """End this process soon after `parent` is gone, where the kernel does not do it (macOS)."""
    if parent == 0 or _LIBC is not None:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()


def command_line(pid: int) -> str:
    """What process `pid` was started as; empty when it is gone (or a zombie)."""
    entry = Path("/proc") / str(pid) / "cmdline"
    if Path("/proc/self").exists():
        try:
            return entry.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


async def end_orphan(pid: int, marker: str, first: signal.Signals, patience: float = 5.0) -> bool:
    """End a process of an earlier run, known by `marker` in its command line, and wait until it is gone."""
    if marker not in command_line(pid):
        return False
    for number in (first, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if marker not in command_line(pid):
                return True
            await asyncio.sleep(0.02)
    return True


class Exits:
    """Wakes whoever waits for a child when one ends; costs nothing while none does."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._wake)

    def _wake(self) -> None:
        passed, self._changed = self._changed, asyncio.Event()
        passed.set()

    async def wait(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code, once the process has ended (negative: the signal that ended it)."""
        while True:
            changed = self._changed
            code = process.poll()
            if code is not None:
                return code
            await changed.wait()


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
