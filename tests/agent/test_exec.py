"""Commands end as they did, whatever they write, read, start or are."""

import time

from tests.agent.conftest import Resident
from tests.agent.outside import Outside


def test_a_command_tells_its_output_and_exit_code(agent: Resident, outside: Outside) -> None:
    told = outside.exec("echo out; echo err >&2; exit 3")
    assert told["output"] == "out\nerr\n"
    assert (told["running"], told["exit_code"], told["truncated"], told["total_bytes"]) == (False, 3, False, 8)


def test_zz_speed(agent, outside):
    r = []
    for _ in range(30):
        a = time.perf_counter()
        outside.exec("true")
        r.append((time.perf_counter() - a) * 1e3)
    r.sort()
    print("exec ms", r[0], r[15], r[-1])
    r = []
    for _ in range(30):
        a = time.perf_counter()
        outside.call("home", {})
        r.append((time.perf_counter() - a) * 1e3)
    r.sort()
    print("home ms", r[0], r[15], r[-1])
