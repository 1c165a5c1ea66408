"""What a workspace's tools cost over the work that they do, and what many that wait hold."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import dict_row

from benchmarks import machine
from benchmarks.bench import Bench, leave
from benchmarks.chats import CHATS, Chat
from benchmarks.figures import NONE, Figure, ms, percentile, under

CALLS = 20  # of each tool in one turn
WAITING = 500
LONG = 40  # seconds that they wait
PATIENCE = 300.0  # seconds for all of them to end
TOOLS: dict[str, dict[str, Any]] = {
    "execute": {"command": "true"},
    "read_file": {"path": "notes.txt"},
    "write_file": {"path": "notes.txt", "content": "a line\n" * 40},
}


async def tools(bench: Bench) -> None:
    """One call a step in a local workspace: claim to result in the ledger, less the command's own time."""
    [chat] = await bench.service.chats(1)
    await _workspace(bench, chat)
    await chat.turn(**_steps([("write_file", TOOLS["write_file"])]))
    for name, arguments in TOOLS.items():
        await chat.turn(**_steps([(name, arguments)] * CALLS))
        rows = await _rows(bench, chat.id, name)
        own = [float(row["result"]["result"].get("wall_duration_ms") or 0) / 1000 for row in rows]
        times = [row["seconds"] - took for row, took in zip(rows, own, strict=True)]
        for share, budgets in ((50, under(25) if name == "execute" else NONE), (95, NONE)):
            bench.report.add(
                Figure(
                    f"round trip of the tool {name} over its own work, p{share}",
                    "ms",
                    ms(percentile(times, share)),
                    samples=len(times),
                    note="claimed in the ledger → result in the ledger, local agent",
                    budgets=budgets,
                )
            )
    await leave([chat])


async def waiting(bench: Bench) -> None:
    """Commands that take long, one in each of many chats: what the worker holds meanwhile, and whether all end."""
    chats = await bench.service.chats(WAITING)
    place = await _workspace(bench, chats[0])
    async with _client(bench) as client:
        for chat in chats[1:]:
            await _bind(client, chat, place)
    before = machine.memory(bench.stack.processes()["worker"])
    steps = _steps([("execute", {"command": f"sleep {LONG}", "timeout": "5m"})])
    most, peak = await _together(bench, chats, steps, "SELECT count(*) FROM agent_jobs WHERE state = 'delivered'")
    wrong = 0
    for chat in chats:
        rows = await _rows(bench, chat.id, "execute")
        wrong += sum(not row["result"]["result"].get("success") for row in rows) + (not rows)
    note = f"{most} at once; {wrong} did not end well; {before.pss:.0f} MiB before"
    bench.report.add(
        Figure(f"memory of a worker with {WAITING} commands waiting", "MiB", peak, samples=WAITING, note=note)
    )
    await leave(chats)


async def builds(bench: Bench) -> None:
    """Workspaces on people's own hosts, all started at once by the tool of their chats; their agents never come."""
    chats = await bench.service.chats(WAITING)
    body = {"name": "elsewhere", "provisioner": "external", "version": {"spec": {"agents": [{"name": "main"}]}}}
    async with _client(bench) as client:
        organization = bench.stack.facts["organization_id"]
        answered = await client.post(f"/api/v2/organizations/{organization}/templates", json=body)
        answered.raise_for_status()
    await _stopped_places(bench, answered.json(), chats)
    before = machine.memory(bench.stack.processes()["worker"])
    waiting = "SELECT count(*) FROM tool_executions WHERE state = 'claimed' AND progress ? 'until'"
    most, peak = await _together(bench, chats, _steps([("start_workspace", {})]), waiting)
    wrong = 0
    for chat in chats:
        rows = await _rows(bench, chat.id, "start_workspace")
        wrong += [row["result"]["result"].get("agent_status") for row in rows] != ["not_ready"]
    took = await _numbers(
        bench,
        "SELECT extract(epoch FROM completed_at - created_at)::float FROM workspace_builds"
        " WHERE build_number = 2 AND reason = 'chat' AND status = 'succeeded'",
    )
    note = f"{most} at once; {wrong} did not end as documented; {before.pss:.0f} MiB before"
    bench.report.add(
        Figure(f"memory of a worker with {WAITING} builds waiting", "MiB", peak, samples=WAITING, note=note)
    )
    note = "no work for the provisioner: row committed → row ended"
    for share in (50, 95):
        name = f"time of a build, {WAITING} begun at once, p{share}"
        bench.report.add(Figure(name, "ms", ms(percentile(took, share)), samples=len(took), note=note))
    await leave(chats)


def _client(bench: Bench) -> httpx.AsyncClient:
    facts = bench.stack.facts
    headers = {"Coder-Session-Token": facts["admin_token"]}
    return httpx.AsyncClient(base_url=facts["api_url"], headers=headers, timeout=60)


async def _stopped_places(bench: Bench, template: dict[str, Any], chats: list[Chat]) -> None:
    """Each chat works in a workspace of its own, which has been stopped and is called as the chat is."""
    given = {
        "chats": [UUID(chat.id) for chat in chats],
        "template": UUID(template["id"]),
        "version": UUID(template["active_version_id"]),
    }
    async with await psycopg.AsyncConnection.connect(bench.stack.facts["database_url"], autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO workspaces (id, owner_id, organization_id, template_id, name)"
            " SELECT id, owner_id, organization_id, %(template)s, 'w' || left(md5(id::text), 20) FROM chats"
            " WHERE id = ANY(%(chats)s)",
            given,
        )
        await connection.execute(
            "INSERT INTO workspace_builds (id, workspace_id, template_version_id, build_number, transition, status)"
            " SELECT gen_random_uuid(), id, %(version)s, 1, 'stop', 'succeeded' FROM unnest(%(chats)s) AS id",
            given,
        )
        await connection.execute("UPDATE chats SET workspace_id = id WHERE id = ANY(%(chats)s)", given)


async def _bind(client: httpx.AsyncClient, chat: Chat, workspace_id: str) -> None:
    answered = await client.patch(f"{CHATS}/{chat.id}", json={"workspace_id": workspace_id})
    answered.raise_for_status()


async def _together(bench: Bench, chats: list[Chat], steps: dict[str, Any], counted: str) -> tuple[int, float]:
    """Run a turn in each chat at once; the most that were counted, and the most memory that the worker held."""
    for chat in chats:
        await chat.ready()
    turns = [asyncio.create_task(chat.begin("@fake", **steps).end(PATIENCE)) for chat in chats]
    most, peak = 0, 0.0
    while any(not turn.done() for turn in turns):
        await asyncio.sleep(2)
        [count] = await _numbers(bench, counted)
        most = max(most, int(count))
        peak = max(peak, machine.memory(bench.stack.processes()["worker"]).pss)
    await asyncio.gather(*turns)
    return most, peak


async def _numbers(bench: Bench, query: str) -> list[float]:
    """The first column of what the query finds."""
    async with await psycopg.AsyncConnection.connect(bench.stack.facts["database_url"], autocommit=True) as connection:
        cursor = await connection.execute(query.encode())
        return [float(row[0]) for row in await cursor.fetchall()]


def _steps(calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """A turn that makes these calls, one a step."""
    behaviour: dict[str, Any] = {"tokens": 1}
    for place, (name, arguments) in reversed(list(enumerate(calls))):
        call = {"name": name, "arguments": arguments, "id": f"call_{place}"}
        behaviour = {"tool_calls": [call], "tokens": 0, "then": behaviour}
    return {"answers": len(calls) + 1, **behaviour}


async def _workspace(bench: Bench, chat: Chat) -> str:
    """A workspace of the local template, made by the chat's own tool; its id."""
    async with await psycopg.AsyncConnection.connect(bench.stack.facts["database_url"], autocommit=True) as connection:
        cursor = await connection.execute("SELECT id FROM templates WHERE name = 'local'")
        row = await cursor.fetchone()
        assert row is not None
        await chat.turn(**_steps([("create_workspace", {"template_id": str(row[0])})]))
        cursor = await connection.execute("SELECT workspace_id FROM chats WHERE id = %(id)s", {"id": chat.id})
        row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def _rows(bench: Bench, chat_id: str, tool: str) -> list[dict[str, Any]]:
    """The chat's calls of a tool: their results, and the seconds from claim to result."""
    async with await psycopg.AsyncConnection.connect(bench.stack.facts["database_url"], autocommit=True) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(
            "SELECT result, extract(epoch FROM finished_at - claimed_at)::float AS seconds FROM tool_executions"
            " WHERE chat_id = %(chat)s AND tool_name = %(tool)s ORDER BY message_id",
            {"chat": chat_id, "tool": tool},
        )
        return await cursor.fetchall()
