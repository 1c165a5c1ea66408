"""The shell that runs one command: it claims, runs and writes the exit status, so that the agent may die meanwhile."""

import fcntl
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# stdin: the lock, held for as long as this shell lives. stdout: the file of the output. stderr: a pipe to read "go"
# from, which ends without a word when the agent dies before the job is written down. The claim (noclobber is O_EXCL)
# decides whether the command was ever begun. A command's `kill 0` must not end its shell: hence the traps, which the
# command does not inherit.
_SCRIPT = """\
trap : TERM INT HUP QUIT
read -r go <&2 || exit 125
set -C
echo $$ >"$1/claim" || exit 125
set +C
(LIMITS shift; exec "$@") </dev/null 2>&1
echo $? >"$1/status"
"""
NEVER_RAN = 125


@dataclass(frozen=True)
class Observed:
    """What the files of a process say: `pending` was never begun, `lost` ended without saying how."""

    state: str  # pending | starting | running | exited | lost
    code: int | None = None
    leader: int | None = None
    ended_at: float | None = None


class Started:
    """A shell that waits for its word."""

    def __init__(self, process: subprocess.Popen[bytes], gate: int) -> None:
        self.process = process
        self._gate = gate

    def go(self) -> None:
        """Let the command begin: from here on it is begun."""
        with suppress(BrokenPipeError):
            os.write(self._gate, b"go\n")
        os.close(self._gate)

    def withdraw(self) -> None:
        """Let the shell end without having run anything."""
        os.close(self._gate)


def start(folder: Path, command: list[str], directory: Path, environment: dict[str, str], limits: str) -> Started:
    """Start the shell of a process. Raises OSError when it cannot, BlockingIOError when another holds its lock."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        reading, gate = os.pipe()
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT.replace("LIMITS", limits), "sh", str(folder), *command],
                stdin=lock,
                stdout=output,
                stderr=reading,
                cwd=directory,
                env=environment,
                start_new_session=True,
                close_fds=False,  # ours are not inheritable, and closing them one by one costs a millisecond
            )
        except BaseException:
            os.close(gate)
            raise
        finally:
            os.close(reading)
            os.close(output)
        return Started(process, gate)
    finally:
        os.close(lock)


def observe(folder: Path) -> Observed:
    """What has become of a process, from its files alone."""
    held = _held(folder)  # before the rest: whoever lets go of the lock has written all that it ever will
    claim = folder / "claim"
    if not claim.exists():
        return Observed("starting" if held else "pending")
    leader = _number(claim)
    code = _number(folder / "status")
    if code is not None:
        return Observed("exited", code, leader, (folder / "status").stat().st_mtime)
    if held:
        return Observed("running", leader=leader)
    return Observed("lost", leader=leader)


def _held(folder: Path) -> bool:
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _number(path: Path) -> int | None:
    """A number that was written whole: its line end says so."""
    try:
        said = path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return int(said) if said.endswith("\n") and said.strip().isdigit() else None
