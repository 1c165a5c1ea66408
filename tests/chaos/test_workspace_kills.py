"""Whoever is killed while a chat works in its workspace: each command ran at most once, and what is told of it is true.

TURNSTONE_TEST_KILLS sets how many kills of each kind are made (2 without it: the ring must end in minutes).
"""

import asyncio
import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.chaos.api import CHATS
from tests.chaos.stack import CHAOS, Stack, ask, eventually

KILLS = int(os.environ.get("TURNSTONE_TEST_KILLS", "2"))
pytestmark = [*CHAOS[:-1], pytest.mark.timeout(240 + 30 * KILLS)]  # of two marks the first would hold
STEPS, CALLS = 3, 3  # of a turn, and of a step


@pytest_asyncio.fixture(loop_scope="session")
async def workplace(stack: Stack) -> str:
    """A chat whose workspace is there, made by its own tool."""
    async with stack.api() as api:
        templates = await api.get("/api/v2/templates")
    local = next(each["id"] for each in templates if each["name"] == "local")
    call = {"name": "create_workspace", "arguments": {"template_id": local}, "id": "call_make"}
    chat_id = await stack.create(ask("work", tool_calls=[call], tokens=0, then={"tokens": 1}))
    made = results(await stack.rest(chat_id))["call_make"]
    assert made["created"], made
    return chat_id


def results(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What came of each call, by its id."""
    parts = [message["content"][0] for message in messages if message["role"] == "tool"]
    return {part["tool_call_id"]: part["result"] for part in parts}


def turn(round_: int, marks: Path) -> tuple[str, list[str]]:
    """A message that has the model run commands in several steps; each leaves a line as it begins and as it ends."""
    names = [[f"r{round_}s{step}c{call}" for call in range(CALLS)] for step in range(STEPS)]
    behaviour: dict[str, Any] = {"tokens": 1}
    for step in reversed(names):
        calls = [
            {
                "name": "execute",
                "arguments": {
                    "command": f"echo {name} >> {marks}; sleep 0.{random.randint(0, 9)}; echo said-{name}",
                    "timeout": "60s",
                },
                "id": f"call_{name}",
            }
            for name in step
        ]
        behaviour = {"tool_calls": calls, "tokens": 0, "then": behaviour}
    return ask("go on", **behaviour), [name for step in names for name in step]


def processes(stack: Stack, what: str) -> list[int]:
    """Processes of workspaces whose command line has these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if what in line and str(stack.facts["api_url"]).rpartition(":")[2]:
                    found.append(int(entry.name))
    return found


async def strike(stack: Stack, victim: str, marks: Path) -> None:
    """Kill one of a kind, if there is one now."""
    if victim in ("worker", "api"):
        await stack.kill(victim, random.choice(stack.pids(victim)))
        return
    pids = processes(stack, "-m agent" if victim == "agent" else f">> {marks}")
    for pid in random.sample(pids, min(1, len(pids))):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["worker", "api", "agent", "command"])
async def test_no_command_runs_twice_and_what_is_told_is_true(
    stack: Stack, workplace: str, tmp_path: Path, victim: str
) -> None:
    marks = tmp_path / "marks"
    marks.touch()
    for round_ in range(KILLS):
        text, names = turn(round_, marks)
        await stack.send(workplace, text)
        await asyncio.sleep(random.uniform(0, 1.5))
        await strike(stack, victim, marks)
        told = results(await stack.rest(workplace))
        ran = marks.read_text().split()
        for name in names:
            times, outcome = ran.count(name), told[f"call_{name}"]
            assert times <= 1, f"{name} ran {times} times: {outcome}"
            if outcome.get("success"):
                assert times == 1, outcome
                assert f"said-{name}" in outcome["output"], outcome
            elif victim in ("worker", "api"):
                raise AssertionError(f"{name} failed although nothing of its was killed: {outcome}")
            else:
                assert outcome.get("outcome") == "unknown" or outcome.get("exit_code") or outcome.get("error"), outcome
        await eventually(stack.is_whole, "the stack is whole")


async def test_the_commands_of_a_chat_outlive_everything_but_their_workspace(
    stack: Stack, workplace: str, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    arguments = {"command": f"sleep 3; echo once >> {marks}; echo survived", "timeout": "90s"}
    call = {"name": "execute", "arguments": arguments, "id": "call_long"}
    await stack.send(workplace, ask("long", tool_calls=[call], tokens=0, then={"tokens": 1}))
    await eventually(lambda: _true(bool(processes(stack, f">> {marks}"))), "the command runs")
    for role in ("worker", "api"):
        await stack.kill(role, *stack.pids(role))
    for pid in processes(stack, "-m agent"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    outcome = results(await stack.rest(workplace))["call_long"]
    assert outcome["success"], json.dumps(outcome)
    assert outcome["output"] == "survived\n"
    assert marks.read_text() == "once\n"


async def _true(value: bool) -> bool:
    return value


async def test_a_stop_takes_the_command_down_and_says_that_nobody_knows(
    stack: Stack, workplace: str, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    arguments = {"command": f"echo began >> {marks}; sleep 600; echo ended >> {marks}", "timeout": "20m"}
    call = {"name": "execute", "arguments": arguments, "id": "call_stopped"}
    await stack.send(workplace, ask("stop", tool_calls=[call], tokens=0, then={"tokens": 1}))
    await eventually(lambda: _true(marks.exists()), "the command began")
    async with stack.api() as api:
        await api.post(f"{CHATS}/{workplace}/interrupt", {})
    outcome = results(await stack.rest(workplace))["call_stopped"]
    assert outcome["outcome"] == "unknown"
    await eventually(lambda: _true(not processes(stack, f">> {marks}")), "the command is gone")
    assert marks.read_text() == "began\n"
