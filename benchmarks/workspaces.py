"""What a workspace's tools cost over the work that they do, and what many that wait hold."""

import asyncio
from typing import Any

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
    facts = bench.stack.facts
    async with httpx.AsyncClient(
        base_url=facts["api_url"], headers={"Coder-Session-Token": facts["admin_token"]}, timeout=60
    ) as client:
        for chat in chats[1:]:
            answered = await client.patch(f"{CHATS}/{chat.id}", json={"workspace_id": place})
            answered.raise_for_status()
    before = machine.memory(bench.stack.processes()["worker"])
    turns = [
        asyncio.create_task(chat.turn(**_steps([("execute", {"command": f"sleep {LONG}", "timeout": "5m"})])))
        for chat in chats
    ]
    most, peak = 0, before.pss
    while any(not turn.done() for turn in turns):
        await asyncio.sleep(2)
        async with await psycopg.AsyncConnection.connect(facts["database_url"], autocommit=True) as connection:
            cursor = await connection.execute("SELECT count(*) FROM agent_jobs WHERE state = 'delivered'")
            row = await cursor.fetchone()
            most = max(most, int(row[0]) if row else 0)
        peak = max(peak, machine.memory(bench.stack.processes()["worker"]).pss)
    await asyncio.gather(*turns)
    wrong = 0
    for chat in chats:
        rows = await _rows(bench, chat.id, "execute")
        wrong += sum(not row["result"]["result"].get("success") for row in rows) + (not rows)
    note = f"{most} at once; {wrong} did not end well; {before.pss:.0f} MiB before"
    bench.report.add(
        Figure(f"memory of a worker with {WAITING} commands waiting", "MiB", peak, samples=WAITING, note=note)
    )
    await leave(chats)


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
