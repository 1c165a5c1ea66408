"""The laws of sub-agents in whole turns: made once, waited for with nobody at it, reported, held to what they may."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

from models.parts import text
from models.rules import titles
from models.rules.features import Advisor
from models.rules.history import CANCELLED_BEFORE_RESULT
from models.store import advice, usage
from models.store.database import fetch
from tests.activities.mcp_place import serve
from tests.activities.stack import Stack, words_of, worker
from tests.activities.test_budgets import budget, priced, standing
from tests.activities.test_workspace_in_earnest import lived_in, until
from tests.fakes.behaviour import hidden, nested
from tests.fakes.mcp_server import running
from tests.workplace import furnish
from workflows.client import workflow_id


def call(name: str, call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "id": call_id, "arguments": arguments}


def spawn(call_id: str, kind: str = "general", **behaviour: Any) -> dict[str, Any]:
    return call("spawn_agent", call_id, type=kind, prompt=f"do {call_id} {nested(**behaviour)}", title=call_id)


def wait(call_id: str, of: str, **more: Any) -> dict[str, Any]:
    return call("wait_agent", call_id, chat_id=f"<<{of}.chat_id>>", **more)


def ask(*steps: Any) -> str:
    """A message of which the model makes these calls, a list a step; a text ends the turn."""
    behaviour: dict[str, Any] = {}
    for step in reversed(steps):
        made = {"text": step} if isinstance(step, str) else {"tool_calls": step, "tokens": 0}
        behaviour = {**made, "then": behaviour} if behaviour else made
    return hidden(f"go @fake {json.dumps(behaviour)}")


async def results(stack: Stack, chat_id: UUID) -> dict[str, Any]:
    """What came of each call of the chat, by its id."""
    parts = [row.content[0] for row in await stack.messages(chat_id) if row.role == "tool"]
    return {part["tool_call_id"]: part["result"] for part in parts}


async def children(stack: Stack, chat_id: UUID) -> list[dict[str, Any]]:
    async with stack.database.read() as session:
        query = "SELECT * FROM chats WHERE parent_chat_id = %(id)s ORDER BY title"
        return await fetch(session, query, {"id": chat_id})


async def test_five_sub_agents_work_side_by_side_and_all_their_reports_come(stack: Stack) -> None:
    five = [f"s{place}" for place in range(5)]
    text = ask(
        [spawn(each, text=f"report of {each}") for each in five],
        [wait(f"w{each}", each) for each in five],
        " ".join(f"<<w{each}.report>>" for each in five),
    )
    async with worker(stack):
        chat_id = await stack.create(text)
        chat = await stack.rest(chat_id)
        told = await results(stack, chat_id)
    assert chat.last_error is None
    assert [told[f"w{each}"]["report"] for each in five] == [f"report of {each}" for each in five]
    made = await children(stack, chat_id)
    assert [str(each["id"]) for each in made] == [told[each]["chat_id"] for each in five]
    assert {(each["status"], each["root_chat_id"], each["owner_id"]) for each in made} == {
        ("waiting", chat_id, stack.world.owner_id)
    }
    assert words_of((await stack.messages(chat_id))[-1].content) == " ".join(f"report of {each}" for each in five)


async def until_it_waits(stack: Stack, chat_id: UUID) -> None:
    """Return once the chat's run waits for a sub-agent, with nobody at it."""
    query = "SELECT FROM tool_executions WHERE chat_id = %(id)s AND progress->>'event' = 'child_over'"
    while True:
        async with stack.database.read() as session:
            if await fetch(session, query, {"id": chat_id}):
                return
        await asyncio.sleep(0.01)


async def test_who_stops_the_parent_stops_its_wait_and_not_the_sub_agent(stack: Stack) -> None:
    text = ask([spawn("s", tokens=100_000, interval_ms=10)], [wait("w", "s")], "never")
    async with worker(stack):
        chat_id = await stack.create(text)
        await until_it_waits(stack, chat_id)
        [child] = await children(stack, chat_id)
        await stack.streaming(child["id"])
        await stack.interrupt(chat_id)
        await stack.rest(chat_id)
        assert (await stack.chat(child["id"])).status == "running"
        told = (await results(stack, chat_id))["w"]
        assert told == {"error": CANCELLED_BEFORE_RESULT}, "of a wait it is known that nothing has happened"
        steer = call("interrupt_agent", "i", chat_id=str(child["id"]))
        await stack.send(chat_id, ask([steer], [call("wait_agent", "w2", chat_id=str(child["id"]))], "well"))
        await stack.rest(chat_id)
        told = await results(stack, chat_id)
    assert told["i"]["interrupted"]
    assert told["w2"]["status"] == "waiting"
    assert told["w2"]["report"].startswith("w0 w1 ")


async def test_the_end_of_a_sub_agent_wakes_its_parents_run_which_holds_no_slot_meanwhile(stack: Stack) -> None:
    text = ask([spawn("s", tokens=100_000, interval_ms=10)], [wait("w", "s")], "so")
    async with worker(stack):
        chat_id = await stack.create(text)
        await until_it_waits(stack, chat_id)
        while (explained := await stack.temporal.explain(chat_id))["pending_activities"]:
            await asyncio.sleep(0.02)
        assert explained["running"]
        [child] = await children(stack, chat_id)
        await stack.streaming(child["id"])
        await stack.interrupt(child["id"])
        await stack.rest(chat_id)
        run = stack.temporal.client.get_workflow_handle(workflow_id(chat_id), run_id=explained["run_id"])
        history = await run.fetch_history()
    signals = [event.workflow_execution_signaled_event_attributes.signal_name for event in history.events]
    assert "woken" in signals
    assert (await results(stack, chat_id))["w"]["report"].startswith("w0 ")


async def test_the_error_of_a_sub_agent_is_told_and_so_is_that_its_time_is_over(stack: Stack) -> None:
    slow: dict[str, Any] = {"tokens": 10**6, "interval_ms": 20}
    text = ask(
        [spawn("bad", status=400, error_type="invalid_request_error", message="no"), spawn("slow", **slow)],
        [wait("wbad", "bad"), wait("wslow", "slow", timeout_seconds=1)],
        [call("interrupt_agent", "i", chat_id="<<slow.chat_id>>")],
        "well",
    )
    async with worker(stack):
        chat_id = await stack.create(text)
        chat = await stack.rest(chat_id)
        told = await results(stack, chat_id)
    assert (chat.status, chat.last_error) == ("waiting", None)
    assert (told["wbad"]["status"], told["wbad"]["report"]) == ("error", "")
    assert {"message", "kind", "retryable"} <= told["wbad"]["last_error"].keys()
    assert (told["wslow"]["status"], told["wslow"]["timed_out"]) == ("running", True)
    assert told["i"]["interrupted"]


async def test_who_explores_changes_nothing_and_gains_nothing_by_trying(stack: Stack, tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        fixed = await serve(stack, server.url)
        await serve(stack, server.url, slug="late", availability="force_on", enabled=False)
        tries = [
            call("write_file", "write", path="/x", content="x"),
            call("edit_files", "edit", files=[]),
            call("process_signal", "signal", process_id="1", signal="kill"),
            call("create_workspace", "create", template_id=str(fixed)),
            call("start_workspace", "start"),
            call("spawn_agent", "spawn", type="general", prompt="go on"),
            call("message_agent", "message", chat_id=str(fixed), message="go on"),
            call("late__echo", "late", words="hi"),
            call("fake__echo", "fake", words="hi"),
            call("execute", "run", command="echo x > written; rm AGENTS.md; mkdir made; echo tried"),
            call("execute", "left", command="echo x > left; echo tried", run_in_background=True),
        ]
        read_on = [call("process_output", "on", process_id="<<left.background_process_id>>")]
        behaviour = {"tool_calls": tries, "tokens": 0, "then": {"tool_calls": read_on, "tokens": 0, "then": {}}}
        text = ask([spawn("s", "explore", **behaviour)], [wait("w", "s")], "so")
        place = await furnish(stack.database, stack.world.owner_id, stack.world.organization_id)
        async with lived_in(stack, place, tmp_path) as home, worker(stack):
            await until(stack, "SELECT 1 AS here FROM workspace_agents WHERE git IS NOT NULL")
            chat_id = await stack.create(text, mcp_server_ids=[fixed], workspace_id=place.workspace_id)
            [child] = await until_children(stack, chat_id)
            async with stack.database.begin() as session:
                await fetch(session, "UPDATE mcp_server_configs SET enabled = true")
            await stack.rest(chat_id)
            told = await results(stack, child["id"])
            lying = {path.name for path in home.iterdir()}
    for ran, failed in ((told.pop("run"), 3), (told.pop("on"), 1)):
        assert (ran["output"].splitlines()[-1], ran["output"].count("ermission denied")) == ("tried", failed), ran
        assert "note" not in ran, "what it tried was prevented"
    assert told.pop("left")["success"]
    assert lying == {"AGENTS.md", ".agents", "site"}
    assert told.pop("fake") == {"output": "hi"}
    refused = {name: result["error"] for name, result in told.items()}
    assert len(refused) == len(tries) - 3
    assert all("not active in this turn" in error or "not found" in error for error in refused.values()), refused
    assert len(await children(stack, chat_id)) == 1
    assert not await children(stack, child["id"])
    asked = next(each for each in stack.fake.received if "explore-mode" in json.dumps(each.body["messages"]))
    names = {tool["function"]["name"] for tool in asked.body["tools"]}
    mine = {name for name in names if "__" not in name}
    skills = {"read_skill", "read_skill_file"}
    assert mine == {"read_file", "execute", "process_output", "current_time", "fetch_url"} | skills


async def until_children(stack: Stack, chat_id: UUID) -> list[dict[str, Any]]:
    while not (made := await children(stack, chat_id)):
        await asyncio.sleep(0.01)
    return made


async def test_what_a_family_costs_adds_up_to_the_micro_and_counts_in_its_roots_budget(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 10_000_000)
    text = ask([spawn(f"s{n}", "explore", tokens=3 + n) for n in range(3)], [wait("w", "s0")], "so")
    async with worker(stack):
        chat_id = await stack.create(text)
        await stack.rest(chat_id)
        made = await children(stack, chat_id)
        for child in made:
            await stack.rest(child["id"])
    costs = {}
    for each in (chat_id, *(child["id"] for child in made)):
        costs[each] = sum(row.total_cost_micros or 0 for row in await stack.messages(each))
    async with stack.database.read() as session:
        shown = await usage.of_chat(session, chat_id)
    assert all(costs.values())
    assert shown["total_cost_micros"] == sum(costs.values())
    held = await standing(stack)
    assert (held["settled_micros"], held["reserved_micros"]) == (sum(costs.values()), 0)


async def test_sub_agents_advice_and_titles_are_all_in_the_cost_of_the_root_to_the_micro(stack: Stack) -> None:
    await priced(stack)
    await budget(stack, 10_000_000)
    async with stack.database.begin() as session:
        await advice.configure(session, Advisor(enabled=True))
    words = ask(
        [call("advisor", "a", question=f"which way? {nested(tokens=4)}")],
        [spawn("s0", tokens=3), spawn("s1", "explore", tokens=5)],
        [wait("w0", "s0"), wait("w1", "s1")],
        "so",
    )
    family = "chat_id IN (SELECT id FROM chats WHERE %(id)s IN (id, root_chat_id))"
    query = f"SELECT * FROM chat_messages WHERE input_tokens > 0 AND {family}"
    async with worker(stack):
        chat_id = await stack.create(words, title=titles.fallback([text(words)]))
        await stack.rest(chat_id)
        while True:  # titles and labels are sought beside the turns
            async with stack.database.read() as session:
                rows = await fetch(session, query, {"id": chat_id})
            held = await standing(stack)
            if len(rows) == len(stack.fake.received) and not held["reserved_micros"]:
                break
            await asyncio.sleep(0.05)
    assert (await results(stack, chat_id))["a"]["type"] == "advice"
    assert len([row for row in rows if row["deleted"]]) > 1, "advice, and titles"
    paid = [3 * row["input_tokens"] + 15 * row["output_tokens"] for row in rows]
    assert [row["total_cost_micros"] for row in rows] == paid
    async with stack.database.read() as session:
        shown = await usage.of_chat(session, chat_id)
    assert shown["total_cost_micros"] == sum(paid)
    assert (held["settled_micros"], held["estimated_micros"]) == (sum(paid), 0)


async def test_sub_agents_work_in_the_slot_of_their_root_however_few_there_are(stack: Stack) -> None:
    more = {"turns_per_user": 1, "turns_per_organization": 1, "model_slots": 1, "tool_slots": 1, "head_starts": False}
    stack.settings = stack.settings.model_copy(update=more)
    text = ask([spawn(f"s{n}", tokens=3) for n in range(3)], [wait(f"w{n}", f"s{n}") for n in range(3)], "so")
    async with worker(stack):
        chat_id = await stack.create(text)
        assert (await stack.rest(chat_id)).last_error is None
        told = await results(stack, chat_id)
    assert [told[f"w{n}"]["report"].split() for n in range(3)] == [["w0", "w1", "w2"]] * 3
