"""How long one user waits: first token, further steps, interrupts; with the way that the time went."""

import asyncio
import itertools

from benchmarks.bench import Bench, leave
from benchmarks.chats import Turn
from benchmarks.figures import NONE, Figure, ms, percentile, under

PAUSE = 0.1  # people do not answer within a tenth of a second either; back-to-back turns are `turns`
STEPS = 10


async def first_token(bench: Bench) -> None:
    """POST message → first delta at a subscribed client, one turn at a time on warm chats."""
    count = bench.size.first_tokens
    raw = await bench.raw.first_token(count)
    litellm = await bench.litellm("first_token", count=count)
    chats = await bench.service.chats(5)
    await bench.requests()
    turns: list[Turn] = []
    for _, chat in zip(range(count), itertools.cycle(chats), strict=False):
        turns.append(await chat.turn(tokens=20, stamp=True))
        await asyncio.sleep(PAUSE)
    records = await bench.requests()
    await leave(chats)
    ours = [turn.first_token for turn in turns]
    whole = sum(turn.unstreamed for turn in turns)
    note = f"{whole} of {count} arrived as a stored message, before any delta" if whole else ""
    for share in (50, 95):
        bench.report.add(
            Figure(
                f"first token: request sent → first delta, p{share}",
                "ms",
                ms(percentile(ours, share)),
                ms(percentile(raw, share)),
                ms(percentile(litellm, share)) if litellm else None,
                samples=count,
                note=note,
            )
        )
    for share, budgets in ((50, under(40, 25)), (95, under(80, 40))):
        own = percentile(ours, share) - percentile(raw, share)
        over_litellm = ms(percentile(litellm, share) - percentile(raw, share)) if litellm else None
        bench.report.add(
            Figure(
                f"overhead to first token, p{share}",
                "ms",
                ms(own),
                0.0,
                over_litellm,
                samples=count,
                note="the row above, less the raw floor",
                budgets=budgets,
            )
        )
    bench.report.profile["first token, ms p50 since the request left"] = _way(turns, records)


def _way(turns: list[Turn], records: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """When things happened in a turn, after its request left."""

    def middle(times: list[float]) -> float:
        return ms(percentile(times, 50))

    return {
        "POST answered": middle([turn.answered_at - turn.sent_at for turn in turns]),
        "provider got the request": middle([records[turn.tag][0]["at"] - turn.sent_at for turn in turns]),
        "provider sent the first token": middle([float(turn.parts[0][1].split()[0]) - turn.sent_at for turn in turns]),
        "first delta at the client": middle([turn.first_token for turn in turns]),
        "last delta at the client": middle([turn.parts[-1][0] - turn.sent_at for turn in turns]),
        "stored message at the client": middle([turn.ended_at - turn.sent_at for turn in turns]),
    }


async def steps(bench: Bench) -> None:
    """Model request → tool call → its result → the next model request, as the provider sees it."""
    floor = await bench.raw.steps(bench.size.step_turns * STEPS)
    chats = await bench.service.chats(2)
    await bench.requests()
    turns = []
    for _, chat in zip(range(bench.size.step_turns), itertools.cycle(chats), strict=False):
        turns.append(await chat.turn("@steps", n=STEPS, answers=STEPS + 1))
        await asyncio.sleep(PAUSE)
    records = await bench.requests()
    await leave(chats)
    gaps = [after["at"] - before["at"] for turn in turns for before, after in itertools.pairwise(records[turn.tag])]
    for share, budgets in ((50, under(25, 15)), (95, NONE)):
        raw = percentile(floor, share)
        bench.report.add(
            Figure(
                f"overhead of a further step, p{share}",
                "ms",
                ms(percentile(gaps, share) - raw),
                0.0,
                samples=len(gaps),
                note="model request → tool call → result → next model request, less the provider's own time",
                budgets=budgets,
            )
        )


async def interrupt(bench: Bench) -> None:
    """POST interrupt → the provider's connection is closed, → the partial answer is stored and seen."""
    count = bench.size.interrupts
    await bench.requests()
    hung_up = await bench.raw.hang_up(count)
    await asyncio.sleep(0.05)
    closed = sorted(record["closed_at"] for found in (await bench.requests()).values() for record in found)
    floor = [seen - left for left, seen in zip(hung_up, closed, strict=True)]
    chats = await bench.service.chats(3)
    await bench.requests()
    turns, times = [], []
    for _, chat in zip(range(count), itertools.cycle(chats), strict=False):
        turn = chat.begin("@fake", tokens=2000, interval_ms=20)
        await turn.heard(4)
        times.append(await chat.interrupt())
        turns.append(await turn.end())
        await asyncio.sleep(PAUSE)
    records = await bench.requests()
    await leave(chats)
    stopped = [records[turn.tag][0]["closed_at"] - at for turn, at in zip(turns, times, strict=True)]
    stored = [turn.ended_at - at for turn, at in zip(turns, times, strict=True)]
    for name, values, raw, limits in (
        ("interrupt: POST → provider connection closed", stopped, floor, under(200, 100)),
        ("interrupt: POST → partial answer stored and seen", stored, None, under(400, 200)),
    ):
        for share, budgets in ((50, NONE), (99, limits)):
            bench.report.add(
                Figure(
                    f"{name}, p{share}",
                    "ms",
                    ms(percentile(values, share)),
                    ms(percentile(raw, share)) if raw else None,
                    samples=count,
                    budgets=budgets,
                )
            )
