"""`python -m agent`: reads the command line and the token, and runs the agent."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from agent import limits
from agent.connection import Rejected, address
from agent.residence import Agent, Occupied, Options, stop

_TOKEN = "TURNSTONE_AGENT_TOKEN"  # noqa: S105 (its name)
REJECTED, OCCUPIED = 3, 4  # exit statuses: the token is known no more; another agent is here

log = logging.getLogger(__name__)


def main(words: list[str] | None = None) -> int:
    """Run the agent as the command line says; the exit status."""
    parser = argparse.ArgumentParser(prog="agent", description="The workspace agent of Turnstone.")
    parser.add_argument("--url", help="where the API is, as in https://turnstone.example")
    parser.add_argument("--token-file", type=Path, help=f"file with the agent's token (else {_TOKEN})")
    parser.add_argument("--directory", type=Path, help="where commands begin (else what the template says, else home)")
    parser.add_argument("--state", type=Path, required=True, help="where the agent keeps what it has begun")
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER", help="narrow a limit")
    parser.add_argument("--stop", action="store_true", help="end the agent of --state and all its commands")
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    state = given.state.absolute()
    if given.stop:
        stop(state)
        return 0
    token = given.token_file.read_text().strip() if given.token_file else os.environ.get(_TOKEN, "").strip()
    if not given.url or not token:
        parser.error(f"--url and a token (--token-file or {_TOKEN}) are needed")
    try:
        address(given.url)
        asked = limits.Limits().narrowed(limits.parse(given.limit))
    except ValueError as error:
        parser.error(str(error))
    directory = given.directory.absolute() if given.directory else None
    return asyncio.run(_run(Options(given.url, token, state, directory, asked, dict(os.environ))))


async def _run(options: Options) -> int:
    try:
        await Agent(options).run()
    except Rejected:
        log.warning("the API does not know this token (any more)")
        return REJECTED
    except Occupied:
        log.warning("another agent runs on %s", options.state)
        return OCCUPIED
    return 0


if __name__ == "__main__":
    sys.exit(main())
