"""What a command that is to be read-only can do, and what it cannot; what is told where the kernel cannot help."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import readonly
from tests.agent import refusing
from tests.agent.conftest import Resident
from tests.agent.outside import Frame, Outside

CREATE_RULESET, RESTRICT_SELF = "444", "446"
GIT = "git -c user.name=a -c user.email=a@example.com -c init.defaultBranch=main"


def known() -> int:
    try:
        return readonly.version()
    except OSError:
        return 0


landlock = pytest.mark.skipif(not known(), reason="this kernel has no Landlock")
scoped = pytest.mark.skipif(known() < 6, reason="this kernel's Landlock knows no scopes")


def look(outside: Outside, command: str, **more: object) -> Frame:
    """Run a command read-only."""
    return outside.exec(command, read_only=True, **more)


def tree(folder: Path) -> dict[str, object]:
    """What there is in a directory: names, kinds, links, contents."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        said = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode >> 12, status.st_nlink, said)
    return found


def laid_out(folder: Path) -> Path:
    """A directory with a file, a directory that is empty, and a link to the file."""
    (folder / "empty").mkdir(parents=True)
    (folder / "victim").write_text("whole\n")
    (folder / "link").symlink_to("victim")
    return folder


WRITES = [
    "echo x > victim",
    "echo x >> victim",
    "echo x > new",
    "echo x > link",
    "echo x > /proc/self/cwd/victim",
    "rm victim",
    "rm link",
    "rmdir empty",
    "mv victim other",
    "mv victim empty/",
    'mv victim "$TMPDIR/moved"',
    'echo x > "$TMPDIR/x"; mv "$TMPDIR/x" victim',
    "mkdir made",
    "mkfifo pipe",
    "ln victim hard",
    "ln -s victim soft",
    "cp victim copy",
    "touch new",
    "truncate -s 0 victim",
    "truncate -s 100 victim",
    "sed -i s/whole/half/ victim",
    'ln -s "$PWD/victim" "$TMPDIR/soft"; echo x > "$TMPDIR/soft"',
    'ln victim "$TMPDIR/hard" && echo x > "$TMPDIR/hard"',
    "sh -c 'sh -c \"echo x > victim\"'",
    '(setsid sh -c "echo x > victim; touch $TMPDIR/done" &); until [ -e "$TMPDIR/done" ]; do sleep 0.02; done',
    "nohup sh -c 'echo x > new' >/dev/null 2>&1 & wait $!",
    'env -i "$(command -v sh)" -c "echo x > victim"',
    f"{sys.executable} -c \"import os; os.open('victim', os.O_RDONLY | os.O_TRUNC)\"",
    f"{sys.executable} -c \"import os; os.truncate('victim', 1)\"",
    f"{sys.executable} -c \"import socket; socket.socket(socket.AF_UNIX).bind('here')\"",
]


@landlock
@pytest.mark.parametrize("command", WRITES)
def test_what_a_command_would_change_a_read_only_one_leaves_as_it_was(
    command: str, agent: Resident, outside: Outside, tmp_path: Path
) -> None:
    if known() < 3 and ("O_TRUNC" in command or "os.truncate" in command):
        pytest.skip("this kernel's Landlock knows nothing of truncation")
    folder = laid_out(tmp_path / "read")
    before = tree(folder)
    told = look(outside, command, directory=str(folder))
    assert tree(folder) == before
    assert told["read_only"]
    other = laid_out(tmp_path / "written")
    (tmp_path / "own").mkdir()
    outside.exec(command, directory=str(other), environment={"TMPDIR": str(tmp_path / "own")})
    assert tree(other) != before, "the same command changes something when it may"


@landlock
def test_a_read_only_command_writes_nowhere_but_in_its_own_temporary_directory(
    agent: Resident, outside: Outside
) -> None:
    neighbour = look(outside, 'echo mine > "$TMPDIR/mine"; echo $TMPDIR')["output"].strip()
    places = [agent.home, agent.directory, agent.state, agent.state / "processes", "/tmp", "/var/tmp", "/dev/shm"]
    foreign = " ".join([*map(str, places), neighbour, '"$TMPDIR/.."'])
    told = look(
        outside,
        f'for place in {foreign}; do echo x > "$place/read-only-probe"; done; '
        f'echo y > {neighbour}/mine; echo 0 > "$TMPDIR/../status"; echo yes > "$TMPDIR/../confined"; '
        'cd "$TMPDIR" && echo through > own && mkdir sub && mv own sub/ && cat sub/own; exit 3',
    )
    said = told["output"].splitlines()
    assert said[-1] == "through"
    assert len([line for line in said if "ermission denied" in line]) == len(places) + 2 + 3, told["output"]
    assert told["exit_code"] == 3
    assert Path(neighbour, "mine").read_text() == "mine\n"


@landlock
def test_the_temporary_directory_of_a_command_goes_with_it_and_takes_nothing_else(
    fresh: Callable[..., Resident],
) -> None:
    resident = fresh("--limit", "output_total_bytes=1")
    resident.start()
    outside = resident.outside
    (resident.directory / "kept").write_text("kept")
    told = look(outside, 'cd "$TMPDIR" && mkdir -p a/b && echo x > a/b/c && ln -s ~- out && chmod 0 a/b && pwd')
    room = Path(told["output"].strip())
    assert room == resident.state / "processes" / told["process_id"] / "tmp"
    assert (room / "a" / "b").is_dir()
    resident.terminate()
    resident.start()
    outside.until(lambda: not room.parent.exists())
    assert (resident.directory / "kept").read_text() == "kept"


@landlock
def test_what_looks_around_works_read_only(agent: Resident, outside: Outside) -> None:
    folder = agent.directory / "repository"
    make = f"mkdir {folder} && cd {folder} && {GIT} init -q && echo one > a && git add a && {GIT} commit -qm first"
    assert outside.exec(make)["exit_code"] == 0
    (folder / "a").write_text("one\ntwo\n")
    os.utime(folder / "a", (1, 1))  # so that git would like to refresh its index
    told = look(
        outside,
        "echo loud >/dev/stderr; git status --short; git log --format=%s; git diff --stat | tail -1; git grep -n two; "
        "grep -rn one . --include=a; "
        "seq 3 | sort -r | head -1; yes | head -1; cat <<HERE\nfrom here\nHERE\n"
        "bash -c 'cat <<< string; cat <(echo piped)'; find . -name a | xargs wc -l; "
        "echo gone >/dev/null; file=$(mktemp) && echo made > $file && cat $file; "
        "ps -e >/dev/null && echo seen",
        directory="repository",
    )
    assert told["output"].splitlines() == [
        *("loud", " M a", "first", " 1 file changed, 1 insertion(+)", "a:2:two", "./a:1:one"),
        *("3", "y", "from here", "string", "piped", "2 ./a", "made", "seen"),
    ]  # fmt: skip
    assert told["exit_code"] == 0
    assert "note" not in told


@landlock
def test_a_read_only_command_finds_the_environment_of_any_other(agent: Resident, outside: Outside) -> None:
    asked = "env; cat /proc/self/status | grep -E 'Sig(Ign|Blk)'; ls -l /proc/self/fd | wc -l; ulimit -a"
    usual, mine = (outside.exec(asked, read_only=each)["output"].splitlines() for each in (False, True))
    assert [line for line in usual if line not in mine and "TURNSTONE_PROCESS" not in line] == []
    added = [line for line in mine if line not in usual and "TURNSTONE_PROCESS" not in line]
    assert sorted(line.split("=")[0] for line in added) == ["GIT_OPTIONAL_LOCKS", "TMPDIR"]


@landlock
@scoped
def test_a_read_only_command_signals_its_own_processes_and_no_others(agent: Resident, outside: Outside) -> None:
    other = outside.exec("sleep 60", background=True, wait_ms=0)["process_id"]
    outside.until((agent.state / "processes" / other / "claim").exists)
    leader = int((agent.state / "processes" / other / "claim").read_text())
    assert agent.process is not None
    told = look(
        outside,
        f"for each in {leader} {agent.process.pid} $PPID; do kill -9 $each && echo killed; done; "
        "sleep 60 & kill -9 $! && wait $!; echo $?",
    )
    lines = told["output"].splitlines()
    assert lines[-1] == "137"
    assert "killed" not in lines
    os.kill(leader, 0)
    assert agent.process.poll() is None
    assert outside.call("signal", {"process_id": other, "signal": "kill"})["success"]


@landlock
@scoped
def test_a_read_only_command_reaches_no_abstract_socket_outside(agent: Resident, outside: Outside) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        name = f"turnstone-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.listen()
        connect = f"{sys.executable} -c \"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')\""
        connect = connect.replace("\\0", "\\x00")
        assert outside.exec(connect)["exit_code"] == 0
        told = look(outside, connect)
    assert (told["exit_code"], "PermissionError" in told["output"]) == (1, True)


@landlock
def test_root_makes_no_disk_of_its_own_to_write_to(agent: Resident, outside: Outside) -> None:
    told = look(
        outside, 'cd "$TMPDIR"; mknod disk b 7 250; mknod tty c 4 1; mount -t tmpfs none "$TMPDIR"; umount /proc'
    )
    assert told["exit_code"] != 0
    assert not list((agent.state / "processes" / told["process_id"] / "tmp").iterdir())
    assert Path("/proc/self").exists()


@landlock
def test_a_read_only_command_can_be_followed_ended_and_counted_as_any_other(fresh: Callable[..., Resident]) -> None:
    resident = fresh("--limit", "processes=40", "--limit", "file_kilobytes=4")
    resident.start()
    outside = resident.outside
    told = look(outside, "echo up; sleep 60", wait_ms=0, background=True)
    assert (told["running"], told["read_only"]) == (True, True)
    job = told["process_id"]
    outside.until(lambda: outside.call("output", {"process_id": job, "wait_ms": 100})["output"] == "up\n")
    assert outside.call("signal", {"process_id": job, "signal": "terminate"})["success"]
    ended = outside.call("output", {"process_id": job, "wait_ms": 5000})
    assert (ended["exit_code"], ended["signal"], ended["read_only"]) == (143, "SIGTERM", True)

    waited = outside.post("exec", {"command": "echo up; sleep 60", "wait_ms": 60_000, "read_only": True})
    outside.until(lambda: any(frame["job"] == waited for frame in outside.of("output")))
    outside.say({"type": "cancel", "job": waited})
    assert outside.result(waited)["result"]["signal"] == "SIGTERM"

    (resident.directory / "bomb").write_text(
        'depth=$1; [ "$depth" -gt 0 ] && for i in 1 2; do sh bomb $((depth - 1)) & done; sleep 60\n'
    )
    killed = look(outside, "sh bomb 7; sleep 60", wait_ms=30_000)
    assert (killed["signal"], "40 processes" in killed["note"]) == ("SIGKILL", True)
    large = look(outside, 'head -c 100000 /dev/zero > "$TMPDIR/big"; wc -c < "$TMPDIR/big"')
    assert large["output"].splitlines()[-1] == "4096"


@landlock
def test_a_read_only_command_stays_so_when_its_agent_dies_and_the_next_one_knows(
    fresh: Callable[..., Resident],
) -> None:
    resident = fresh()
    resident.start()
    outside = resident.outside
    command = f"echo up; until [ -e {resident.home}/go ]; do sleep 0.02; done; echo x > late; exit 7"
    job = outside.post("exec", {"command": command, "wait_ms": 20_000, "read_only": True})
    outside.until(lambda: any(frame["job"] == job for frame in outside.of("output")))
    resident.kill()
    assert json.loads((resident.state / "processes" / job / "info.json").read_bytes())["read_only"]
    resident.start()
    (resident.home / "go").touch()
    told = outside.result(job)["result"]
    assert (told["exit_code"], told["read_only"]) == (7, True)
    assert not (resident.directory / "late").exists()


def refuses() -> bool:
    """Whether a system call can be made to fail here."""
    probe = [sys.executable, refusing.__file__, CREATE_RULESET, "ENOSYS", shutil.which("true") or "/bin/true"]
    return sys.platform == "linux" and subprocess.run(probe, capture_output=True, check=False).returncode == 0


filtered = pytest.mark.skipif(not refuses(), reason="seccomp cannot be used here")


@filtered
@pytest.mark.parametrize(("code", "said"), [("ENOSYS", "not implemented"), ("EOPNOTSUPP", "not supported")])
def test_without_landlock_the_command_runs_and_says_that_nothing_kept_it_from_writing(
    code: str, said: str, fresh: Callable[..., Resident]
) -> None:
    resident = fresh()
    resident.under = (sys.executable, refusing.__file__, CREATE_RULESET, code)
    resident.start()
    told = look(resident.outside, "echo x > written; touch $TMPDIR/own && echo well")
    assert (told["exit_code"], told["output"], told["read_only"]) == (0, "well\n", False)
    assert told["note"].startswith("Nothing kept the command from writing: the kernel has no Landlock")
    assert said in told["note"]
    assert (resident.directory / "written").exists()
    at_once = look(resident.outside, "sleep 60", wait_ms=0, background=True)
    assert "Nothing kept" in at_once["note"], "also before it has ended"
    assert "note" not in resident.outside.exec("true")


@landlock
@filtered
def test_a_command_that_cannot_be_confined_though_the_kernel_could_does_not_run(
    fresh: Callable[..., Resident],
) -> None:
    resident = fresh()
    resident.under = (sys.executable, refusing.__file__, RESTRICT_SELF, "EPERM")
    resident.start()
    job = resident.outside.post("exec", {"command": "echo x > written", "wait_ms": 10_000, "read_only": True})
    error = resident.outside.result(job)["error"]
    assert error["kind"] == "internal"
    assert error["message"].startswith("The command did not run")
    assert "Operation not permitted" in error["message"]
    assert resident.outside.error("output", {"process_id": job}) == error
    assert not (resident.directory / "written").exists()
    assert resident.outside.exec("echo x > written")["exit_code"] == 0


def test_each_version_of_landlock_is_asked_for_what_it_knows_and_no_more() -> None:
    asked = [readonly.handled(version) for version in range(1, 8)]
    assert [rights.bit_length() for rights, _ in asked] == [13, 14, 15, 15, 16, 16, 16]
    assert [scopes for _, scopes in asked] == [0, 0, 0, 0, 0, 3, 3]
    reads = 0b1101  # execute, read a file, list a directory
    assert all(rights & reads == 0 for rights, _ in asked)
    assert [bool(readonly.lacking(version)) for version in range(1, 8)] == [True, True, *[False] * 5]
