"""What every measure works with: the fake provider, the floors, a running stack, and the report that it fills."""

import asyncio
from dataclasses import dataclass
from typing import Any

from benchmarks.chats import Chat, Service
from benchmarks.figures import Report
from benchmarks.floors import Raw
from benchmarks.lines import Process
from benchmarks.stack import Stack


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    first_tokens: int
    step_turns: int
    long_turn: int
    stream_tokens: int
    interrupts: int
    turn_seconds: float
    floor_seconds: float
    kills: int
    idle_seconds: float
    seeded_chats: int
    seeded_messages: int
    reads: int
    watchers: tuple[int, ...]
    watcher_events: int


FULL = Size(
    first_tokens=150,
    step_turns=12,
    long_turn=200,
    stream_tokens=200,
    interrupts=60,
    turn_seconds=15,
    floor_seconds=5,
    kills=3,
    idle_seconds=30,
    seeded_chats=1000,
    seeded_messages=1000,
    reads=200,
    watchers=(1000, 10_000),
    watcher_events=300,
)
QUICK = Size(
    first_tokens=40,
    step_turns=4,
    long_turn=50,
    stream_tokens=100,
    interrupts=15,
    turn_seconds=5,
    floor_seconds=2,
    kills=1,
    idle_seconds=3,
    seeded_chats=50,
    seeded_messages=200,
    reads=50,
    watchers=(1000,),
    watcher_events=100,
)


@dataclass
class Bench:
    """One run, with one stack at a time."""

    size: Size
    provider: Process
    bare: Process | None  # without it, no floor is measured but what a figure is reckoned from
    raw: Raw
    report: Report
    stack: Stack
    service: Service

    @property
    def provider_url(self) -> str:
        return str(self.provider.greeting["url"])

    async def litellm(self, measure: str, **asked: Any) -> Any:
        """What litellm alone makes of it; None when the floors are not wanted."""
        return await self.bare.ask(measure=measure, url=self.provider_url, **asked) if self.bare else None

    async def requests(self) -> dict[str, list[dict[str, float]]]:
        """What the provider was asked since the last call, by the tag of the turn."""
        by_tag: dict[str, list[dict[str, float]]] = {}
        for record in await self.provider.ask():
            by_tag.setdefault(record["tag"], []).append(record)
        return by_tag


async def leave(chats: list[Chat]) -> None:
    """Close chats, and let their turns' last bookkeeping pass."""
    for chat in chats:
        chat.close()
    await asyncio.sleep(0.3)


async def connect(stack: Stack, provider_url: str) -> Service:
    """A client of a stack, with a model of the provider."""
    facts = stack.facts
    service = Service(facts["api_url"], facts["admin_token"], facts["organization_id"])
    await service.add_model(provider_url)
    return service
