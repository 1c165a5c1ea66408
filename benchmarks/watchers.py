"""Many who watch chats in which nothing happens: what one costs, and how soon an event reaches one among them."""

import asyncio
import random
import time
from typing import Any
from uuid import UUID

import orjson
import psycopg

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.figures import NONE, Figure, ms, percentile, under
from benchmarks.lines import Process
from models.store import stream
from models.store.stream import LogRow

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
    crowd = await Process.start("benchmarks.crowd")
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
                await _one(bench, crowd, database, kind, chats[:count])
    finally:
        await database.close()
        await crowd.stop()


async def _one(bench: Bench, crowd: Process, database: psycopg.AsyncConnection[Any], kind: str, chats: list[str]) -> None:
    name = f"{len(chats):,} idle watchers by {'WebSocket' if kind == 'websocket' else 'SSE'}"
    api = bench.stack.processes()["api"]
    before, used = machine.memory(api).rss, machine.cpu_seconds(api)
    opened = await crowd.ask(
        do="open", kind=kind, url=bench.service.url, token=bench.service.token, chats=chats, at_once=AT_ONCE
    )
    opening = machine.cpu_seconds(api) - used
    await asyncio.sleep(SETTLE)
    grown = (machine.memory(api).rss - before) * 1024 / len(chats)
    used = machine.cpu_seconds(api)
    await asyncio.sleep(IDLE)
    idle = (machine.cpu_seconds(api) - used) / IDLE * 100
    lags, wrong = await _events(crowd, database, chats, bench.size.watcher_events)
    await crowd.ask(do="close")
    await asyncio.sleep(SETTLE)
    note = f"{opened['seconds']:.1f} s and {opening:.1f} s of the API's CPU to open them"
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
