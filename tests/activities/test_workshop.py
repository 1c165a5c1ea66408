"""What a tool is told of a workspace that is not there, comes late, is built anew or is lost (runtime.md 11.3)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from activities import workshop
from activities.tools.endings import Event, ToolFailed, ToolUnknown
from activities.tools.execute import execute
from activities.tools.read_file import read_file
from activities.workshop import Patience, Workshop
from models.rules.history import CANCELLED_BEFORE_RESULT, CONTEXT_PARTS
from models.rules.tool_results import UNKNOWN_AFTER_STOP
from models.settings import Settings
from models.store import mailbox
from models.store.database import Database, fetch
from models.store.notices import JobNotice
from tests.activities.stack import Stack, worker
from tests.activities.test_use_tools import calls
from tests.activities.workbench import Bench, settle, workbench
from tests.fakes.behaviour import Behaviour
from tests.models.store.chats import born
from tests.seeds import World
from tests.workplace import rebuild

SHORT = Patience(validation=0.1, dial=0.4, attention=0.1, lost=0.3)


@pytest.fixture
async def bench(settings: Settings, database: Database, seed: World, tmp_path: Path) -> AsyncIterator[Bench]:
    """Without an agent, and with little patience."""
    async with workbench(settings, database, seed, tmp_path, agent=False) as opened:
        opened.workshop = Workshop(database, opened.workshop.mailbox, SHORT)
        yield opened


@pytest.fixture
async def chat(bench: Bench) -> UUID:
    return await born(bench.database, bench.world)


async def why(bench: Bench, chat: UUID) -> str:
    """What the model is told when it runs a command, which surely did not run."""
    with pytest.raises(ToolFailed) as told:
        await bench.use(execute, chat, command="echo ran >> log")
    return str(told.value)


async def test_without_a_place_to_work_in_the_model_is_told_which_tool_helps(bench: Bench, chat: UUID) -> None:
    assert await why(bench, chat) == workshop.NO_WORKSPACE
    await settle(bench, chat)
    await bench.change("UPDATE workspaces SET deleted = true")
    assert await why(bench, chat) == workshop.DELETED
    await bench.change("UPDATE workspaces SET deleted = false")
    for stopped in ("transition = 'stop'", "transition = 'start', status = 'failed'", "status = 'canceled'"):
        await bench.change(f"UPDATE workspace_builds SET {stopped}")
        assert await why(bench, chat) == workshop.NO_AGENT
    await bench.change("UPDATE workspace_builds SET status = 'succeeded'")
    await bench.change(
        "INSERT INTO workspace_agents (id, build_id, workspace_id, name, hashed_token, sealed_token)"
        " SELECT gen_random_uuid(), build_id, workspace_id, n || '-Coderd-Chat', n::bytea, ''"
        " FROM workspace_agents, unnest(ARRAY['a', 'b']) AS n"
    )
    assert "a-Coderd-Chat, b-Coderd-Chat" in await why(bench, chat)
    assert await bench.rows("SELECT id FROM agent_jobs") == []


async def test_an_agent_that_does_not_come_is_told_by_what_is_known_of_it(bench: Bench, chat: UUID) -> None:
    await settle(bench, chat)
    late = "last_seen_at = NULL, created_at = now() - interval '1 hour'"
    for known, said in (
        ("last_seen_at = NULL", workshop.TIMED_OUT),
        (late, workshop.DISCONNECTED),
        ("last_seen_at = now() - interval '1 minute'", workshop.DISCONNECTED),
        ("external = true", workshop.EXTERNAL),
    ):
        await bench.change(f"UPDATE workspace_agents SET {known}")
        assert await why(bench, chat) == f"{said} {workshop.UNSENT}"
    assert {row["state"] for row in await bench.rows("SELECT state FROM agent_jobs")} == {"canceled"}
    await bench.change("UPDATE workspace_agents SET external = false")
    await bench.start_agent()
    assert not (bench.home / "log").exists(), "what was taken back is never run"


async def test_a_command_that_was_not_sent_goes_to_the_agent_of_the_next_build(bench: Bench, chat: UUID) -> None:
    bench.workshop = Workshop(bench.database, bench.workshop.mailbox, Patience(validation=0.1, dial=60))
    await settle(bench, chat)
    call = asyncio.create_task(bench.use(execute, chat, command="echo ran >> log"))
    await bench.until("j.kind = 'exec' AND j.state = 'queued'")
    later = await rebuild(bench.database, bench.place)
    await bench.start_agent(later)
    assert (await call)["success"]
    assert (bench.home / "log").read_text() == "ran\n"
    [bound] = await bench.rows("SELECT build_id, agent_id FROM chats")
    assert bound == {"build_id": later.build_id, "agent_id": later.agent_id}


async def test_a_workspace_that_is_worked_in_is_not_stopped_meanwhile(bench: Bench, chat: UUID) -> None:
    await settle(bench, chat)
    await bench.start_agent()
    await bench.change(
        "UPDATE workspaces SET ttl_ms = 7200000, deadline_at = now() + interval '5 minutes',"
        " last_used_at = now() - interval '2 hours'"
    )
    await bench.use(execute, chat, command="true")
    [row] = await bench.rows(
        "SELECT deadline_at > now() + interval '50 minutes' AS put_off,"
        " last_used_at > now() - interval '1 minute' AS used"
        " FROM workspaces"
    )
    assert row == {"put_off": True, "used": True}


async def test_of_a_command_whose_agent_is_lost_nobody_claims_to_know(bench: Bench, chat: UUID) -> None:
    await settle(bench, chat)
    await bench.start_agent()
    context = bench.context(chat)
    words = "echo ran >> log; until [ -e go ]; do sleep 0.02; done"
    call = asyncio.create_task(bench.use(execute, chat, context, command=words, timeout="60s"))
    while not (bench.home / "log").exists():
        await asyncio.sleep(0.01)
    await bench.kill_agent()
    with pytest.raises(ToolUnknown) as told:
        await call
    assert str(told.value) == workshop.AWAY
    with pytest.raises(ToolFailed, match="disconnected"):
        await bench.use(read_file, chat, path="log")
    (bench.home / "go").touch()
    await bench.start_agent()
    await bench.until("j.kind = 'exec' AND j.state = 'done'")
    assert (await bench.use(execute, chat, context, command=words))["exit_code"] == 0, "its end is known after all"
    assert (bench.home / "log").read_text() == "ran\n"


async def test_of_a_command_in_a_workspace_that_is_built_anew_nobody_claims_to_know(bench: Bench, chat: UUID) -> None:
    await settle(bench, chat)
    await bench.start_agent()
    call = asyncio.create_task(bench.use(execute, chat, command="echo ran >> log; sleep 60", timeout="60s"))
    while not (bench.home / "log").exists():
        await asyncio.sleep(0.01)
    await rebuild(bench.database, bench.place)
    with pytest.raises(ToolUnknown) as told:
        await call
    assert str(told.value) == workshop.REBUILT


# Whole turns: a worker, Temporal, and a model that calls tools.


async def results(stack: Stack, chat_id: UUID) -> list[dict[str, Any]]:
    """The results of the chat's calls, in order."""
    return [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]


@pytest.fixture
async def site(stack: Stack, tmp_path: Path) -> AsyncIterator[Bench]:
    """A workspace in the world of the stack; its agent is to be started."""
    async with workbench(stack.settings, stack.database, stack.world, tmp_path, agent=False) as opened:
        yield opened


async def begin(stack: Stack, site: Bench, words: str, **arguments: Any) -> UUID:
    """A chat in that workspace whose model runs this command."""
    stack.fake.script(calls(("execute", {"command": words, **arguments})))
    chat_id = await settle(site, await stack.create("go", signal=""))
    chat = await stack.chat(chat_id)
    await stack.temporal.nudge(chat_id, chat.owner_id, chat.snapshot_version)
    return chat_id


async def test_a_worker_that_dies_leaves_the_command_to_the_next_which_tells_its_end(stack: Stack, site: Bench) -> None:
    await site.start_agent()
    async with worker(stack):
        words = "echo ran >> log; until [ -e go ]; do sleep 0.02; done; echo over"
        chat_id = await begin(stack, site, words, timeout="60s", model_intent="Waiting")
        await site.until("j.kind = 'exec' AND j.state = 'delivered'")
    async with worker(stack):
        while not await site.rows("SELECT 1 AS found FROM tool_executions WHERE attempt = 2"):
            await asyncio.sleep(0.01)
        (site.home / "go").touch()
        await stack.rest(chat_id)
    [told] = await results(stack, chat_id)
    assert told["result"]["output"] == "over\n"
    assert (site.home / "log").read_text() == "ran\n"
    asked = next(row.content[-1] for row in await stack.messages(chat_id) if row.role == "assistant")
    assert asked["parsed_commands"] == [["echo", "ran"], ["[", "go"], ["sleep", "0.02"], ["echo", "over"]]


async def test_a_stop_takes_back_what_was_not_sent_and_ends_what_runs(stack: Stack, site: Bench) -> None:
    async with worker(stack):
        unsent = await begin(stack, site, "echo ran >> log")
        await site.until("j.kind = 'exec' AND j.state = 'queued'")
        await stack.interrupt(unsent)
        await stack.rest(unsent)
        [told] = await results(stack, unsent)
        assert (told["is_error"], told["result"]) == (True, {"error": CANCELLED_BEFORE_RESULT})
        commands = await site.rows("SELECT state FROM agent_jobs WHERE kind = 'exec'")
        assert [row["state"] for row in commands] == ["canceled"]
        await site.start_agent()
        words = "trap 'echo stopped >> log; exit 1' TERM; touch up; while :; do sleep 0.02; done"
        sent = await begin(stack, site, words)
        while not (site.home / "up").exists():
            await asyncio.sleep(0.01)
        await stack.interrupt(sent)
        await stack.rest(sent)
        [told] = await results(stack, sent)
        assert told["result"] == {"error": UNKNOWN_AFTER_STOP, "outcome": "unknown"}
        await site.until("j.kind = 'exec' AND j.state = 'done'")
    assert (site.home / "log").read_text() == "stopped\n", "the first command never ran"


async def test_a_long_command_holds_no_worker_and_is_taken_up_when_it_ends(stack: Stack, site: Bench) -> None:
    await site.start_agent()
    async with worker(stack, patience=Patience(attended=0.3)):
        words = "echo ran >> log; until [ -e go ]; do sleep 0.02; done; echo over"
        chat_id = await begin(stack, site, words, timeout="2h")
        query = "SELECT progress FROM tool_executions WHERE progress IS NOT NULL"
        while not (paused := await site.rows(query)):
            await asyncio.sleep(0.02)
        assert (paused[0]["progress"]["event"], paused[0]["progress"]["why"]) == (Event.JOB_OVER, "a long command")
        await site.change("UPDATE agent_jobs SET delivered_at = delivered_at - interval '10 minutes'")
        (site.home / "go").touch()
        await stack.rest(chat_id)
    [told] = await results(stack, chat_id)
    assert told["result"]["output"] == "over\n"
    assert (site.home / "log").read_text() == "ran\n"


async def test_what_a_command_that_nobody_attends_to_says_is_seen_all_the_same(stack: Stack, site: Bench) -> None:
    await site.start_agent()
    patience = Patience(attended=0.3)
    query = (
        "SELECT s.history_version, s.generation_attempt, s.seq, s.role, s.part->>'result_delta' AS said"
        " FROM stream_log s JOIN chats c ON c.id = s.chat_id AND c.generation_attempt = s.generation_attempt"
        " AND c.history_version = s.history_version ORDER BY s.seq"
    )
    words = "echo first; until [ -e go ]; do sleep 0.02; done; echo alone; until [ -e end ]; do sleep 0.02; done"
    async with worker(stack, patience=patience):
        chat_id = await begin(stack, site, words, timeout="2h")
        while not await site.rows("SELECT 1 AS found FROM tool_executions WHERE progress IS NOT NULL"):
            await asyncio.sleep(0.02)
    (site.home / "go").touch()
    while (seen := await site.rows(query))[-1]["said"] != "alone\n":
        await asyncio.sleep(0.02)
    assert [row["seq"] for row in seen] == [*range(1, len(seen) + 1)]
    assert "".join(row["said"] for row in seen) == "first\nalone\n"
    assert {row["role"] for row in seen} == {"tool"}
    [job] = await site.rows("SELECT id FROM agent_jobs WHERE kind = 'exec'")
    async with stack.database.begin() as session:
        await fetch(session, "UPDATE chats SET generation_attempt = generation_attempt + 1")
        assert await mailbox.said(session, JobNotice(job["id"], 12, "x")) is None, "somebody attends to it again"
    async with worker(stack, patience=patience):
        await site.change("UPDATE agent_jobs SET delivered_at = delivered_at - interval '10 minutes'")
        (site.home / "end").touch()
        await stack.rest(chat_id)
    [told] = await results(stack, chat_id)
    assert told["result"]["output"] == "first\nalone\n"


async def test_a_stop_ends_a_command_that_nobody_attends_to(stack: Stack, site: Bench) -> None:
    await site.start_agent()
    async with worker(stack, patience=Patience(attended=0.1)):
        chat_id = await begin(stack, site, "echo ran >> log; sleep 600", timeout="2h")
        while not await site.rows("SELECT 1 AS found FROM tool_executions WHERE progress IS NOT NULL"):
            await asyncio.sleep(0.02)
        await stack.interrupt(chat_id)
        await stack.rest(chat_id)
        await site.until("j.kind = 'exec' AND j.state = 'done'")
    [told] = await results(stack, chat_id)
    assert told["result"] == {"error": UNKNOWN_AFTER_STOP, "outcome": "unknown"}
    [row] = await site.rows("SELECT result->>'exit_code' AS code FROM agent_jobs WHERE kind = 'exec'")
    assert row["code"] == "143"


async def test_what_a_command_says_is_seen_while_it_runs_and_is_no_result_of_one_that_was_stopped(
    stack: Stack, site: Bench
) -> None:
    await site.start_agent()
    async with worker(stack):
        chat_id = await begin(stack, site, "echo half; sleep 60", timeout="60s")
        seen = "SELECT part FROM stream_log WHERE part ? 'result_delta'"
        while not (said := await site.rows(seen)):
            await asyncio.sleep(0.02)
        assert said[0]["part"]["result_delta"] == "half\n"
    await stack.interrupt(chat_id)
    async with worker(stack):
        await stack.rest(chat_id)
    [told] = await results(stack, chat_id)
    assert told["result"] == {"error": UNKNOWN_AFTER_STOP, "outcome": "unknown"}


async def test_a_file_that_is_attached_is_a_part_beside_its_result(stack: Stack, site: Bench) -> None:
    await site.start_agent()
    path = str(site.home / "a.md")
    (site.home / "a.md").write_text("# hello")
    stack.fake.script(calls(("attach_file", {"path": path})), Behaviour(text="There."))
    async with worker(stack):
        chat_id = await settle(site, await stack.create("go", signal=""))
        chat = await stack.chat(chat_id)
        await stack.temporal.nudge(chat_id, chat.owner_id, chat.snapshot_version)
        await stack.rest(chat_id)
    [parts] = [row.content for row in await stack.messages(chat_id) if row.role == "tool"]
    assert [part["type"] for part in parts] == ["tool-result", "file"]
    assert parts[1]["file_id"] == parts[0]["result"]["file_id"]
    said = [
        row.role
        for row in await stack.messages(chat_id)
        if not (row.role == "user" and row.content[0]["type"] in CONTEXT_PARTS)
    ]
    assert said == ["user", "assistant", "tool", "assistant"]


async def test_a_plan_or_a_question_ends_the_turn(stack: Stack) -> None:
    options = [{"label": "a", "description": "x"}, {"label": "b", "description": "y"}]
    question = {"header": "Which", "question": "Which one?", "options": options}
    stack.fake.script(
        calls(("ask_user_question", {"questions": [{**question, "options": options[:1]}]})),
        calls(("ask_user_question", {"questions": [question]})),
    )
    async with worker(stack):
        chat_id = await stack.create("plan it", plan_mode="plan")
        chat = await stack.rest(chat_id)
    assert chat.status == "waiting"
    wrong, right = await results(stack, chat_id)
    assert wrong["result"] == {"error": "questions[0].options: 2 to 4 are required, got 1"}
    assert right["result"] == {"questions": [question]}
    assert len(stack.fake.received) == 2
