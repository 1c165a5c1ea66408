"""How a child process is tied to its parent, so that no start ever leaves strangers behind."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process(Protocol):
    """A child of ours, as `subprocess` gives it."""

    pid: int

    def poll(self) -> int | None: ...

    def send_signal(self, sig: int, /) -> None: ...


class Adopted:
    """A child that another process forked and left to us (`adopt_orphans`)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, once it has ended (negative: the signal that ended it)."""
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self._code = 1
            else:
                self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def send_signal(self, sig: int, /) -> None:
        """Send it, unless the child has ended: its number may be another's by now."""
        if self.poll() is None:
            os.kill(self.pid, sig)


def adopt_orphans() -> bool:
    """Descendants whose parent ends become our children; False where the system does not do that."""
    return _LIBC is not None and _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def tie_to(parent: int, death_signal: signal.Signals = signal.SIGKILL) -> None:
    """End with `parent`, which is ours: by the kernel on Linux, else by looking."""
    if _LIBC is None:
        follow_parent(parent)
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:  # it died before the tie was made
        os._exit(1)


def call_it(role: str) -> None:
    """Let `ps -o comm` and `top` tell a forked process from its siblings, whose command line it shares."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_NAME, f"turnstone {role}".encode()[:15])


def leave_after(run: Callable[[], int | None]) -> NoReturn:
    """Run it and end the process with its exit code, without a finalizing interpreter.

    Temporal's native threads may abort one: a success would exit with 134.
    """
    code = 0
    try:
        code = run() or 0
    except SystemExit as leaving:
        if isinstance(leaving.code, int):
            code = leaving.code
        elif leaving.code is not None:
            print(leaving.code, file=sys.stderr)
            code = 1
    except BaseException:
        # The way of the interpreter for what nobody caught, since we leave before it could.
        sys.excepthook(*sys.exc_info())
        code = 1
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    death_signal: signal.Signals = signal.SIGKILL,
    user: tuple[int, int] | None = None,
    stdout: Path | None = None,
    stdin: str = "",
    pass_fds: Sequence[int] = (),
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
            pass_fds=pass_fds,
            start_new_session=True,  # a Ctrl-C of the terminal reaches the supervisor alone
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
            preexec_fn=_die_with(parent, death_signal),
        )


def _die_with(parent: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    return partial(tie_to, parent, death_signal)


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
        self._ours: set[int] = set()
        self._adopts = False
        self._expected = 0
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._wake)

    def _wake(self) -> None:
        passed, self._changed = self._changed, asyncio.Event()
        passed.set()
        self._bury_strangers()

    async def wait(self, process: Process) -> int:
        """The exit code, once the process has ended (negative: the signal that ended it)."""
        self._ours.add(process.pid)
        try:
            while True:
                changed = self._changed
                code = process.poll()
                if code is not None:
                    return code
                await changed.wait()
        finally:
            self._ours.discard(process.pid)

    def adopt(self) -> bool:
        """Adopt orphans from now on, and bury those that nobody knows; False where the system does not do that."""
        self._adopts = adopt_orphans()
        return self._adopts

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """Meanwhile a child may come to us that we do not know yet."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1

    def adopted(self, pid: int) -> Adopted:
        """A child that has come to us."""
        self._ours.add(pid)
        return Adopted(pid)

    def _bury_strangers(self) -> None:
        """Collect what was left to us by others and has ended: nobody waits for it."""
        if self._expected or not self._adopts:
            return
        with contextlib.suppress(OSError):
            mine = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            for pid in set(map(int, mine)) - self._ours:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
