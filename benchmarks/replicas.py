"""Two API processes on one database: how soon what one accepted is told at the other."""

import asyncio
import time

import orjson

from benchmarks.bench import Bench, leave
from benchmarks.chats import CHATS, PATIENCE, checked
from benchmarks.figures import NONE, Figure, ms, percentile, under
from benchmarks.watchers import another_api
from benchmarks.wire import Connection, Events, request

PAUSE = 0.02
WARMING = 10  # renames, in which the list comes to be watched


async def replicas(bench: Bench) -> None:
    """Renames at one process, one at a time, and their events in the list that is watched at the other."""
    [chat] = await bench.service.chats(1)
    heard: dict[str, float] = {}
    news = asyncio.Event()

    def take(payload: bytes) -> None:
        event = orjson.loads(payload)
        if event["kind"] == "title_change":
            heard[event["chat"]["title"]] = time.monotonic()
            news.set()

    async with another_api(bench) as (_, url):
        listener = await Connection.open(url)
        asked = request(
            "GET", f"{url}{CHATS}/watch", token=bench.service.token, headers={"accept": "text/event-stream"}
        )
        listener.send(asked, Events(take))
        writer = await Connection.open(bench.service.url)

        async def rename(title: str) -> tuple[float, float]:
            sent = time.monotonic()
            answer = await writer.send(bench.service.bytes("PATCH", f"{CHATS}/{chat.id}", {"title": title}))
            checked(answer, "a rename")
            return sent, time.monotonic()

        lags, answers = [], []
        try:
            for number in range(WARMING):
                await rename(f"warm {number}")
                await asyncio.sleep(PAUSE)
            for number in range(bench.size.reads):
                title = f"replica {number}"
                sent, answered = await rename(title)
                async with asyncio.timeout(PATIENCE):
                    while title not in heard:
                        news.clear()
                        await news.wait()
                lags.append(heard[title] - sent)
                answers.append(answered - sent)
                await asyncio.sleep(PAUSE)
        finally:
            listener.close()
            writer.close()
    await leave([chat])
    for share, budgets in ((50, NONE), (99, under(then=50))):
        bench.report.add(
            Figure(
                f"event at the other replica: rename sent → its list told, p{share}",
                "ms",
                ms(percentile(lags, share)),
                samples=len(lags),
                budgets=budgets,
                note=f"the rename itself is answered after {ms(percentile(answers, share)):.1f} ms",
            )
        )
