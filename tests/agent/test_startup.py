"""The script of a build runs once a boot, its lines are told, and the lifecycle follows it."""

import time
from collections.abc import Callable

from tests.agent.conftest import Resident

Fresh = Callable[..., Resident]


def states(resident: Resident) -> list[str]:
    return [frame["state"] for frame in resident.outside.of("lifecycle")]


def lines(resident: Resident) -> list[str]:
    return [line["output"] for frame in resident.outside.of("log") for line in frame["lines"]]


def test_without_a_script_a_workspace_is_ready(fresh: Fresh) -> None:
    resident = fresh()
    resident.start()
    resident.outside.until(lambda: states(resident) == ["ready"])


def test_a_script_runs_with_the_builds_environment_and_its_lines_are_told(fresh: Fresh) -> None:
    resident = fresh()
    resident.outside.welcome |= {
        "startup_script": "#!/bin/sh\necho $WORD $CODER_WORKSPACE_NAME; echo err >&2; printf 'last\\303'",
        "environment": {"WORD": "hello"},
    }
    resident.start()
    resident.outside.until(lambda: "ready" in states(resident))
    assert states(resident) == ["starting", "ready"]
    assert lines(resident) == ["hello den", "err", "last\ufffd"]
    first = resident.outside.of("log")[0]["lines"][0]
    assert (first["level"], first["source"]) == ("info", "startup_script")


def test_a_script_that_fails_is_told(fresh: Fresh) -> None:
    resident = fresh()
    resident.outside.welcome["startup_script"] = "echo oops; exit 4"
    resident.start()
    resident.outside.until(lambda: states(resident)[-1] == "start_error")
    assert lines(resident) == ["oops", "The startup script ended with exit code 4."]


def test_a_slow_script_times_out_goes_on_and_may_still_succeed(fresh: Fresh) -> None:
    resident = fresh()
    resident.outside.welcome |= {"startup_script": "sleep 0.8", "startup_timeout_seconds": 0.3}
    resident.start()
    resident.outside.until(lambda: states(resident)[-1] == "ready")
    assert states(resident) == ["starting", "start_timeout", "ready"]


def test_a_script_runs_once_though_the_agent_is_killed_and_again_for_the_next_build(fresh: Fresh) -> None:
    resident = fresh()
    resident.outside.welcome["startup_script"] = "echo begun >> begun; sleep 0.5; echo done >> begun; echo said"
    resident.start()
    resident.outside.until(lambda: (resident.directory / "begun").exists())
    resident.kill()
    resident.start()
    resident.outside.until(lambda: states(resident)[-1] == "ready")
    assert (resident.directory / "begun").read_text() == "begun\ndone\n"
    assert lines(resident) == ["said"]
    before = states(resident)
    resident.kill()
    resident.start()
    resident.outside.until(lambda: states(resident).count("ready") == 2)
    assert states(resident) == [*before, "ready"]
    assert (resident.directory / "begun").read_text() == "begun\ndone\n"
    assert lines(resident) == ["said"]
    resident.kill()
    resident.outside.welcome["agent_id"] = "the next build's"
    resident.start()
    resident.outside.until(lambda: (resident.directory / "begun").read_text() == "begun\ndone\n" * 2)


def test_a_lost_connection_repeats_the_state_and_not_the_lines(fresh: Fresh) -> None:
    resident = fresh()
    resident.outside.welcome["startup_script"] = "echo once"
    resident.start()
    resident.outside.until(lambda: "ready" in states(resident))
    resident.outside.drop()
    resident.outside.until(lambda: states(resident).count("ready") == 2)
    assert lines(resident) == ["once"]


def test_lines_that_nobody_heard_are_told_when_somebody_listens(fresh: Fresh) -> None:
    resident = fresh()
    resident.outside.welcome["startup_script"] = "sleep 0.4; echo in the dark"
    resident.start()
    resident.outside.close()
    time.sleep(0.6)
    resident.outside.open()
    resident.outside.until(lambda: "ready" in states(resident))
    assert lines(resident) == ["in the dark"]


def test_a_script_that_never_stops_talking_is_told_in_part(fresh: Fresh) -> None:
    resident = fresh()
    resident.outside.welcome["startup_script"] = "yes a line of some forty characters or more | head -c 3000000"
    resident.start()
    resident.outside.until(lambda: "ready" in states(resident))
    told = lines(resident)
    assert told[0].startswith("a line")
    assert told[-1] == "[… the rest is left out …]"
    assert 2**20 <= sum(len(line) + 1 for line in told) < 2**20 + 10_000
