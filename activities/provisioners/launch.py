"""How an agent's process begins on a machine: from its package alone, and again whenever it dies."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

SUPERSEDED = 3  # the agent's exit code when its token is refused: a newer build has other agents

# Python's -I keeps a workspace's files off the module path; the package's own place is put there by hand.
_BEGIN = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('agent', run_name='__main__', alter_sys=True)"
)
# Soon after a death, later and later where deaths follow one another.
AGAIN = """
pause=0
while :; do
    began=$(date +%s)
    "$@"
    code=$?
    [ $code -eq 3 ] && exit 0
    [ $(($(date +%s) - began)) -ge 60 ] && pause=0
    if [ $pause -eq 0 ]; then sleep 0.2; pause=1; else sleep $pause; pause=$((pause * 2)); fi
    [ $pause -gt 30 ] && pause=30
done
"""
# Begins when told to, so that limits can be set before, and is nobody's child then.
DETACHED = """
pid=$1; shift
read -r go || exit 1
"$@" </dev/null &
echo $! > "$pid"
"""


def program() -> tuple[str, ...]:
    """What runs the agent here, before its arguments."""
    return (sys.executable, "-I", "-c", _BEGIN, str(agent_code()))


def agent_code() -> Path:
    """The directory that holds the package `agent`; raises ModuleNotFoundError."""
    found = importlib.util.find_spec("agent")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the package `agent` is not installed")
    return Path(found.origin).parents[1]


def arguments(url: str, token_file: str, directory: str, state: str) -> tuple[str, ...]:
    """The agent's command line after its program."""
    return ("--url", url, "--token-file", token_file, "--directory", directory, "--state", state)


def kept(argv: Sequence[str]) -> tuple[str, ...]:
    """A command that runs this one again whenever it dies."""
    return ("/bin/sh", "-c", AGAIN, "agent", *argv)


def detached(pid_file: str, argv: Sequence[str]) -> tuple[str, ...]:
    """A command that waits for a line, begins this one in the background, writes down its process id, and ends."""
    return ("/bin/sh", "-c", DETACHED, "launch", pid_file, *argv)
