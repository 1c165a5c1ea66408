"""What the forge gives tests is a process as the command would be: its words, environment, place, outputs and end."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from tests.forge import Forged, spawn

SEEN = """
import json, os, sys
json.dump([sys.argv[1:], dict(os.environ), os.getcwd(), __name__], sys.stdout)
sys.exit(7)
"""
WAITING = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


async def _is_there(path: Path) -> None:
    async with asyncio.timeout(60):
        while not path.exists():
            await asyncio.sleep(0.01)


async def _waiting(tmp_path: Path, name: str) -> Forged:
    """A process that has begun and does not end."""
    (tmp_path / "waiting.py").write_text(WAITING)
    process = await spawn("waiting", str(tmp_path / name), env={}, cwd=tmp_path)
    await _is_there(tmp_path / name)
    return process


async def test_a_process_is_given_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "seen.py").write_text(SEEN)
    with (tmp_path / "out").open("wb") as out:
        process = await spawn("seen", "one", "two words", env={"ONLY": "this"}, cwd=tmp_path, stdout=out)
    assert await process.wait() == process.returncode == 7
    assert json.loads((tmp_path / "out").read_text()) == [
        ["one", "two words"],
        {"ONLY": "this"},
        str(tmp_path),
        "__main__",
    ]


async def test_a_process_is_killed_alone_and_its_end_is_told(tmp_path: Path) -> None:
    one, two = await _waiting(tmp_path, "one"), await _waiting(tmp_path, "two")
    one.kill()
    assert await one.wait() == -signal.SIGKILL
    assert two.returncode is None
    os.kill(two.pid, signal.SIGTERM)
    assert await two.wait() == -signal.SIGTERM
    two.kill()  # it has ended: nobody is killed in its place


async def test_what_a_worker_of_the_run_had_forged_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    script = (
        "import asyncio, os, pathlib, sys; from tests.forge import spawn; place = pathlib.Path(sys.argv[1])\n"
        "async def begin():\n"
        "    process = await spawn('waiting', str(place / 'begun'), env={}, cwd=place)\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(begin())\n"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    pid = int(await other.stdout.readline())
    await _is_there(tmp_path / "begun")
    other.kill()
    await other.wait()
    async with asyncio.timeout(60):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)
