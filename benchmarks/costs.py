"""`python -m benchmarks.costs`: what a turn costs each component, for docs/scaling.md: CPU, rows, bytes, events."""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from temporalio.client import Client

from benchmarks.bench import connect
from benchmarks.chats import Chat
from benchmarks.lines import Process
from benchmarks.stack import Meter, Stack

AT_ONCE = 8
WARM_UP = 5
STEPS = 10
SETTLE = 3.0  # what was counted by a connection is seen by others a second later
KINDS: dict[str, Callable[[Chat], Awaitable[Any]]] = {
    "a plain turn of 20 tokens": lambda chat: chat.turn(tokens=20),
    "a streamed turn of 200 tokens at 50 a second": lambda chat: chat.turn(tokens=200, interval_ms=20),
    f"a turn of {STEPS} tool steps": lambda chat: chat.turn("@steps", n=STEPS, answers=STEPS + 1),
}

DATABASE = """
SELECT xact_commit AS transactions, xact_rollback AS "rolled back", tup_inserted AS "rows inserted",
       tup_updated AS "rows updated", tup_deleted AS "rows deleted", tup_fetched AS "rows fetched by index",
       blks_hit AS "pages found in memory", blks_read AS "pages read"
FROM pg_stat_database WHERE datname = current_database()
"""
TABLES = """
SELECT relname, n_tup_ins AS inserted, n_tup_upd AS updated, n_tup_hot_upd AS hot, n_tup_del AS deleted,
       pg_relation_size(relid) AS heap, pg_indexes_size(relid) AS indexes,
       pg_total_relation_size(relid) - pg_relation_size(relid) - pg_indexes_size(relid) AS toast
FROM pg_stat_user_tables
"""
WAL = "SELECT wal_bytes::bigint AS bytes, wal_records AS records, wal_fpi AS pages FROM pg_stat_wal"


@dataclass(frozen=True)
class Counts:
    """Everything that is counted, at one moment."""

    database: dict[str, float]
    tables: dict[str, dict[str, float]]
    wal: dict[str, float]
    temporal: dict[str, float]

    @classmethod
    async def take(cls, stack: Stack, place: Path, chats: list[Chat]) -> "Counts":
        """Read all counters."""
        async with await psycopg.AsyncConnection.connect(
            stack.facts["database_url"], autocommit=True, row_factory=psycopg.rows.dict_row
        ) as connection:
            database, wal = [await _row(connection, query) for query in (DATABASE, WAL)]
            found = await (await connection.execute(TABLES)).fetchall()
        tables = {row.pop("relname"): {name: float(value) for name, value in row.items()} for row in found}
        return cls(database, tables, wal, await _temporal(stack, chats) | {"file, bytes": _grown(place)})

    def since(self, before: "Counts", turns: int) -> "Counts":
        """What grew, a turn."""
        return Counts(
            difference(self.database, before.database, turns),
            {name: difference(row, before.tables.get(name, {}), turns) for name, row in self.tables.items()},
            difference(self.wal, before.wal, turns),
            difference(self.temporal, before.temporal, turns),
        )


def difference(after: Mapping[str, float], before: Mapping[str, float], by: int) -> dict[str, float]:
    """What each grew by, shared among so many."""
    return {name: (value - before.get(name, 0.0)) / by for name, value in after.items()}


async def _row(connection: psycopg.AsyncConnection[dict[str, Any]], query: str) -> dict[str, float]:
    row = await (await connection.execute(query.encode())).fetchone()
    return {name: float(value) for name, value in (row or {}).items()}


async def _temporal(stack: Stack, chats: list[Chat]) -> dict[str, float]:
    """What the closed runs of the chats left in Temporal; quick turns that follow each other may share a run."""
    facts = stack.facts
    client = await Client.connect(facts["temporal_address"], namespace=facts["temporal_namespace"])
    found = {"runs": 0.0, "events": 0.0, "history, bytes": 0.0}
    for chat in chats:
        async for run in client.list_workflows(f"WorkflowId = 'chat-{chat.id}' AND ExecutionStatus != 'Running'"):
            found["runs"] += 1
            found["events"] += run.history_length
            found["history, bytes"] += run.raw_info.history_size_bytes
    return found


def _grown(place: Path) -> float:
    """The size of Temporal's database, with what is still in its log."""
    return float(sum(path.stat().st_size for path in place.glob("data/temporal.db*")))


async def _measure(stack: Stack, place: Path, chats: list[Chat], kind: str, each: int) -> None:
    turn = KINDS[kind]

    async def some(count: int) -> None:
        async def loop(chat: Chat) -> None:
            for _ in range(count):
                await turn(chat)

        await asyncio.gather(*map(loop, chats))

    await some(1)
    await asyncio.sleep(SETTLE)
    before, meter = await Counts.take(stack, place, chats), Meter(stack)
    await some(each)
    used, seconds = meter.stop(), meter.seconds
    await asyncio.sleep(SETTLE)
    turns = each * len(chats)
    grown = (await Counts.take(stack, place, chats)).since(before, turns)
    print(f"\n## {kind[0].upper()}{kind[1:]}\n\n{turns} turns, {AT_ONCE} at once, {turns / seconds:.1f} a second\n")
    _show("CPU, ms", {role: value / turns for role, value in used.items()})
    _show("PostgreSQL", grown.database)
    _show("write-ahead log", grown.wal)
    print("| table | inserted | updated | of these HOT | deleted | heap, bytes | indexes, bytes | TOAST, bytes |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, row in sorted(grown.tables.items()):
        if any(value >= 0.1 for value in row.values()):
            print(f"| {name} | " + " | ".join(_number(value) for value in row.values()) + " |")
    print()
    _show("Temporal", grown.temporal)


def _show(title: str, values: Mapping[str, float]) -> None:
    print(f"* {title}: " + ", ".join(f"{name} {_number(value)}" for name, value in values.items()))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


async def _costs(each: int) -> None:
    provider = await Process.start("benchmarks.provider")
    try:
        with tempfile.TemporaryDirectory(prefix="turnstone-costs-", ignore_cleanup_errors=True) as folder:
            place = Path(folder)
            stack = await Stack.start(place)
            try:
                service = await connect(stack, provider.greeting["url"])
                chats = await service.chats(AT_ONCE)
                for _ in range(WARM_UP):
                    await asyncio.gather(*(chat.turn(tokens=20) for chat in chats))
                for kind, share in zip(KINDS, (1, 10, 5), strict=True):
                    await _measure(stack, place, chats, kind, max(each // share, 1))
            finally:
                await stack.stop()
    finally:
        await provider.stop()


def main() -> None:
    """Measure on a stack of its own and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--turns", type=int, default=30, help=f"plain turns of each of {AT_ONCE} chats; default 30")
    uvloop.run(_costs(parser.parse_args().turns))
    os._exit(0)  # the Temporal client's threads may otherwise abort a finished interpreter


if __name__ == "__main__":
    main()
