"""Many at once: turns a second in a closed loop, and the lag of many paced streams; with the CPU of every process."""

import asyncio
import os
import time

from benchmarks import machine
from benchmarks.bench import Bench, leave
from benchmarks.chats import Chat, Turn
from benchmarks.figures import NONE, Budgets, Figure, over, percentile, under
from benchmarks.floors import lag_figures
from benchmarks.stack import Meter

CHATS = 32
WARM_UP = 2.0
INTERVAL_MS = 20.0
NOTHING = (None, None)
OUTSIDE = "(benchmark's client and provider)"


async def turns(bench: Bench) -> None:
    """Plain turns of 20 tokens, 32 chats, each sending its next message when the last is answered."""
    seconds = bench.size.floor_seconds
    raw = await bench.raw.turns(CHATS, seconds) if bench.bare else NOTHING
    litellm = await bench.litellm("turns", chats=CHATS, seconds=seconds) or NOTHING
    chats = await bench.service.chats(CHATS)
    done: list[Turn] = []
    begins = time.time() + WARM_UP
    ends = begins + bench.size.turn_seconds

    async def loop(chat: Chat) -> None:
        while time.time() < ends:
            done.append(await chat.turn(tokens=20))

    async def metered() -> dict[str, float]:
        await asyncio.sleep(begins - time.time())
        meter, clients = Meter(bench.stack), _outside(bench)
        await asyncio.sleep(ends - time.time())
        return {**meter.stop(), OUTSIDE: (_outside(bench) - clients) * 1000}

    metering = asyncio.create_task(metered())
    await asyncio.gather(*map(loop, chats))
    used = await metering
    await leave(chats)
    await bench.requests()
    counted = [turn for turn in done if begins <= turn.ended_at < ends]
    by_role = {role: value / len(counted) for role, value in used.items()}
    ours = sum(value for role, value in by_role.items() if not role.startswith("("))
    firsts = [turn.first_token for turn in counted]
    rate = len(counted) / (ends - begins)
    name = f"plain turns of 20 tokens, closed loop of {CHATS} chats"
    bench.report.add(
        Figure(f"{name}", "turns/s", rate, raw[0], litellm[0], budgets=over(25, 60), samples=len(counted)),
        Figure("CPU of a plain turn, all processes", "ms", ours, raw[1], litellm[1], budgets=under(then=25)),
        Figure("first token under that load, p50", "ms", percentile(firsts, 50) * 1000, samples=len(firsts)),
        Figure("first token under that load, p95", "ms", percentile(firsts, 95) * 1000, samples=len(firsts)),
    )
    bench.report.profile["CPU of a plain turn, ms by process"] = by_role
    if late := sum(turn.retries + turn.resets for turn in done):
        bench.report.failures["turns"] = f"{late} retries or resets"


async def lag_20(bench: Bench) -> None:
    """Delta lag of 20 streams at 50 tokens a second."""
    await _lag(bench, 20, {"p50": under(25, 20), "p99": under(100, 80)}, NONE)


async def lag_100(bench: Bench) -> None:
    """The same with 100 streams."""
    await _lag(bench, 100, {"p50": under(then=50), "p99": under(then=200)}, over(then=3950))


async def lag_300(bench: Bench) -> None:
    """The same with more than two cores may be expected to carry; litellm's floor fell behind at 100."""
    await _lag(bench, 300, {"p50": NONE, "p99": NONE}, NONE, litellm_too=False)


async def _lag(bench: Bench, count: int, lags: dict[str, Budgets], rates: Budgets, *, litellm_too: bool = True) -> None:
    tokens = bench.size.stream_tokens
    asked = {"count": count, "tokens": tokens, "interval_ms": INTERVAL_MS}
    # 100 streams of 200 tokens at 50 a second, begun within a second, are 4,000 tokens a second.
    raw = await bench.raw.streams(count, tokens, INTERVAL_MS) if bench.bare else {}
    litellm = await bench.litellm("streams", **asked) or {} if litellm_too else {}
    chats = await bench.service.chats(count)

    async def one(index: int) -> Turn:
        await asyncio.sleep(index / count)
        return await chats[index].turn(tokens=tokens, interval_ms=INTERVAL_MS, stamp=True)

    meter, clients = Meter(bench.stack), _outside(bench)
    try:
        seen: list[Turn] = await asyncio.gather(*(one(index) for index in range(count)))
    finally:  # whoever gave up must not go on listening while others are measured
        await leave(chats)
    used = {**meter.stop(), OUTSIDE: (_outside(bench) - clients) * 1000}
    await bench.requests()
    ours = lag_figures([(turn.sent_at, turn.parts) for turn in seen])
    expected = count * tokens
    note = f"{expected} tokens sent" if ours["tokens"] == expected else f"got {ours['tokens']:.0f} of {expected} tokens"
    for share in ("p50", "p99"):
        name = f"delta lag, {count} streams at 50 tokens/s, {share}"
        bench.report.add(
            Figure(name, "ms", ours[share], raw.get(share), litellm.get(share), budgets=lags[share], samples=expected)
        )
    name = f"tokens received, {count} streams"
    steady, raw_steady, litellm_steady = (each.get("steady") or None for each in (ours, raw, litellm))
    sent = f"{count * 1000 / INTERVAL_MS:,.0f} a second are sent"
    bench.report.add(
        Figure(name, "tokens/s", ours["rate"], raw.get("rate"), litellm.get("rate"), budgets=rates, note=note),
        Figure(
            f"{name}, while all of them run",
            "tokens/s",
            steady,
            raw_steady,
            litellm_steady,
            note=sent if steady else "ours never all ran at once",
        ),
    )
    firsts = [turn.first_token * 1000 for turn in seen]
    bench.report.add(
        Figure(f"first token, {count} turns begun within a second, p50", "ms", percentile(firsts, 50), samples=count),
        Figure(f"first token, {count} turns begun within a second, p95", "ms", percentile(firsts, 95), samples=count),
    )
    per_thousand = {role: value / expected * 1000 for role, value in used.items()}
    bench.report.profile[f"CPU of 1,000 tokens at {count} streams, ms by process"] = per_thousand
    if ours["tokens"] != expected:
        bench.report.failures[f"lag_{count}"] = note


def _outside(bench: Bench) -> float:
    return machine.cpu_seconds([os.getpid(), bench.provider.pid])
