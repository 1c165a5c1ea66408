"""Many who watch chats in which nothing happens: what one costs, and how soon an event reaches one among them."""

import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
from cryptography.fernet import Fernet

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.figures import NONE, Figure, ms, percentile, under
from benchmarks.lines import Process, clean_environment
from benchmarks.stack import PATIENCE, UNLIMITED, StackFailed
from models.store import stream
from models.store.stream import LogRow
from turnstone.processes import spawn

AT_ONCE = 200  # connections that are being opened
SETTLE = 3.0
IDLE = 16.0  # seconds: longer than the time between two pings
PAUSE = 0.02
SAID = "What a model or a person would say in a message of an ordinary length, over and over again. " * 4

SEED = """
WITH made AS (
    INSERT INTO chats (id, owner_id, organization_id, title, last_model_config_id, snapshot_version, history_version)
    SELECT gen_random_uuid(), u.id, %(organization)s, 'bench-watched ' || n, %(model)s, 1, 1
    FROM generate_series(1, %(count)s) AS n, users u WHERE u.username = 'admin' RETURNING id, owner_id),
said AS (
    INSERT INTO chat_messages (chat_id, role, content, revision, created_by, model_config_id)
    SELECT made.id, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
           jsonb_build_array(jsonb_build_object('type', 'text', 'text', %(text)s::text)), 1,
           CASE n %% 2 WHEN 1 THEN owner_id END, %(model)s
    FROM made, generate_series(1, 2) AS n ORDER BY made.id, n)
SELECT id::text FROM made
"""


async def watchers(bench: Bench) -> None:
    """Idle watchers of as many chats on one API process, by WebSocket and by SSE, and events to single ones."""
    database = await psycopg.AsyncConnection.connect(bench.stack.facts["database_url"], autocommit=True)
    try:
        values = {
            "organization": bench.service.organization_id,
            "model": bench.service.model_config_id,
            "count": max(bench.size.watchers),
            "text": SAID,
        }
        found = await (await database.execute(SEED, values)).fetchall()
        await database.execute("VACUUM ANALYZE chats, chat_messages")
        chats = [row[0] for row in found]
        for kind in ("websocket", "sse"):
            for count in bench.size.watchers:
                # A process that has had watchers keeps memory for others: each measure has its own.
                async with another_api(bench) as (process, url), _crowd() as crowd:
                    await asyncio.sleep(SETTLE)
                    await _one(bench, crowd, database, kind, chats[:count], process, url)
    finally:
        await database.close()


@asynccontextmanager
async def _crowd() -> AsyncIterator[Process]:
    crowd = await Process.start("benchmarks.crowd")
    try:
        yield crowd
    finally:
        await crowd.stop()


@asynccontextmanager
async def another_api(bench: Bench) -> AsyncIterator[tuple[int, str]]:
    """Another API process on the stack's stores: its id and its address."""
    facts = bench.stack.facts
    with tempfile.TemporaryDirectory(prefix="turnstone-bench-") as folder:
        ready = Path(folder) / "ready"
        settings = {
            "TURNSTONE_DATABASE_URL": facts["database_url"],
            "TURNSTONE_TEMPORAL_ADDRESS": facts["temporal_address"],
            "TURNSTONE_TEMPORAL_NAMESPACE": facts["temporal_namespace"],
            "TURNSTONE_SECRET_KEYS": Fernet.generate_key().decode(),  # no secret is read
            "TURNSTONE_PORT": "0",
        }
        process = spawn(
            [sys.executable, "-m", "turnstone", "api", "--ready-path", str(ready)],
            env=clean_environment() | UNLIMITED | settings,
            log=Path(folder) / "api.log",
            death_signal=signal.SIGTERM,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                while not (ready.exists() and (url := ready.read_text().strip())):
                    if process.poll() is not None:
                        raise StackFailed((Path(folder) / "api.log").read_text()[-2000:])
                    await asyncio.sleep(0.05)
            yield process.pid, url
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)


async def _one(
    bench: Bench,
    crowd: Process,
    database: psycopg.AsyncConnection[Any],
    kind: str,
    chats: list[str],
    process: int,
    url: str,
) -> None:
    name = f"{len(chats):,} idle watchers by {'WebSocket' if kind == 'websocket' else 'SSE'}"
    api = [process]
    before, used = machine.memory(api).rss, machine.cpu_seconds(api)
    opened = await crowd.ask(do="open", kind=kind, url=url, token=bench.service.token, chats=chats, at_once=AT_ONCE)
    opening = machine.cpu_seconds(api) - used
    await asyncio.sleep(SETTLE)
    grown = (machine.memory(api).rss - before) * 1024 / len(chats)
    used = machine.cpu_seconds(api)
    await asyncio.sleep(IDLE)
    idle = (machine.cpu_seconds(api) - used) / IDLE * 100
    lags, wrong = await _events(crowd, database, chats, bench.size.watcher_events)
    note = f"opened in {opened['seconds']:.1f} s, with {opening / len(chats) * 1000:.1f} ms of the API's CPU each"
    bench.report.add(
        Figure(f"{name}: resident memory each", "KiB", grown, samples=len(chats), note=note, budgets=under(then=60)),
        Figure(f"{name}: CPU of the API", "% of a core", idle, note="pings included"),
    )
    for share, budgets in ((50, NONE), (99, under(then=20))):
        bench.report.add(
            Figure(
                f"{name}: event written → received by one of them, p{share}",
                "ms",
                ms(percentile(lags, share)),
                samples=len(lags),
                budgets=budgets,
            )
        )
    if opened["refused"] or opened["lost"] or wrong:
        bench.report.failures[name] = f"{opened}; {wrong}"


async def _events(
    crowd: Process, database: psycopg.AsyncConnection[Any], chats: list[str], count: int
) -> tuple[list[float], str]:
    """Seconds from a part's write to its arrival, each in a chat of its own; and what went wrong."""
    left: dict[int, float] = {}
    first = time.time_ns() // 1_000_000
    for mark, chat in enumerate(random.sample(chats, count), start=first):
        part = orjson.dumps({"type": "text", "text": f"mark-{mark}-"})
        # A part of the episode that the chat is in, as its worker would write it; of seq 1 but for one written before.
        [[seq]] = await (
            await database.execute("SELECT coalesce(max(seq), 0) + 1 FROM stream_log WHERE chat_id = %s", [chat])
        ).fetchall()
        left[mark] = time.time()
        await stream.write(database, [LogRow(UUID(chat), stream.Episode(1, 0), seq, "assistant", part)])
        await asyncio.sleep(PAUSE)
    seen = await crowd.ask(do="marks", wanted=list(left))
    lags = [seen["at"][str(mark)] - at for mark, at in left.items() if str(mark) in seen["at"]]
    missing = len(left) - len(lags)
    lost = f"{seen['lost']} connections lost" if seen["lost"] else ""
    return lags, lost if not missing else f"{missing} events did not arrive; {lost}"
