"""Whatever is killed whenever, a command ran at most once and what is told of it is true."""

import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.agent.conftest import Resident
from tests.agent.outside import PATIENCE

Fresh = Callable[..., Resident]


def test_a_command_outlives_its_agent_and_its_end_is_known(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    job = outside.post("exec", {"command": "echo one; sleep 0.6; echo two; exit 5", "wait_ms": 20_000})
    outside.until(lambda: any(frame["job"] == job for frame in outside.of("output")))
    resident.kill()
    resident.start()
    told = outside.result(job)["result"]
    assert (told["output"], told["exit_code"]) == ("one\ntwo\n", 5)


def test_a_command_that_ended_while_no_agent_lived_is_told_with_its_true_duration(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    begin = time.time()
    job = outside.post("exec", {"command": "touch begun; sleep 0.3; echo done", "wait_ms": 20_000})
    outside.until((resident.directory / "begun").exists)  # what is only acknowledged, the next agent begins
    resident.kill()
    outside.until(lambda: (resident.state / "processes" / job / "status").exists())
    longest = (time.time() - begin) * 1000
    time.sleep(0.3)
    resident.start()
    told = outside.result(job)["result"]
    assert (told["output"], told["exit_code"]) == ("done\n", 0)
    assert 300 <= told["wall_duration_ms"] <= longest


def test_a_result_is_told_until_it_is_stored(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    outside.store_results = False
    job = outside.post("exec", {"command": "echo x >> count; cat count", "wait_ms": 5000})
    first = outside.result(job)
    outside.open_jobs.clear()  # the API would deliver it again: the agent must not need that
    outside.results.clear()
    resident.kill()
    resident.start()
    assert outside.result(job) == first
    outside.results.clear()
    outside.store_results = True
    outside.drop()
    assert outside.result(job) == first
    assert first["result"]["output"] == "x\n"


def test_a_command_canceled_before_a_restart_is_still_ended(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    job = outside.post("exec", {"command": "trap '' TERM; echo up; while :; do sleep 0.1; done", "wait_ms": 60_000})
    outside.until(lambda: any(frame["job"] == job for frame in outside.of("output")))
    outside.say({"type": "cancel", "job": job})
    outside.until(lambda: (resident.state / "processes" / job / "canceled").exists())
    resident.kill()
    resident.start()
    told = outside.result(job)["result"]
    assert (told["running"], told["signal"]) == (False, "SIGKILL")


def test_a_command_of_an_earlier_boot_is_unknown_rather_than_run_again(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    job = outside.post("exec", {"command": "echo x >> count; sleep 1", "wait_ms": 20_000})
    outside.until(lambda: any(frame["job"] == job for frame in outside.of("ack")))
    outside.exec("sleep 0.2")
    resident.kill()
    folder = resident.state / "processes" / job
    # The host stopped: no process of it is left, and of the files only those that were fsynced.
    os.killpg(int((folder / "claim").read_text()), signal.SIGKILL)
    (resident.state / "ledger" / f"{job}.job").unlink()
    log = resident.state / "ledger" / "begun.log"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    log.write_bytes(log.read_bytes().replace(boot.encode(), str(uuid.uuid4()).encode()))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    resident.start()
    told = outside.result(job)["result"]
    assert told["lost"]
    assert (resident.directory / "count").read_text() == "x\n"


def test_the_api_may_go_away_and_come_back(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    job = outside.post("exec", {"command": "sleep 0.5; echo through", "wait_ms": 20_000})
    outside.until(lambda: any(frame["job"] == job for frame in outside.of("ack")))
    outside.close()
    time.sleep(0.7)
    outside.open()
    assert outside.result(job)["result"]["output"] == "through\n"


def test_an_agent_that_is_told_to_close_comes_back(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    before = outside.connections
    outside.say({"type": "close", "reason": "restarting"})
    outside.until(lambda: outside.connections > before)
    outside.say({"type": "nonsense"})
    outside.say({"type": "job", "job": "../../etc/x", "kind": "exec", "request": {"command": "true"}})
    outside.say({"type": "job", "job": ["x"], "kind": 7})
    assert outside.exec("echo back")["output"] == "back\n"


def test_an_agent_whose_token_is_unknown_exits_with_3_and_leaves_its_commands(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    resident.outside.tokens.clear()
    resident.outside.drop()
    assert resident.process is not None
    assert resident.process.wait(PATIENCE) == 3


def test_a_second_agent_on_a_state_directory_exits_with_4(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    first = resident.process
    resident.start(wait=False)
    assert resident.process is not None
    assert resident.process.wait(PATIENCE) == 4
    resident.process = first
    assert resident.outside.exec("echo first")["output"] == "first\n"


def test_a_signal_of_unknown_outcome_is_not_sent_again(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    process = outside.exec("sleep 30", wait_ms=0, background=True)["process_id"]
    job = str(uuid.uuid4())
    request = {"process_id": process, "signal": "kill"}
    resident.kill()
    from agent.ledger import Ledger

    Ledger(resident.state / "ledger", "any").begin(job, "signal", request)  # written down; then the agent died
    resident.start()
    outside.post("signal", request, job)
    assert outside.result(job)["error"]["kind"] == "lost"
    assert outside.call("output", {"process_id": process, "wait_ms": 0})["running"]


def test_at_random_moments_of_death_every_command_runs_at_most_once(fresh: Fresh) -> None:
    resident = fresh()
    outside = resident.outside
    resident.start()
    effects = resident.directory / "effects"
    dice = random.Random(6)
    jobs: dict[str, int] = {}
    unsure: set[str] = set()
    for _ in range(6):
        for number in range(4):
            job = str(uuid.uuid4())
            jobs[job] = number
            command = f"echo {job} >> {effects}; sleep 0.0{number}; exit {number}"
            outside.post("exec", {"command": command, "wait_ms": 20_000}, job)
        time.sleep(dice.random() * 0.06)
        resident.kill()
        if dice.random() < 0.3:
            # A shell that supervises a command dies with the agent.
            for claim in (resident.state / "processes").glob("*/claim"):
                if _supervises(claim):
                    os.kill(int(claim.read_text()), signal.SIGKILL)
                    unsure.add(claim.parent.name)
                    break
        resident.start()
    for job in jobs:
        outside.result(job)
    counts = Counter(effects.read_text().split())
    for job, number in jobs.items():
        frame = outside.results[job]
        assert counts[job] <= 1
        told = frame["result"]
        if told.get("lost"):
            assert job in unsure
        else:
            assert counts[job] == 1
            assert told["exit_code"] == number


def _supervises(claim: Path) -> bool:
    """Whether the shell of a claim still runs, and has not written how the command ended."""
    text = claim.read_text()
    if not text.endswith("\n") or (claim.parent / "status").exists():
        return False
    try:
        return claim.parent.name.encode() in Path(f"/proc/{int(text)}/cmdline").read_bytes()
    except OSError:
        return False
