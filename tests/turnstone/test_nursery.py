"""What was asked of the nursery is born once, whatever happens to the process that bears."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.turnstone.test_supervisor import FOREVER, gone
from turnstone.nursery import Nursery
from turnstone.processes import Exits, command_line

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody adopts orphans")


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    made = Nursery(Exits())
    yield made
    made.close()


@pytest.fixture
def listener(nursery: Nursery) -> Iterator[socket.socket]:
    """The other end, which the test plays."""
    with socket.socket(fileno=os.dup(nursery.channel)) as made:
        made.settimeout(10)
        yield made


@pytest.fixture
def newborns() -> Iterator["list[subprocess.Popen[bytes]]"]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.kill()
        process.wait()


def born(newborns: "list[subprocess.Popen[bytes]]") -> int:
    newborns.append(subprocess.Popen([sys.executable, "-c", FOREVER]))
    return newborns[-1].pid


async def asked(listener: socket.socket) -> int:
    """The number of the birth that is asked for."""
    request = json.loads(await asyncio.to_thread(listener.recv, 65536))
    number: int = request.pop("birth")
    assert request == {"role": "api", "own": {"port": 1}, "log": "log", "ready": "ready"}
    return number


def bear(nursery: Nursery) -> "asyncio.Task[int]":
    async def one() -> int:
        return (await nursery.bear("api", own={"port": 1}, log=Path("log"), ready=Path("ready"))).pid

    return asyncio.create_task(one())


async def test_who_is_asked_for_is_who_was_born(
    nursery: Nursery, listener: socket.socket, newborns: "list[subprocess.Popen[bytes]]"
) -> None:
    first, second = bear(nursery), bear(nursery)
    births = [await asked(listener), await asked(listener)]
    pids = [born(newborns), born(newborns)]
    for birth, pid in reversed(list(zip(births, pids, strict=True))):
        listener.send(b"%d %d" % (birth, pid))
    assert [await first, await second] == pids


async def test_a_birth_that_the_process_took_to_its_grave_is_asked_of_the_next_and_a_late_one_is_ended(
    nursery: Nursery, listener: socket.socket, newborns: "list[subprocess.Popen[bytes]]"
) -> None:
    task = bear(nursery)
    lost = await asked(listener)
    await nursery.renew()
    again = await asked(listener)
    late, right = born(newborns), born(newborns)
    listener.send(b"%d %d" % (lost, late))
    listener.send(b"%d %d" % (again, right))
    assert await task == right
    await asyncio.wait_for(gone(late), 60)
    assert command_line(right)


async def test_a_request_that_nobody_has_read_is_not_left_for_the_next_process_as_well(
    nursery: Nursery, listener: socket.socket, newborns: "list[subprocess.Popen[bytes]]"
) -> None:
    task = bear(nursery)
    await asyncio.sleep(0)
    await nursery.renew()
    birth = await asked(listener)
    listener.send(b"%d %d" % (birth, pid := born(newborns)))
    assert await task == pid
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(65536)


async def test_a_birth_that_is_no_longer_wanted_is_ended(
    nursery: Nursery, listener: socket.socket, newborns: "list[subprocess.Popen[bytes]]"
) -> None:
    task = bear(nursery)
    birth = await asked(listener)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    listener.send(b"%d %d" % (birth, pid := born(newborns)))
    await asyncio.wait_for(gone(pid), 60)
