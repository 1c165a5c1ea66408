"""`python -m benchmarks.profile`: where a turn's time and CPU go: by process, by function, by Temporal event."""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.bench import connect
from benchmarks.chats import Chat, Service
from benchmarks.figures import ms, percentile
from benchmarks.lines import Process
from benchmarks.stack import Meter, Stack

WARM_UP = 2.0
TOP = 25


async def _profile(chats: int, seconds: float, pause: float, directive: Mapping[str, Any]) -> None:
    provider = await Process.start("benchmarks.provider")
    try:
        with tempfile.TemporaryDirectory(prefix="turnstone-profile-", ignore_cleanup_errors=True) as folder:
            samples = Path(folder) / "samples"
            samples.mkdir()
            settings = {"PYTHONPATH": str(Path(__file__).parent / "sampler"), "BENCH_SAMPLES": str(samples)}
            stack = await Stack.start(Path(folder), settings=settings)
            try:
                service = await connect(stack, provider.greeting["url"])
                await _run(stack, service, samples, chats, seconds, pause, directive)
            finally:
                await stack.stop()
    finally:
        await provider.stop()


async def _run(
    stack: Stack,
    service: Service,
    samples: Path,
    count: int,
    seconds: float,
    pause: float,
    directive: Mapping[str, Any],
) -> None:
    chats = await service.chats(count)
    turns = []
    begins = time.time() + WARM_UP
    ends = begins + seconds

    async def loop(chat: Chat) -> None:
        while time.time() < ends:
            turn = await chat.turn(**directive)
            if turn.sent_at > begins:
                turns.append(turn)
            await asyncio.sleep(pause)

    async def metered() -> dict[str, float]:
        await asyncio.sleep(begins - time.time())
        meter = Meter(stack)
        (samples / "begin").touch()
        await asyncio.sleep(ends - time.time())
        return meter.stop()

    metering = asyncio.create_task(metered())
    await asyncio.gather(*map(loop, chats))
    used = await metering
    print(f"{len(turns)} turns, {len(turns) / seconds:.1f}/s; first token p50 ", end="")
    print(f"{ms(percentile([turn.first_token for turn in turns], 50)):.1f} ms")
    print("CPU ms a turn:", ", ".join(f"{role} {value / len(turns):.2f}" for role, value in used.items()))
    await _events(stack, chats[0])
    await asyncio.sleep(1.2)
    pids = stack.facts["pids"]
    for role in ("api", "worker"):
        for pid in pids[role]:
            _functions(role, json.loads((samples / f"{pid}.json").read_text()))


async def _events(stack: Stack, chat: Chat) -> None:
    """The last turn of a chat as Temporal saw it."""
    from temporalio.client import Client

    facts = stack.facts
    client = await Client.connect(facts["temporal_address"], namespace=facts["temporal_namespace"])
    history = await client.get_workflow_handle(f"chat-{chat.id}").fetch_history()
    began = history.events[0].event_time.ToNanoseconds()
    print("\nTemporal, ms since the run began:")
    for event in history.events[-40:]:
        kind = str(event.WhichOneof("attributes")).removesuffix("_event_attributes")
        print(f"  {(event.event_time.ToNanoseconds() - began) / 1e6:8.2f}  {kind}")


def _functions(role: str, sampled: Mapping[str, Any]) -> None:
    busy = max(sampled["seen"] - sampled["elsewhere"], 1)
    print(f"\n{role}: {busy} samples of its main thread, {sampled['elsewhere']} of its other threads")
    for title, counted in (("own time", sampled["own"]), ("with what it calls", sampled["total"])):
        print(f"  {title}, share of the main thread's samples")
        for place, share in _largest(counted, busy):
            print(f"    {share:6.1%}  {place}")


def _largest(counted: Mapping[str, int], busy: int) -> Iterator[tuple[str, float]]:
    loop = 0.99 * max(counted.values(), default=0) if max(counted.values(), default=0) > busy / 2 else busy
    shown = [item for item in counted.items() if item[1] < loop]  # what is in every sample is the way to the event loop
    for place, count in sorted(shown, key=lambda item: -item[1])[:TOP]:
        yield place, count / busy


def main() -> None:
    """Profile turns on a stack of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--chats", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--pause", type=float, default=0, help="seconds between a chat's turns")
    parser.add_argument("--fake", type=json.loads, default={"tokens": 20}, help="what the provider is told (JSON)")
    arguments = parser.parse_args()
    uvloop.run(_profile(arguments.chats, arguments.seconds, arguments.pause, arguments.fake))
    os._exit(0)  # the Temporal client's threads may otherwise abort a finished interpreter


if __name__ == "__main__":
    main()
