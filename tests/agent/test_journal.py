"""Several files are put in place together, whenever the agent dies."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.frames import Refused
from agent.journal import Change, Changed, Journal
from tests.agent.conftest import ROOT, Resident

FILES = 6

# Three changes of a name prepare each file; then comes the journal, then a rename a file, then what is left goes.
# A process that puts new contents in place, and is stopped at the n-th change of a name.
_DOOMED = """
import os, sys
from pathlib import Path
from agent.journal import Change, Journal
folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def hook(event, arguments):
    global count
    if event in ("os.rename", "os.link", "os.remove"):
        count += 1
        if count == fatal:
            os.kill(os.getpid(), 9)
sys.addaudithook(hook)
targets = [folder / "work" / str(number) for number in range(FILES)]
changes = [Change(target, b"new", target.stat()) for target in targets]
Journal(folder / "journal").commit("job", changes, {"result": "done"})
print(count)
"""


def _make(folder: Path) -> list[Path]:
    (folder / "work").mkdir(parents=True)
    targets = [folder / "work" / str(number) for number in range(FILES)]
    for target in targets:
        target.write_text("old")
    return targets


def test_after_a_death_at_any_step_all_files_are_old_or_all_are_new(tmp_path: Path) -> None:
    seen = set()
    for fatal in (2, 10, 18, 19, 20, 22, 25, 27, 33):
        folder = tmp_path / str(fatal)
        targets = _make(folder)
        done = subprocess.run(
            [sys.executable, "-c", _DOOMED.replace("FILES", str(FILES)), str(folder), str(fatal)],
            env={"PYTHONPATH": str(ROOT)},
            check=False,
            capture_output=True,
        )
        assert done.returncode == -signal.SIGKILL
        outcomes = Journal(folder / "journal").recover()
        contents = {target.read_text() for target in targets}
        assert contents == ({"new"} if "job" in outcomes else {"old"})
        seen |= contents
        if "job" in outcomes:
            assert outcomes["job"] == {"result": "done"}
            assert sorted(path.name for path in (folder / "work").iterdir()) == [str(n) for n in range(FILES)]
    assert seen == {"old", "new"}


def test_a_file_that_changed_since_it_was_read_is_not_overwritten(tmp_path: Path) -> None:
    targets = _make(tmp_path)
    changes = [Change(target, b"new", target.stat()) for target in targets]
    targets[-1].write_text("theirs")
    with pytest.raises(Changed):
        Journal(tmp_path / "journal").commit("job", changes, {})
    assert [target.read_text() for target in targets] == ["old"] * (FILES - 1) + ["theirs"]
    assert len(list((tmp_path / "work").iterdir())) == FILES


def test_a_rename_that_fails_takes_back_those_before_it(tmp_path: Path) -> None:
    targets = _make(tmp_path)
    changes = [Change(target, b"new", target.stat()) for target in targets]
    absent = tmp_path / "work" / "made"
    changes.append(Change(absent, b"new", None))
    blocked = tmp_path / "work" / "blocked"
    changes.append(Change(blocked, b"new", None))
    # What no check sees: a directory stands in the way by the time of the rename.
    fired = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and not fired and str(arguments[1]).endswith("/work/made"):
            fired.append(True)
            blocked.mkdir()

    sys.addaudithook(hook)
    with pytest.raises(Refused):
        Journal(tmp_path / "journal").commit("job", changes, {})
    assert fired
    assert {target.read_text() for target in targets} == {"old"}
    assert not absent.exists()
    assert Journal(tmp_path / "journal").recover() == {}


def test_an_edit_is_answered_and_made_once_though_the_agent_is_killed(fresh: Callable[..., Resident]) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    names = [f"file{number}" for number in range(4)]
    for name in names:
        (resident.directory / name).write_text("0\n")
    for round_ in range(5):
        job = str(uuid.uuid4())
        files = [{"path": name, "edits": [{"search": f"{round_}\n", "replace": f"{round_ + 1}\n"}]} for name in names]
        outside.post("edit_files", {"files": files}, job)
        resident.kill()
        resident.start()
        assert len(outside.result(job)["result"]["files"]) == 4
        assert {(resident.directory / name).read_text() for name in names} == {f"{round_ + 1}\n"}
    assert not [name for name in os.listdir(resident.directory) if "turnstone" in name]
