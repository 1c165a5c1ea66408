"""The laws of the tools for commands: waited for, read on, listed, ended; run once whoever dies."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from activities.tools import commands
from activities.tools.endings import ToolFailed
from activities.tools.execute import execute
from activities.tools.process_list import process_list
from activities.tools.process_output import process_output
from activities.tools.process_signal import process_signal
from models.settings import Settings
from models.store.database import Database
from tests.activities.workbench import Bench, settle, workbench
from tests.models.store.chats import born
from tests.seeds import World


@pytest.fixture
async def bench(settings: Settings, database: Database, seed: World, tmp_path: Path) -> AsyncIterator[Bench]:
    async with workbench(settings, database, seed, tmp_path) as opened:
        yield opened


@pytest.fixture
async def chat(bench: Bench) -> UUID:
    return await settle(bench, await born(bench.database, bench.world))


async def test_a_command_says_how_it_ended(bench: Bench, chat: UUID) -> None:
    done = await bench.use(execute, chat, command="echo hello; pwd", workdir="/")
    assert done.pop("wall_duration_ms") >= 0
    assert done == {"success": True, "output": "hello\n/\n", "exit_code": 0}
    failed = await bench.use(execute, chat, command="echo oh >&2; exit 3")
    assert (failed["success"], failed["exit_code"], failed["output"]) == (False, 3, "oh\n")
    killed = await bench.use(execute, chat, command="kill -9 $$")
    assert (killed["success"], killed["exit_code"]) == (False, 137)
    assert killed["error"] == "the process was killed by SIGKILL"
    asked = await bench.use(execute, chat, command="cat; echo $CODER_CHAT_AGENT $GIT_TERMINAL_PROMPT $TERM")
    assert asked["output"] == "true 0 dumb\n", "nobody is there to type, and it does not wait for them"


async def test_long_output_is_cut_in_the_middle_and_the_model_is_told(bench: Bench, chat: UUID) -> None:
    done = await bench.use(execute, chat, command="seq 1 100000", timeout="20s")
    assert len(done["output"].encode()) <= commands.OUTPUT_BYTES
    assert done["output"].startswith("1\n2\n")
    assert done["output"].endswith("100000\n")
    assert done["truncated"]["original_bytes"] == 588895
    assert done["truncated"]["omitted_bytes"] == 588895 - done["truncated"]["retained_bytes"]
    (bench.home / "a").write_text("x")
    assert "read_file" in (await bench.use(execute, chat, command="cat a"))["note"]


async def test_a_command_that_outlasts_its_timeout_goes_on_and_can_be_followed(bench: Bench, chat: UUID) -> None:
    heard: list[str] = []
    context = bench.context(chat, show=heard.append)
    late = await bench.use(
        execute, chat, context, command="echo begun; until [ -e go ]; do sleep 0.02; done; echo over", timeout="300ms"
    )
    assert (late["success"], late["exit_code"], late["output"]) == (False, -1, "begun\n")
    assert late["error"] == "the command timed out after 0.3 s"
    assert "".join(heard) == "begun\n"
    process = late["background_process_id"]
    looked = await bench.use(process_output, chat, process_id=process, wait_timeout="0s")
    assert (looked["success"], looked["note"], "exit_code" in looked) == (True, commands.STILL_RUNNING, False)
    (bench.home / "go").touch()
    ended = await bench.use(process_output, chat, process_id=process)
    assert (ended["success"], ended["output"], ended["exit_code"]) == (True, "begun\nover\n", 0)


async def test_commands_in_the_background_are_listed_and_ended(bench: Bench, chat: UUID) -> None:
    first = await bench.use(execute, chat, command="sleep 100", run_in_background=True)
    second = await bench.use(execute, chat, command="sleep 200 &")
    assert first["success"]
    assert "exit_code" not in second
    assert "process_output" in second["note"]
    listed = (await bench.use(process_list, chat))["processes"]
    assert [(each["command"], each["status"]) for each in listed] == [
        ("sleep 100", "running"),
        ("sleep 200", "running"),
    ]
    told = await bench.use(process_signal, chat, process_id=first["background_process_id"], signal="terminate")
    assert told["success"]
    await bench.use(process_signal, chat, process_id=second["background_process_id"], signal="kill")
    for each, code in ((first, 143), (second, 137)):
        ended = await bench.use(process_output, chat, process_id=each["background_process_id"])
        assert (ended["success"], ended["exit_code"]) == (False, code)
    gone = await bench.use(process_signal, chat, process_id=first["background_process_id"], signal="kill")
    assert not gone["success"]


async def test_what_cannot_be_run_says_why(bench: Bench, chat: UUID) -> None:
    for arguments, why in (
        ({"command": "  "}, "command is required"),
        ({"command": "&"}, "command is required"),
        ({"command": "ls", "timeout": "soon"}, 'invalid timeout: "soon" is not a duration'),
        ({"command": "ls", "timeout": "0s"}, "must be positive"),
        ({"command": "ls", "timeout": "-5s"}, "not a duration"),
        ({"command": "ls", "workdir": "/no/such"}, "does not exist"),
    ):
        with pytest.raises(ToolFailed, match=why):
            await bench.use(execute, chat, **arguments)
    with pytest.raises(ToolFailed, match="no process"):
        await bench.use(process_output, chat, process_id="5fe0b6d5-2f5a-4cd8-8a7c-0e5d3c7d8b11")
    with pytest.raises(ToolFailed, match="unsupported signal 'hup'"):
        await bench.use(process_signal, chat, process_id="x", signal="hup")


async def test_the_same_call_made_again_runs_nothing_twice(bench: Bench, chat: UUID) -> None:
    context = bench.context(chat)
    once = "echo ran >> log; echo done"
    both = await asyncio.gather(*(bench.use(execute, chat, context, command=once) for _ in range(2)))
    later = await bench.use(execute, chat, context, command=once)
    assert both[0] == both[1] == later
    assert (bench.home / "log").read_text() == "ran\n"


async def test_a_command_outlives_its_agent_and_the_api_and_its_end_is_told(bench: Bench, chat: UUID) -> None:
    context = bench.context(chat)
    words = "echo ran >> log; until [ -e go ]; do sleep 0.02; done; echo over"
    call = asyncio.create_task(bench.use(execute, chat, context, command=words, timeout="60s"))
    while not (bench.home / "log").exists():
        await asyncio.sleep(0.01)
    await bench.kill_agent()
    assert bench.api is not None
    await bench.api.stop()
    (bench.home / "go").touch()
    await bench.open_api()
    await bench.start_agent()
    done = await call
    assert (done["success"], done["output"]) == (True, "over\n")
    assert (bench.home / "log").read_text() == "ran\n"


async def test_hundreds_of_commands_run_side_by_side(bench: Bench, chat: UUID) -> None:
    done = await asyncio.gather(*(bench.use(execute, chat, command=f"echo {n}; echo x >> log{n}") for n in range(100)))
    assert [each["output"] for each in done] == [f"{n}\n" for n in range(100)]
    assert [(bench.home / f"log{n}").read_text() for n in range(100)] == ["x\n"] * 100


async def test_a_chat_that_explores_runs_its_commands_read_only_and_no_other_does(bench: Bench, chat: UUID) -> None:
    exploring = bench.context(chat, chat={"id": chat, "mode": "explore", "parent_chat_id": chat})
    looked = await bench.use(execute, chat, exploring, command="echo x > file; cat ~/file; echo $GIT_OPTIONAL_LOCKS")
    assert looked["output"].splitlines()[-1] == "0"
    assert not (bench.home / "file").exists()
    assert "note" not in looked
    plain = await bench.use(execute, chat, command="echo x > file; echo $GIT_OPTIONAL_LOCKS")
    assert plain["output"] == "\n"
    assert (bench.home / "file").exists()


def test_an_agent_that_takes_no_notice_of_read_only_is_not_believed() -> None:
    old: dict[str, Any] = {"exit_code": 0, "output": "x", "note": "It was killed."}
    assert commands.told(commands.forewarned(old))["note"] == f"{commands.UNAWARE} It was killed."
    assert commands.told(commands.forewarned({"exit_code": 0}))["note"] == commands.UNAWARE
    assert "note" not in commands.told(commands.forewarned({"exit_code": 0, "read_only": True}))


def test_waits_are_read_as_models_write_them() -> None:
    assert commands.wait_of("", name="timeout") == timedelta(seconds=10)
    assert commands.wait_of("1h30m", name="timeout") == timedelta(minutes=90)
    assert commands.wait_of("1.5s", name="timeout") == timedelta(seconds=1.5)
    assert commands.wait_of("99h", name="timeout") == timedelta(hours=4)
    assert commands.wait_of("0s", name="wait_timeout", may_be_zero=True) == timedelta()


@pytest.mark.parametrize(
    ("command", "bare"),
    [("sleep 1 &", "sleep 1"), ("a && b", None), ("a &&", None), ("x 2>&1", None), ("echo \\&", None), ("a & b", None)],
)
def test_only_an_ampersand_at_the_end_means_the_background(command: str, bare: str | None) -> None:
    assert commands.backgrounded(command) == ((bare, True) if bare else (command, False))
