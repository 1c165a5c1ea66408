"""The ledger knows every job that was begun, whatever became of agent and host."""

import threading
import uuid
from pathlib import Path

import pytest

from agent.begun import BegunLog
from agent.frames import Refused
from agent.ledger import KEPT_BYTES, Ledger


def test_a_job_is_fresh_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "boot")
    assert ledger.begin("a", "exec", {"command": "x"}).fresh
    assert not ledger.begin("a", "exec", {"command": "x"}).fresh
    assert not Ledger(tmp_path, "boot").begin("a", "exec", {"command": "x"}).fresh
    with pytest.raises(Refused):
        ledger.begin("a", "exec", {"command": "y"})
    with pytest.raises(Refused):
        ledger.begin("../a", "exec", {})


def test_half_an_entry_was_never_begun(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "boot")
    (tmp_path / "a.job").write_text('{"kind": "ex')
    assert ledger.begin("a", "exec", {}).fresh


def test_what_the_host_lost_is_known_from_the_log(tmp_path: Path) -> None:
    Ledger(tmp_path, "first").begin("a", "exec", {})
    (tmp_path / "a.job").unlink()
    entry = Ledger(tmp_path, "second").begin("a", "exec", {})
    assert (entry.fresh, entry.boot_id) == (False, "first")


def test_an_outcome_is_owed_until_it_is_stored_and_known_after(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "boot")
    ledger.begin("a", "exec", {})
    ledger.finish("a", {"result": 1})
    assert Ledger(tmp_path, "boot").unsent() == {"a": {"result": 1}}
    ledger.stored("a")
    ledger.stored("never heard of")
    assert ledger.unsent() == {}
    assert ledger.outcome("a") == {"result": 1}


def test_those_who_come_together_are_all_on_disk_though_the_log_turns(tmp_path: Path) -> None:
    log = BegunLog(tmp_path)
    names = [[str(uuid.uuid4()) for _ in range(40)] for _ in range(8)]
    boot = "b" * 4000  # long lines fill the log soon

    def add(mine: list[str]) -> None:
        for name in mine:
            log.add(name, boot)

    threads = [threading.Thread(target=add, args=(mine,)) for mine in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "begun.old").exists()
    assert set(BegunLog(tmp_path).read()) == {name for mine in names for name in mine}


def test_half_a_line_at_the_end_of_the_log_is_written_over(tmp_path: Path) -> None:
    log = BegunLog(tmp_path)
    log.add("one", "b")
    with (tmp_path / "begun.log").open("r+b") as file:
        file.seek(len(b"one b\n"))
        file.write(b"tw")
    again = BegunLog(tmp_path)
    again.add("three", "b")
    assert set(BegunLog(tmp_path).read()) == {"one", "three"}


def test_of_a_large_outcome_that_was_told_only_that_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "b")
    large = {"result": {"screenshot": "x" * KEPT_BYTES}}
    for job, outcome in (("large", large), ("small", {"result": {"done": 1}})):
        ledger.begin(job, "desktop", {})
        ledger.finish(job, outcome)
        assert ledger.outcome(job) == ledger.unsent()[job] == outcome
        ledger.stored(job)
    kept = Ledger(tmp_path, "b")
    assert kept.outcome("small") == {"result": {"done": 1}}
    assert (kept.outcome("large") or {})["error"]["kind"] == "lost"
    assert sum(path.stat().st_size for path in tmp_path.glob("large.*")) < 1000
