"""`turnstone dev`, whole: what it tells programs is true, and stays true when a process is replaced."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from turnstone.processes import command_line

ROOT = Path(__file__).parents[2]
ROLES = {"nursery": 1, "api": 1, "worker": 1, "temporal": 1, "postgres": 1}


class Running:
    """A `turnstone dev` of our own, and what its ready file says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ready_file = folder / "ready.json"
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        free = ("--port", "0", "--temporal-port", "0", "--temporal-ui-port", "0")
        place = ("--data-dir", str(self._folder / "data"), "--ready-file", str(self.ready_file))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTONE_")}
        with (self._folder / "dev.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "turnstone", "dev", *place, *free], stdout=log, stderr=log, cwd=ROOT, env=clean
            )

    def start_again(self) -> None:
        self.process = self._start()

    def facts(self) -> dict[str, Any]:
        """What the file says, once it is there."""
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.told()
            time.sleep(0.05)
        read: dict[str, Any] = json.loads(self.ready_file.read_text())
        return read

    def facts_after_replacing(self, role: str, old: int) -> dict[str, Any]:
        while old in (facts := self.facts())["pids"][role] or not facts["pids"][role]:
            time.sleep(0.05)
        return facts

    def told(self) -> str:
        return (self._folder / "dev.log").read_text()


def pids(facts: dict[str, Any]) -> list[int]:
    return [facts["pids"]["supervisor"], *(pid for role in ROLES for pid in facts["pids"][role])]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def me(facts: dict[str, Any]) -> str:
    headers = {"Authorization": f"Bearer {facts['admin_token']}"}
    answer = httpx.get(f"{facts['api_url']}/api/v2/users/me", headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("dev"))
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.process.wait()


@pytest.mark.chaos
def test_the_ready_file_tells_a_program_all_it_needs(running: Running) -> None:
    facts = running.facts()
    assert set(facts) == {
        "api_url",
        "api_urls",
        "admin_token",
        "organization_id",
        "temporal_address",
        "temporal_namespace",
        "temporal_ui_url",
        "database_url",
        "metrics_urls",
        "pids",
    }
    assert {role: len(facts["pids"][role]) for role in ROLES} == ROLES
    assert facts["pids"]["supervisor"] == running.process.pid
    assert all(command_line(pid) for pid in pids(facts))
    assert stat.S_IMODE(running.ready_file.stat().st_mode) == 0o600
    assert httpx.get(f"{facts['api_url']}/readyz", timeout=30).status_code == 200
    assert httpx.get(facts["temporal_ui_url"], timeout=30).status_code == 200
    with psycopg.connect(facts["database_url"]) as connection:
        found = connection.execute("SELECT id::text FROM organizations WHERE is_default").fetchone()
    assert found == (facts["organization_id"],)
    assert me(facts)
    assert facts["admin_token"] in running.told()


@pytest.mark.chaos
def test_a_newcomer_is_offered_a_workspace_on_this_machine(running: Running) -> None:
    facts = running.facts()
    headers = {"Authorization": f"Bearer {facts['admin_token']}"}
    answer = httpx.get(f"{facts['api_url']}/api/v2/templates", headers=headers, timeout=30)
    assert [(each["name"], each["provisioner"]) for each in answer.json()] == [("local", "local")]


@pytest.mark.chaos
@pytest.mark.parametrize("role", ["postgres", "temporal", "nursery", "api", "worker"])
def test_a_killed_process_is_replaced_at_the_same_address(running: Running, role: str) -> None:
    before = running.facts()
    (old,) = before["pids"][role]
    os.kill(old, signal.SIGKILL)
    after = running.facts_after_replacing(role, old)
    assert {name: value for name, value in after.items() if name != "pids"} == {
        name: value for name, value in before.items() if name != "pids"
    }
    assert httpx.get(f"{after['api_url']}/healthz", timeout=30).status_code == 200


@pytest.mark.chaos
def test_who_is_born_belongs_to_the_supervisor_and_outlives_the_nursery(running: Running) -> None:
    before = running.facts()
    ours = before["pids"]["api"] + before["pids"]["worker"]
    assert {parent(pid) for pid in ours} == {before["pids"]["supervisor"]}
    (nursery,) = before["pids"]["nursery"]
    os.kill(nursery, signal.SIGKILL)
    os.kill(before["pids"]["worker"][0], signal.SIGKILL)  # nobody is there to bear another
    after = running.facts_after_replacing("worker", before["pids"]["worker"][0])
    assert after["pids"]["api"] == before["pids"]["api"]
    assert after["pids"]["nursery"] != [nursery]
    assert parent(after["pids"]["worker"][0]) == before["pids"]["supervisor"]


@pytest.mark.chaos
def test_what_a_killed_database_leaves_behind_is_buried(running: Running) -> None:
    before = running.facts()
    (old,) = before["pids"]["postgres"]
    os.kill(old, signal.SIGKILL)
    running.facts_after_replacing("postgres", old)
    while [pid for pid in children(before["pids"]["supervisor"]) if not command_line(pid)]:
        time.sleep(0.02)


@pytest.mark.chaos
def test_a_stack_that_was_killed_leaves_nobody_and_goes_on_with_its_data(running: Running) -> None:
    before = running.facts()
    who = me(before)
    running.process.kill()
    running.process.wait()
    for pid in pids(before):
        while command_line(pid):
            time.sleep(0.02)
    running.start_again()
    while (after := running.facts())["pids"]["supervisor"] == before["pids"]["supervisor"]:
        time.sleep(0.05)
    assert after["admin_token"] == before["admin_token"]
    assert after["organization_id"] == before["organization_id"]
    assert me(after) == who
    assert running.told().count(before["admin_token"]) == 1


@pytest.mark.chaos
def test_doctor_finds_a_running_stack_healthy(running: Running, tmp_path: Path) -> None:
    facts = running.facts()
    data_dir = running.ready_file.parent / "data"
    answer = subprocess.run(
        [sys.executable, "-m", "turnstone", "doctor", "--json", "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    found = json.loads(answer.stdout)
    assert [finding for finding in found if not finding["fine"]] == []
    assert answer.returncode == 0
    assert facts["admin_token"] not in answer.stdout


@pytest.mark.chaos
def test_a_stack_that_is_asked_to_stop_stops_with_exit_code_0(running: Running) -> None:
    facts = running.facts()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert not running.ready_file.exists()
    assert [pid for pid in pids(facts) if command_line(pid)] == []
