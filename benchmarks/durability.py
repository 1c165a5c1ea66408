"""What durability costs when it is called upon, and at rest: takeover, start, memory, history."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import machine
from benchmarks.bench import Bench, leave
from benchmarks.chats import Turn
from benchmarks.figures import NONE, Budgets, Figure, Report, over, percentile, under
from benchmarks.stack import Meter, Stack

STREAMS = 10
INTERVAL_MS = 100.0
TOKENS = 80
SILENT = 2.0
SETTLE = 8.0  # what was loaded after being ready is not idleness


async def without_provider(stack: Stack, found: Report) -> None:
    """What a stack takes that knows no provider but the demo."""
    await asyncio.sleep(SETTLE)
    found.add(_resident("resident memory of everything, idle, no provider but the demo", _by_role(stack), NONE))


async def start_and_idle(bench: Bench) -> None:
    """The start that has just happened, and what the stack takes while nobody wants anything of a used provider."""
    await leave(await bench.service.chats(1))
    await asyncio.sleep(SETTLE)
    meter = Meter(bench.stack)
    await asyncio.sleep(bench.size.idle_seconds)
    seconds, used = meter.seconds, meter.stop()
    roles = _by_role(bench.stack)
    bench.report.add(
        Figure("`turnstone dev`, warm start → ready", "s", bench.stack.start_seconds, budgets=under(6, 5)),
        _resident("resident memory of everything, idle", roles, under(600, 450)),
        Figure("CPU of everything, idle", "% of a core", sum(used.values()) / seconds / 10, budgets=under(then=3)),
    )
    bench.report.profile["memory idle, MiB by process"] = {role: each.pss for role, each in roles.items()}
    bench.report.profile["CPU idle, % of a core by process"] = {
        role: value / seconds / 10 for role, value in used.items()
    }


async def after_load(bench: Bench) -> None:
    """What is still held a while after all that went before on this stack."""
    await asyncio.sleep(SETTLE)
    roles = _by_role(bench.stack)
    bench.report.add(_resident("resident memory of everything, idle again after all of the above", roles, NONE))
    bench.report.profile["memory idle again, MiB by process"] = {role: each.pss for role, each in roles.items()}


def _by_role(stack: Stack) -> dict[str, machine.Memory]:
    return {role: machine.memory(pids) for role, pids in stack.processes().items()}


def _resident(name: str, roles: Mapping[str, machine.Memory], budgets: Budgets) -> Figure:
    pss, rss = (sum(getattr(each, kind) for each in roles.values()) for kind in ("pss", "rss"))
    note = f"shared pages counted once; {rss:.0f} when counted in each process"
    return Figure(name, "MiB", pss, note=note, budgets=budgets)


async def killed(bench: Bench) -> None:
    """kill -9 of one of two workers in the middle of its turns → each streams again elsewhere, and ends well."""
    takeovers: list[float] = []
    finishes: list[float] = []
    resets: list[int] = []
    for index in range(bench.size.kills):
        chats = await bench.service.chats(STREAMS)
        seen = [chat.begin("@fake", tokens=TOKENS, interval_ms=INTERVAL_MS) for chat in chats]
        await asyncio.gather(*(turn.heard(3) for turn in seen))
        await asyncio.sleep(1)
        workers = bench.stack.facts["pids"]["worker"]
        # The worker killed is the busier one, which certainly streams something.
        victim = await _busiest(workers)
        at = time.time()
        os.kill(victim, signal.SIGKILL)
        await asyncio.sleep(SILENT)
        struck = [turn for turn in seen if turn.parts[-1][0] < at + SILENT / 2]
        if not struck:
            bench.report.failures["killed"] = f"kill {index + 1}: no stream was on the worker killed"
        takeovers += [again - at for again in await asyncio.gather(*(_again(turn, at) for turn in struck))]
        resets += [turn.resets for turn in struck]
        await asyncio.gather(*(turn.end() for turn in seen))
        finishes += [turn.ended_at - at for turn in struck if _tokens(turn) >= TOKENS]
        await leave(chats)
        await _replaced(bench, victim)
    if not takeovers:
        return
    after = percentile(finishes, 50) if finishes else 0
    note = f"{after:.1f} s after the kill (p50); the provider speaks {TOKENS * INTERVAL_MS / 1000:g} s"
    bench.report.add(
        Figure(
            "turns whose worker was killed that finish by themselves, whole",
            "%",
            100 * len(finishes) / len(takeovers),
            samples=len(takeovers),
            note=note,
            budgets=over(100, 100),
        )
    )
    for share, budgets in ((50, NONE), (99, under(10, 8))):
        bench.report.add(
            Figure(
                f"worker killed mid-turn → streams again elsewhere, p{share}",
                "s",
                percentile(takeovers, share),
                samples=len(takeovers),
                note=f"{bench.size.kills} kills; previews reset {min(resets)} to {max(resets)} times a turn",
                budgets=budgets,
            )
        )


def _tokens(turn: Turn) -> int:
    """How many tokens were received since the preview was last reset."""
    return len("".join(text for at, text in turn.parts if at >= turn.reset_at).split())


async def _busiest(workers: list[int]) -> int:
    before = {pid: machine.cpu_seconds(machine.family([pid])) for pid in workers}
    await asyncio.sleep(1)
    return max(workers, key=lambda pid: machine.cpu_seconds(machine.family([pid])) - before[pid])


async def _again(turn: Turn, killed_at: float) -> float:
    async with asyncio.timeout(60):
        while not (turn.resets and turn.parts[-1][0] > killed_at + SILENT / 2):
            if turn.done.is_set():
                raise RuntimeError(f"turn {turn.tag} ended: {turn.wrong}")
            await asyncio.sleep(0.005)
    return next(at for at, _ in turn.parts if at > killed_at + SILENT / 2)


async def _replaced(bench: Bench, victim: int) -> None:
    async with asyncio.timeout(60):
        while True:
            workers = bench.stack.facts["pids"]["worker"]
            if victim not in workers and len(workers) == 2:
                return
            await asyncio.sleep(0.05)


async def history(bench: Bench) -> None:
    """What a turn of many tool calls leaves in Temporal."""
    steps = bench.size.long_turn
    (chat,) = await bench.service.chats(1)
    await chat.turn("@steps", n=steps, answers=steps + 1)
    await leave([chat])
    await bench.requests()
    found = await _described(bench, f"chat-{chat.id}")
    note = "in one run" if steps == 200 else f"a turn of {steps} steps"
    budgets = (under(1000), under(5000)) if steps == 200 else (NONE, NONE)
    bench.report.add(
        Figure(f"history of a {steps}-step turn", "kB", found["bytes"] / 1000, note=note, budgets=budgets[0]),
        Figure(f"events of a {steps}-step turn", "events", found["events"], budgets=budgets[1]),
    )


async def _described(bench: Bench, workflow_id: str) -> dict[str, Any]:
    from temporalio.client import Client

    facts = bench.stack.facts
    client = await Client.connect(facts["temporal_address"], namespace=facts["temporal_namespace"])
    info = (await client.get_workflow_handle(workflow_id).describe()).raw_description.workflow_execution_info
    return {"bytes": info.history_size_bytes, "events": info.history_length}
