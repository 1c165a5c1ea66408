"""Processes of ours that begin in milliseconds: forked by one that has loaded what they need, as `turnstone dev` does.

`spawn("turnstone", "worker", env=…)` is `python -m turnstone worker`, and gives what asyncio gives for a process: a
test decides its words, environment, place and descriptors, and kills it. That the commands also begin on their own is
shown where beginning is what a test is about (`test_worker_processes`, `test_dev`, `test_wheel`).

There is one forge for all workers of a run. It begins when the first of them needs it, and ends with the last.
"""

import asyncio
import contextlib
import fcntl
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from turnstone import preload

ROOT = Path(__file__).parents[1]
LARGEST = 1 << 20  # bytes of a request
READY = b"."
NUMBER = struct.Struct("!i")  # a process id, then an exit code
LOADED = ("turnstone.__main__", "tests.fakes.mcp_server", "tests.activities.doomed")


class Forged:
    """A process, as `asyncio.create_subprocess_exec` gives it: killed, waited for, judged by its exit code."""

    def __init__(self, forge: socket.socket, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forge = forge
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.add_reader(forge, self._hear)

    def _hear(self) -> None:
        self._loop.remove_reader(self._forge)
        self.returncode = _number(self._forge)
        self._forge.close()
        self._ended.set_result(self.returncode)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and we shall hear of it
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        code: int = await asyncio.shield(self._ended)
        return code


async def spawn(
    module: str,
    *words: str,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
) -> Forged:
    """`python -m module words`; its outputs are ours unless said."""
    await asyncio.to_thread(_lease)
    asked = {"module": module, "words": words, "env": dict(env), "cwd": str(cwd)}
    with open(os.devnull, "rb") as nothing:
        given = [nothing, 1 if stdout is None else stdout, 2 if stderr is None else stderr]
        forge = await asyncio.to_thread(
            _ask, asked, [each if isinstance(each, int) else each.fileno() for each in given]
        )
    return Forged(forge, _number(forge))


def _ask(asked: object, descriptors: list[int]) -> socket.socket:
    """A connection that has asked for this and is about to be answered."""
    forge = socket.socket(socket.AF_UNIX)
    forge.connect(str(_place()))
    socket.send_fds(forge, [json.dumps(asked).encode() + b"\n"], descriptors)
    assert forge.recv(1) == READY
    return forge


def _number(forge: socket.socket) -> int:
    number: int
    [number] = NUMBER.unpack(forge.recv(NUMBER.size, socket.MSG_WAITALL))
    return number


@functools.cache
def _lease() -> int:
    """Have the forge live as long as this process; it has begun and loaded everything when this returns."""
    place = _place()
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while True:
            held = socket.socket(socket.AF_UNIX)
            try:
                held.connect(str(place))
                if held.recv(1) == READY:
                    return held.detach()
            except OSError:  # there is none, or the last who held it has just left
                subprocess.run([sys.executable, "-m", "tests.forge", str(place)], cwd=ROOT, check=True)
            held.close()


def _place() -> Path:
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return Path(tempfile.gettempdir(), f"forge-{run[:12]}")


class Forge:
    """Serves its connections: one that asks gets a process, which ends with it; without any left, the forge ends."""

    def __init__(self, place: Path) -> None:
        self._place = place
        place.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen(64)
        self._connections: dict[socket.socket, int] = {}  # and the process that each asked for, or 0

    def serve(self) -> NoReturn:
        _load()
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._welcome()
        while self._connections:
            watched: list[socket.socket | int] = [self._listener, woken, *self._connections]
            ready, _, _ = select.select(watched, [], [])
            if woken in ready:
                os.read(woken, 4096)
                self._bury()
            if self._listener in ready:
                self._welcome()
            for connection in [each for each in self._connections if each in ready]:
                self._hear(connection)
        self._place.unlink()
        os._exit(0)

    def _welcome(self) -> None:
        connection, _ = self._listener.accept()
        self._connections[connection] = 0
        with contextlib.suppress(OSError):
            connection.send(READY)

    def _hear(self, connection: socket.socket) -> None:
        asked, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 3)
        while asked and not asked.endswith(b"\n"):
            asked += connection.recv(LARGEST)
        if asked:
            pid = preload.fork(lambda: self._live(json.loads(asked), descriptors))
            self._connections[connection] = pid
            connection.send(NUMBER.pack(pid))
            for each in descriptors:
                os.close(each)
        else:  # who asked is gone
            if pid := self._connections.pop(connection):
                os.kill(pid, signal.SIGKILL)
            connection.close()

    def _bury(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for connection in [each for each, child in self._connections.items() if child == pid]:
                connection.send(NUMBER.pack(os.waitstatus_to_exitcode(status)))
                del self._connections[connection]
                connection.close()

    def _live(self, asked: dict[str, Any], descriptors: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for mine in (self._listener, *self._connections):
            mine.close()
        for number, given in enumerate(descriptors):
            os.dup2(given, number)
            os.close(given)
        os.chdir(asked["cwd"])
        sys.path[0] = asked["cwd"]
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv = [asked["module"], *asked["words"]]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _load() -> None:
    """All that the processes of tests import, but what they run."""
    preload.load("api")
    preload.load("worker")
    with preload.loading():
        from activities.providers.litellm import warm_up

        warm_up("openai-compat")
        for name in LOADED:
            importlib.import_module(name)
            del sys.modules[name]  # each process runs it anew, with what it imports at hand
    preload.settle()


if __name__ == "__main__":
    forge = Forge(Path(sys.argv[1]))
    if os.fork():
        os._exit(0)  # who began it goes on
    os.setsid()  # a Ctrl-C reaches those who hold it, and it ends with them
    forge.serve()
