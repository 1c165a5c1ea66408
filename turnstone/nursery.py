"""The process of a stack that loads everything once and bears the others, so that they share its memory."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from turnstone import preload
from turnstone.processes import Adopted, Exits, Process, call_it, tie_to

LARGEST = 65536  # bytes of a message; a request is a few paths and variables


class Nursery:
    """How a supervisor has its processes born: it asks over a socket, and adopts what is born.

    Both ends of the socket are the supervisor's, so that it outlives the process that listens.
    """

    def __init__(self, exits: Exits) -> None:
        self._exits = exits
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._births: dict[int, asyncio.Future[int | None]] = {}
        self._last = 0
        asyncio.get_running_loop().add_reader(self._ours, self._hear)

    @property
    def channel(self) -> int:
        """The descriptor that the process which bears is to inherit."""
        return self._theirs.fileno()

    async def bear(self, role: str, *, own: Mapping[str, object], log: Path, ready: Path) -> Process:
        """A new process of this role, whose settings differ from its siblings' in `own`."""
        while True:
            self._last += 1
            birth = self._last
            asked = {"birth": birth, "role": role, "own": dict(own), "log": str(log), "ready": str(ready)}
            told = self._births[birth] = asyncio.get_running_loop().create_future()
            try:
                with self._exits.expecting():
                    self._ours.send(json.dumps(asked).encode())
                    if (pid := await told) is not None:
                        return self._exits.adopted(pid)
            finally:
                del self._births[birth]

    async def renew(self) -> None:
        """Another process is going to listen: what the last one was asked and did not do is asked again."""
        self._hear()
        with contextlib.suppress(BlockingIOError):
            while True:
                self._theirs.recv(LARGEST, socket.MSG_DONTWAIT)
        for told in self._births.values():
            if not told.done():
                told.set_result(None)

    def close(self) -> None:
        """Ask for nothing more."""
        asyncio.get_running_loop().remove_reader(self._ours)
        self._ours.close()
        self._theirs.close()

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                birth, pid = map(int, self._ours.recv(LARGEST).split())
                told = self._births.get(birth)
                if told is None or told.done():  # nobody waits for it, or another was asked for in its place
                    Adopted(pid).send_signal(signal.SIGKILL)
                else:
                    told.set_result(pid)


def bear_for(supervisor: int, channel: socket.socket) -> None:
    """Load everything, then fork whatever is asked for until nobody is left to ask."""
    preload.load("api")
    preload.load("worker")
    preload.settle()
    while request := channel.recv(LARGEST):
        asked = json.loads(request)
        # Before the first birth, also of an API: what is loaded later is written into pages that are shared by then.
        if not preload.has_providers():
            preload.load_providers()
            preload.settle()
        # Its parent's end is what makes it the supervisor's.
        os.waitpid(preload.fork(partial(_leave_behind, supervisor, channel, asked)), 0)


def _leave_behind(supervisor: int, channel: socket.socket, asked: Mapping[str, Any]) -> None:
    parent = os.getpid()
    if os.fork() == 0:
        _live(parent, supervisor, channel, asked)


def _live(parent: int, supervisor: int, channel: socket.socket, asked: Mapping[str, Any]) -> NoReturn:
    while os.getppid() == parent:
        time.sleep(0.0005)
    tie_to(supervisor)
    # Told by itself: however the process that bore us ends, the supervisor knows of us or asks for another.
    channel.send(b"%d %d" % (asked["birth"], os.getpid()))
    channel.close()
    os.setsid()  # a Ctrl-C of the terminal reaches the supervisor alone
    sys.stdout.flush()
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    call_it(asked["role"])
    preload.become(asked["role"], asked["ready"], **asked["own"])
