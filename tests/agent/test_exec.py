"""Commands end as they did, whatever they write, read, start or are."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.agent.conftest import ROOT, Resident
from tests.agent.outside import PATIENCE, TOKEN, Outside


def test_a_command_tells_its_output_and_exit_code(agent: Resident, outside: Outside) -> None:
    told = outside.exec("echo out; echo err >&2; exit 3")
    assert told["output"] == "out\nerr\n"
    assert (told["running"], told["exit_code"], told["truncated"], told["total_bytes"]) == (False, 3, False, 8)
    assert "signal" not in told
    assert "lost" not in told


def test_output_without_a_final_line_end_is_whole(agent: Resident, outside: Outside) -> None:
    assert outside.exec("printf héllo")["output"] == "héllo"


def test_a_reader_of_stdin_finds_its_end(agent: Resident, outside: Outside) -> None:
    assert outside.exec("cat; read line; echo read=$?")["output"] == "read=1\n"


def test_binary_output_is_text_that_any_store_takes(agent: Resident, outside: Outside) -> None:
    told = outside.exec("head -c 300000 /dev/urandom; printf 'a\\000b'", output_limit=1000)
    assert told["truncated"]
    assert told["total_bytes"] == 300003
    assert len(told["output"].encode()) <= 1000
    assert told["output"].endswith("a\ufffdb")


def test_a_hundred_megabytes_of_output_are_told_by_head_and_tail_and_take_less_room(
    agent: Resident, outside: Outside
) -> None:
    job = outside.post(
        "exec",
        {
            "command": "echo first; yes 0123456789abcdef | head -c 104857600; echo; echo last; sleep 0.5",
            "wait_ms": 30_000,
            "background": False,
            "output_limit": 32768,
        },
    )
    told = outside.result(job)["result"]
    assert told["exit_code"] == 0
    assert told["total_bytes"] == 104857600 + 12
    assert told["output"].startswith("first\n0123")
    assert told["output"].endswith("\nlast\n")
    assert 30_000 < len(told["output"].encode()) <= 32768
    kept = (agent.state / "processes" / job / "output").stat()
    assert kept.st_blocks * 512 <= 80 * 2**20
    frames = [frame for frame in outside.of("output") if frame["job"] == job]
    assert all(len(frame["text"].encode()) <= 4096 for frame in frames)


def test_a_command_that_takes_longer_goes_on_and_is_told_later(agent: Resident, outside: Outside) -> None:
    told = outside.exec("echo begun; sleep 0.6; echo done", wait_ms=300)
    assert told["running"]
    assert told["output"] == "begun\n"
    assert "exit_code" not in told
    later = outside.call("output", {"process_id": told["process_id"], "wait_ms": 10_000, "output_limit": 1000})
    assert (later["running"], later["exit_code"], later["output"]) == (False, 0, "begun\ndone\n")
    assert later["wall_duration_ms"] >= 500


def test_what_a_command_leaves_behind_does_not_hold_it_up(agent: Resident, outside: Outside) -> None:
    told = outside.exec("sleep 30 & (sleep 30; echo never) & echo done")
    assert (told["running"], told["exit_code"], told["output"]) == (False, 0, "done\n")
    done = outside.call("signal", {"process_id": told["process_id"], "signal": "kill"})
    assert done["success"], done


def test_live_output_comes_at_once_and_its_offsets_tell_what_is_missing(agent: Resident, outside: Outside) -> None:
    job = outside.post(
        "exec",
        {"command": "echo one; sleep 0.5; seq 100000; sleep 0.5; echo two; sleep 0.3", "wait_ms": 9000},
    )
    told = outside.result(job)["result"]
    pieces = [frame for frame in outside.of("output") if frame["job"] == job]
    assert (pieces[0]["stream_offset"], pieces[0]["text"]) == (0, "one\n")
    assert pieces[-1]["text"].endswith("two\n")
    assert pieces[-1]["stream_offset"] + len(pieces[-1]["text"]) == told["total_bytes"]
    ends = [piece["stream_offset"] + len(piece["text"]) for piece in pieces]
    assert all(piece["stream_offset"] >= end for piece, end in zip(pieces[1:], ends, strict=False))


def test_two_hundred_commands_run_side_by_side(agent: Resident, outside: Outside) -> None:
    jobs = [
        outside.post("exec", {"command": f"echo {number}; sleep 0.2; exit {number % 7}", "wait_ms": 30_000})
        for number in range(200)
    ]
    for number, job in enumerate(jobs):
        told = outside.result(job)["result"]
        assert (told["output"], told["exit_code"]) == (f"{number}\n", number % 7)


def test_a_command_finds_an_environment_in_which_nothing_asks(agent: Resident, outside: Outside) -> None:
    told = outside.exec("env", environment={"MINE": "1", "TURNSTONE_X": "2", "PAGER": "less"})["output"].splitlines()
    given = dict(line.split("=", 1) for line in told)
    assert given["MINE"] == "1"
    assert given["PAGER"] == "less"
    assert (given["GIT_EDITOR"], given["TERM"], given["CODER_CHAT_AGENT"]) == ("true", "dumb", "true")
    assert (given["GIT_TERMINAL_PROMPT"], given["NO_COLOR"]) == ("0", "1")
    assert given["HOME"] == str(agent.home)
    assert TOKEN not in "\n".join(told)
    assert [name for name in given if name.startswith("TURNSTONE")] == ["TURNSTONE_PROCESS"]


def test_a_command_inherits_no_file_of_the_agent(agent: Resident, outside: Outside) -> None:
    shown = outside.exec("for fd in /proc/self/fd/*; do readlink $fd; done")["output"]
    assert "agent.lock" not in shown
    assert "socket" not in shown
    assert "/lock" not in shown


def test_commands_begin_where_they_are_told(agent: Resident, outside: Outside) -> None:
    (agent.directory / "sub").mkdir()
    assert outside.exec("pwd")["output"].strip() == str(agent.directory)
    assert outside.exec("pwd", directory="sub")["output"].strip() == str(agent.directory / "sub")
    assert outside.exec("pwd", directory="~")["output"].strip() == str(agent.home)
    refused = outside.error("exec", {"command": "true", "directory": "/no/such", "wait_ms": 1000})
    assert refused["kind"] == "not_found"
    assert outside.exec("cd .. && rmdir work/sub; pwd", directory="sub")["exit_code"] == 0


def test_a_killed_command_tells_its_signal(agent: Resident, outside: Outside) -> None:
    told = outside.exec("kill -9 $$")
    assert (told["exit_code"], told["signal"], told["running"]) == (137, "SIGKILL", False)
    assert "lost" not in told


def test_a_command_that_signals_its_whole_group_still_tells_its_end(agent: Resident, outside: Outside) -> None:
    told = outside.exec("trap 'kill 0' EXIT; sleep 20 & echo bye")
    assert told["exit_code"] == 143
    assert told["output"].startswith("bye\n")
    assert "lost" not in told


def test_a_killed_shell_leaves_a_command_of_which_nobody_knows(agent: Resident, outside: Outside) -> None:
    told = outside.exec("sleep 0.2; kill -9 $PPID; sleep 0.2")
    assert told["lost"]
    assert not told["running"]
    assert "exit_code" not in told
    assert told["note"]


def test_terminate_reaches_all_that_a_command_has_started(agent: Resident, outside: Outside) -> None:
    job = outside.post("exec", {"command": "setsid sleep 60 & sleep 60 & echo up; wait", "wait_ms": 200})
    assert outside.result(job)["result"]["output"] == "up\n"
    assert outside.call("signal", {"process_id": job, "signal": "terminate"})["success"]
    told = outside.call("output", {"process_id": job, "wait_ms": 5000})
    assert (told["exit_code"], told["signal"]) == (143, "SIGTERM")
    again = outside.call("signal", {"process_id": job, "signal": "kill"})
    assert not again["success"]
    assert "143" in again["message"]


def test_unknown_processes_and_signals_are_refused(agent: Resident, outside: Outside) -> None:
    assert outside.error("output", {"process_id": "nope"})["kind"] == "not_found"
    assert outside.error("signal", {"process_id": "nope", "signal": "kill"})["kind"] == "not_found"
    job = outside.exec("true")["process_id"]
    assert outside.error("signal", {"process_id": job, "signal": "hup"})["kind"] == "invalid"


def test_the_list_names_what_runs_and_what_ended(agent: Resident, outside: Outside) -> None:
    ended = outside.exec("exit 4")["process_id"]
    runs = outside.exec("sleep 30", wait_ms=0, background=True)["process_id"]
    listed = {line["id"]: line for line in outside.call("processes", {})["processes"]}
    assert (listed[ended]["running"], listed[ended]["exit_code"]) == (False, 4)
    assert (listed[runs]["running"], listed[runs]["background"], listed[runs]["command"]) == (True, True, "sleep 30")
    outside.call("signal", {"process_id": runs, "signal": "kill"})


def test_a_cancel_ends_a_command_in_the_foreground(agent: Resident, outside: Outside) -> None:
    job = outside.post("exec", {"command": "echo up; sleep 60", "wait_ms": 60_000})
    outside.until(lambda: any(frame["job"] == job for frame in outside.of("output")))
    outside.say({"type": "cancel", "job": job})
    told = outside.result(job)["result"]
    assert (told["running"], told["signal"]) == (False, "SIGTERM")


def test_a_cancel_leaves_what_was_answered_or_runs_in_the_background(agent: Resident, outside: Outside) -> None:
    answered = outside.exec("sleep 0.8; echo lived", wait_ms=1)["process_id"]
    background = outside.exec("sleep 0.8; echo lived", wait_ms=1, background=True)["process_id"]
    for job in (answered, background):
        outside.say({"type": "cancel", "job": job})
    for job in (answered, background):
        assert outside.call("output", {"process_id": job, "wait_ms": 5000})["output"] == "lived\n"


def test_a_job_that_comes_twice_runs_once(agent: Resident, outside: Outside) -> None:
    request = {"command": "echo x >> twice; sleep 0.2", "wait_ms": 5000}
    job = outside.post("exec", request)
    outside.post("exec", request, job)
    first = outside.result(job)
    del outside.results[job]
    outside.post("exec", request, job)
    assert outside.result(job) == first
    assert (agent.directory / "twice").read_text() == "x\n"


def test_an_unknown_kind_and_a_malformed_request_are_told(agent: Resident, outside: Outside) -> None:
    assert outside.error("levitate", {})["kind"] == "unsupported"
    assert outside.error("exec", {})["kind"] == "invalid"
    assert outside.error("exec", {"command": "a\0b"})["kind"] == "invalid"
    assert outside.error("exec", {"command": "true", "wait_ms": "soon"})["kind"] == "invalid"
    assert outside.error("read_file", {"path": 7})["kind"] == "invalid"


# Bounded, should the watchdog fail: 2 ** 7 sleepers.
BOMB = 'depth=$1; [ "$depth" -gt 0 ] && for i in 1 2; do sh bomb $((depth - 1)) & done; sleep 60\n'


def test_a_fork_bomb_is_killed_and_the_agent_lives(fresh: Callable[..., Resident]) -> None:
    resident = fresh("--limit", "processes=40")
    resident.start()
    outside = resident.outside
    (resident.directory / "bomb").write_text(BOMB)
    told = outside.exec("sh bomb 7; sleep 60", wait_ms=30_000)
    assert not told["running"]
    assert told["signal"] == "SIGKILL"
    assert "40 processes" in told["note"]
    assert outside.exec("echo alive")["output"] == "alive\n"


def test_a_fork_bomb_that_its_command_left_behind_is_killed_too(fresh: Callable[..., Resident]) -> None:
    resident = fresh("--limit", "processes=40")
    resident.start()
    outside = resident.outside
    (resident.directory / "bomb").write_text(BOMB)
    left = outside.exec("sh bomb 7 & echo left")
    assert left["output"] == "left\n"
    path = resident.state / "processes" / left["process_id"] / "note"
    outside.until(lambda: path.exists() and "40 processes" in path.read_text())


def test_limits_of_the_host_bind_commands(fresh: Callable[..., Resident]) -> None:
    resident = fresh("--limit", "open_files=77", "--limit", "file_kilobytes=4")
    resident.start()
    told = resident.outside.exec("ulimit -n; ulimit -c; head -c 100000 /dev/zero > big; wc -c < big")
    assert told["output"].splitlines()[:2] == ["77", "0"]
    assert told["output"].splitlines()[-1] == "4096"


def test_an_agent_stops_on_request_and_its_commands_go_on_until_they_are_stopped(
    fresh: Callable[..., Resident],
) -> None:
    resident = fresh()
    resident.start()
    job = resident.outside.exec("sleep 60", wait_ms=0, background=True)["process_id"]
    assert resident.terminate() == 0
    assert [frame["state"] for frame in resident.outside.of("lifecycle")][-2:] == ["shutting_down", "off"]
    leader = int((resident.state / "processes" / job / "claim").read_text())
    os.kill(leader, 0)
    command = [sys.executable, "-m", "agent", "--stop", "--state", str(resident.state)]
    subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, check=True, timeout=PATIENCE)
    end = time.monotonic() + PATIENCE
    while Path(f"/proc/{leader}/cmdline").exists() and Path(f"/proc/{leader}/cmdline").read_bytes():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_stop_reaches_commands_that_hide(fresh: Callable[..., Resident]) -> None:
    resident = fresh()
    resident.start()
    told = resident.outside.exec("env -i sleep 61 & echo $!; setsid sleep 61 & echo $!; (sleep 61 & echo $!)")
    resident.end()
    for pid in told["output"].split():
        assert not _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_signal_names_are_the_systems(agent: Resident, outside: Outside) -> None:
    assert outside.exec("exit 200").get("signal") is None
    assert outside.exec("exit 130")["signal"] == signal.SIGINT.name
