"""`python -m benchmarks.scale`: reads, turns and housekeeping in a big database, and each statement that was slow."""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from temporalio.client import Client

from benchmarks import big
from benchmarks.bench import connect
from benchmarks.chats import CHATS, Chat, Service
from benchmarks.figures import ms, percentile
from benchmarks.lines import Process
from benchmarks.stack import Meter, Stack
from benchmarks.wire import Connection
from workflows.client import HOUSEKEEPING, SWEEP

READS = 100
TURNS = 60
SLOW_MS = 10
SHOWN = 150  # characters of a statement
PATIENCE = 300.0
# Of what is idle, that which has been silent for half a year.
ARCHIVE_AFTER_DAYS = 150

LINE = r"^\S+ \S+ \S+ \[\d+\] "
DURATION = re.compile(
    rf"{LINE}LOG:  duration: ([\d.]+) ms  (?:statement|execute|parse|bind)[^:]*: ?(.*?)(?={LINE}|\Z)",
    re.MULTILINE | re.DOTALL,
)


def slow(log: str) -> dict[str, list[float]]:
    """Milliseconds of each run of the statements that PostgreSQL found slow, by statement."""
    found: dict[str, list[float]] = {}
    for took, statement in DURATION.findall(log):
        found.setdefault(" ".join(statement.split())[:SHOWN], []).append(float(took))
    return found


async def _seed(messages: int, place: Path, provider_url: str) -> None:
    """Make the database, unless it is there from an earlier run."""
    if (place / "data").exists():
        return
    stack = await Stack.start(place)
    try:
        service = await connect(stack, provider_url)
        owner = (await service.call("GET", "/api/v2/users/me"))["id"]
        values = {"owner": owner, "organization": service.organization_id, "model": service.model_config_id}
        async with await psycopg.AsyncConnection.connect(stack.facts["database_url"], autocommit=True) as database:
            print(f"seeded in {await big.seed(database, messages, values):.0f} s\n", flush=True)
            await database.execute(f"ALTER DATABASE turnstone SET log_min_duration_statement = {SLOW_MS}".encode())
    finally:
        await stack.stop()


async def _scale(messages: int, place: Path, *, seed_only: bool) -> None:
    provider = await Process.start("benchmarks.provider")
    try:
        await _seed(messages, place, provider.greeting["url"])
        if seed_only:
            return
        log = place / "data" / "logs" / "postgres.log"
        known = log.stat().st_size
        stack = await Stack.start(place)
        try:
            print(f"warm start → ready: {stack.start_seconds:.2f} s\n")
            url = provider.greeting["url"]
            await _run(stack, await connect(stack, url), url)
        finally:
            await stack.stop()
        rows = [[max(took), len(took), sum(took), what] for what, took in slow(log.read_text()[known:]).items()]
        print(f"Statements that took {SLOW_MS} ms or more:\n")
        _show(("max, ms", "times", "sum, ms", "statement"), sorted(rows, reverse=True))
    finally:
        await provider.stop()


async def _run(stack: Stack, service: Service, provider_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(stack.facts["database_url"], autocommit=True) as database:
        # The chats' model is of the provider of the run that made them, which is gone.
        await database.execute("UPDATE ai_providers SET base_url = %s WHERE name LIKE 'bench-%%'", [provider_url])
        sizes = await (await database.execute(big.SIZES)).fetchall()
        _show(
            ("table", "rows", "heap, MB", "indexes, MB", "all, MB"),
            ([row[0], row[1], *(size / 1e6 for size in row[2:])] for row in sizes),
        )
        query = (
            "SELECT id::text FROM chats WHERE title LIKE %s AND owner_id <> %s AND status = 'waiting' AND NOT archived"
        )
        me = (await service.call("GET", "/api/v2/users/me"))["id"]
        others = [row[0] for row in await (await database.execute(query, ["bench-big %", me])).fetchall()]
        query = query.replace("owner_id <>", "owner_id =")
        ours = [row[0] for row in await (await database.execute(query, ["bench-big %", me])).fetchall()]
        [long] = [row[0] for row in await (await database.execute(query, ["bench-long", me])).fetchall()]
    await _reads(service, ours, others, long)
    await _turns(stack, service, ours, long)
    await _rounds(stack, service)


async def _reads(service: Service, ours: list[str], others: list[str], long: str) -> None:
    connection = await Connection.open(service.url)
    one, page = random.choice, "messages?limit=50"
    paths: dict[str, Callable[[], str]] = {
        "list of 50 chats": lambda: f"{CHATS}?limit=50",
        "list, further down": lambda: f"{CHATS}?limit=50&after_id={one(ours)}",
        "list, by label": lambda: f"{CHATS}?limit=50&label=team:t{random.randrange(50)}",
        "a chat": lambda: f"{CHATS}/{one(ours)}",
        "a chat of somebody else": lambda: f"{CHATS}/{one(others)}",
        "page of 50 messages": lambda: f"{CHATS}/{one(ours)}/{page}",
        "page of 50 messages, long chat": lambda: f"{CHATS}/{long}/{page}",
        "prompts of a chat": lambda: f"{CHATS}/{one(ours)}/prompts?limit=50",
        "prompts, long chat": lambda: f"{CHATS}/{long}/prompts?limit=50",
        "cost of a chat": lambda: f"{CHATS}/{one(ours)}/cost",
        "debug runs of a chat": lambda: f"{CHATS}/{one(ours)}/debug/runs",
        "own cost, 30 days": lambda: f"{CHATS}/cost/me/summary",
        "everybody's cost, 30 days": lambda: f"{CHATS}/cost/users?limit=50",
        "own standing": lambda: f"{CHATS}/usage-limits/status",
        "notices": lambda: "/api/v2/notifications/inbox",
        "users": lambda: "/api/v2/users?limit=50",
    }
    rows: list[list[Any]] = []
    for name, path in paths.items():
        times, status = [], 0
        for _ in range(READS):
            sending = service.bytes("GET", path())
            began = time.perf_counter()
            status = (await connection.send(sending)).status
            times.append(ms(time.perf_counter() - began))
            if sum(times) > 10_000:
                break
        rows.append([name, status, percentile(times, 50), percentile(times, 95), max(times)])
    connection.close()
    print("Reads over HTTP, one after another:\n")
    _show(("read", "status", "p50, ms", "p95, ms", "max, ms"), rows)


async def _turns(stack: Stack, service: Service, ours: list[str], long: str) -> None:
    rows: list[list[Any]] = []
    for name, ids, count in (("chats of 200 messages", ours[:8], TURNS), ("the long chat", [long], 10)):
        chats = [await Chat.join(service, chat) for chat in ids]
        for chat in chats:
            await chat.turn(tokens=20)
        meter, seen = Meter(stack), []
        for _, chat in zip(range(count), itertools.cycle(chats), strict=False):
            seen.append(await chat.turn(tokens=20))
        used = meter.stop()
        for chat in chats:
            chat.close()
        firsts = [ms(turn.first_token) for turn in seen]
        rows.append([name, percentile(firsts, 50), percentile(firsts, 95), *(used[role] / count for role in ROLES)])
    print("Plain turns, one after another: first token, and CPU ms a turn:\n")
    _show(("turns in", "p50, ms", "p95, ms", *ROLES), rows)


ROLES = ("api", "worker", "temporal", "postgres")


async def _rounds(stack: Stack, service: Service) -> None:
    """Sweeps as they come, and two rounds of housekeeping with much to do."""
    await service.call("PUT", f"{CHATS}/config/auto-archive-days", {"auto_archive_days": ARCHIVE_AFTER_DAYS})
    facts = stack.facts
    client = await Client.connect(facts["temporal_address"], namespace=facts["temporal_namespace"])
    for _ in range(2):
        before = len(await _took(client, HOUSEKEEPING))
        await client.get_schedule_handle(HOUSEKEEPING).trigger()
        async with asyncio.timeout(PATIENCE):
            while len(await _took(client, HOUSEKEEPING)) == before:  # noqa: ASYNC110 - it is asked over the network
                await asyncio.sleep(1)
    rows = []
    for name in (SWEEP, HOUSEKEEPING):
        took = await _took(client, name)
        rows.append([name, len(took), percentile(took, 50), max(took)])
    print("Rounds in the background, seconds:\n")
    _show(("workflow", "rounds", "p50, s", "max, s"), rows)


async def _took(client: Client, name: str) -> list[float]:
    query = f"WorkflowId STARTS_WITH '{name}' AND ExecutionStatus != 'Running'"
    return [
        (run.close_time - run.start_time).total_seconds()
        async for run in client.list_workflows(query)
        if run.close_time is not None
    ]


def _show(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    heads = list(heads)
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row) + " |")
    print(flush=True)


def _cell(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Seed, measure and print, on a stack of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--messages", type=int, default=5_000_000)
    parser.add_argument("--place", type=Path, help="an empty folder to keep the database in, for further runs")
    parser.add_argument("--seed-only", action="store_true", help="fill the database and stop")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        kept = tempfile.TemporaryDirectory(prefix="turnstone-scale-", ignore_cleanup_errors=True)
        place = arguments.place or Path(stack.enter_context(kept))
        uvloop.run(_scale(arguments.messages, place, seed_only=arguments.seed_only))
    os._exit(0)  # the Temporal client's threads may otherwise abort a finished interpreter


if __name__ == "__main__":
    main()
