"""Children are kept alive, told apart from the dead, and never outlive their supervisor."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.turnstone.conftest import Told
from turnstone.data_dir import DataDir
from turnstone.processes import command_line
from turnstone.supervisor import Child, Command, Supervisor, end_orphans

FOREVER = "import time\nwhile True: time.sleep(60)"


def command(place: DataDir, script: str, *arguments: str, name: str = "child", grace: float = 10.0) -> Command:
    said = place.ready_file(name)

    async def ready(_: int) -> bool:
        return said.exists()

    async def forget() -> None:
        said.unlink(missing_ok=True)

    code = f"import pathlib; pathlib.Path({str(said)!r}).touch()\n{script}"
    return Command(
        role="child",
        name=name,
        argv=[sys.executable, "-c", code, *arguments],
        env=dict(os.environ),
        log=place.log(name),
        pid_file=place.pid_file(name),
        prepare=forget,
        ready=ready,
        grace=grace,
    )


async def gone(pid: int) -> None:
    while command_line(pid):
        await asyncio.sleep(0.01)


async def another_pid(child: Child, old: int | None) -> int:
    while child.pid in (None, old):
        await asyncio.sleep(0.01)
    assert child.pid is not None
    return child.pid


async def test_a_killed_child_comes_back_and_is_ready_again(place: DataDir, supervisor: Supervisor, told: Told) -> None:
    child = supervisor.keep(command(place, FOREVER))
    await supervisor.ready()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await another_pid(child, first)
    await supervisor.ready()
    assert told == ["child ended (killed by SIGKILL); restarting in 0.1 s"]
    assert supervisor.pids("child") == [child.pid]


async def test_a_child_that_keeps_failing_is_restarted_later_and_later(
    place: DataDir, supervisor: Supervisor, told: Told
) -> None:
    supervisor.keep(command(place, "import sys; sys.exit('no database')"))
    while sum("restarting" in line for line in told) < 3:
        await asyncio.sleep(0.01)
    assert [line.rpartition(" in ")[2] for line in told if "restarting" in line][:3] == ["0.1 s", "0.2 s", "0.4 s"]
    assert "no database" in told[1]


async def test_a_stubborn_child_is_ended_when_patience_is_over(
    place: DataDir, supervisor: Supervisor, told: Told
) -> None:
    child = supervisor.keep(
        command(place, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}", grace=0.2)
    )
    await supervisor.ready()
    await asyncio.sleep(0.1)  # the handler is set after the file is made
    pid = child.pid
    assert pid is not None
    await supervisor.stop((("child",),))
    assert not command_line(pid)
    assert "ending it" in told[-1]


async def test_ranks_are_stopped_one_after_the_other(place: DataDir, supervisor: Supervisor) -> None:
    order = place.root / "order"
    leaving = textwrap.dedent(f"""
        import signal, sys, time
        def leave(*_):
            with open({str(order)!r}, "a") as file: file.write(sys.argv[1] + " ")
            sys.exit()
        signal.signal(signal.SIGTERM, leave)
        pathlib.Path({str(place.run)!r}, sys.argv[1]).touch()
        while True: time.sleep(60)
    """)
    for name in ("below", "above"):
        supervisor.keep(_in_role(command(place, leaving, name, name=name), name))
    while not ((place.run / "below").exists() and (place.run / "above").exists()):
        await asyncio.sleep(0.01)
    await supervisor.stop((("above",), ("below",)))
    assert order.read_text() == "above below "


async def test_a_program_that_does_not_exist_is_a_failure_not_a_loop(place: DataDir, supervisor: Supervisor) -> None:
    wanted = command(place, FOREVER)
    supervisor.keep(
        Command(
            role="child",
            name="child",
            argv=[str(place.root / "missing")],
            env={},
            log=wanted.log,
            pid_file=wanted.pid_file,
            ready=wanted.ready,
        )
    )
    with pytest.raises(FileNotFoundError):
        await asyncio.wait_for(supervisor.failure(), 60)


async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from tests.turnstone.test_supervisor import FOREVER, command
        from turnstone.data_dir import DataDir
        from turnstone.supervisor import Supervisor
        async def main():
            place = DataDir(Path(sys.argv[1])); place.open()
            supervisor = Supervisor(print, lambda: None)
            for name in ("one", "two"):
                supervisor.keep(command(place, FOREVER, name=name))
            await supervisor.ready()
            print(supervisor.pids("child"), flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = json.loads(process.stdout.readline())
    assert len(pids) == 2
    assert all(command_line(pid) for pid in pids)
    process.kill()
    process.wait()
    process.stdout.close()
    for pid in pids:
        await asyncio.wait_for(gone(pid), 60)


async def test_what_an_earlier_run_left_behind_is_ended(place: DataDir) -> None:
    left = subprocess.Popen([sys.executable, "-c", FOREVER, str(place.temporal)])
    stranger = subprocess.Popen([sys.executable, "-c", FOREVER])
    try:
        place.pid_file("temporal").write_text(str(left.pid))
        place.pid_file("worker-0").write_text(str(stranger.pid))  # its number was given to somebody else since
        while not (str(place.temporal) in command_line(left.pid) and command_line(stranger.pid)):
            time.sleep(0.01)
        assert await end_orphans(place.run, f"{place.root}/") == ["temporal"]
        assert left.wait() == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        for process in (left, stranger):
            process.kill()
            process.wait()


def _in_role(made: Command, role: str) -> Command:
    from dataclasses import replace

    return replace(made, role=role)
