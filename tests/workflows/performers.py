"""Fake performers: activities of our effects' names that reply what a test's script says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from models.steps import (
    BuildReply,
    BuildRequest,
    Built,
    DeliveryReply,
    DeliveryRequest,
    HousekeepingReply,
    HousekeepingRequest,
    Job,
    Note,
    StepReply,
    StepRequest,
    SweepReply,
    Then,
    TitleOutcome,
    TitleReply,
    TitleRequest,
)
from workflows.effect import Queue
from workflows.sandbox import WORKFLOWS, runner

Act = Callable[[], Awaitable[StepReply]]


@dataclass
class Script:
    """What each effect replies, call after call; `calls` lists the effects in the order they were asked for."""

    generate: list[StepReply | Act] = field(default_factory=list)
    use_tools: list[StepReply | Act] = field(default_factory=list)
    attend: list[StepReply | Act] = field(default_factory=list)
    compact: list[StepReply | Act] = field(default_factory=list)
    interrupt: list[StepReply | Act] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    requests: list[StepRequest] = field(default_factory=list)
    rounds: list[HousekeepingRequest] = field(default_factory=list)
    broken: tuple[Job, ...] = ()
    deliver: list[DeliveryReply] = field(default_factory=list)
    build: list[Callable[[], Awaitable[BuildReply]]] = field(default_factory=list)

    async def play(self, effect: str, request: StepRequest) -> StepReply:
        self.calls.append(effect)
        self.requests.append(request)
        lines: list[StepReply | Act] = getattr(self, effect)
        line = lines.pop(0) if lines else rest()
        return line if isinstance(line, StepReply) else await line()

    @activity.defn(name="generate")
    async def on_generate(self, request: StepRequest) -> StepReply:
        return await self.play("generate", request)

    @activity.defn(name="use_tools")
    async def on_use_tools(self, request: StepRequest) -> StepReply:
        return await self.play("use_tools", request)

    @activity.defn(name="attend")
    async def on_attend(self, request: StepRequest) -> StepReply:
        return await self.play("attend", request)

    @activity.defn(name="compact")
    async def on_compact(self, request: StepRequest) -> StepReply:
        return await self.play("compact", request)

    @activity.defn(name="interrupt")
    async def on_interrupt(self, request: StepRequest) -> StepReply:
        return await self.play("interrupt", request)

    @activity.defn(name="sweep")
    async def on_sweep(self, reason: str) -> SweepReply:
        self.calls.append(f"sweep {reason}")
        return SweepReply(looked_at=0, nudged=0)

    @activity.defn(name="housekeep")
    async def on_housekeep(self, request: HousekeepingRequest) -> HousekeepingReply:
        self.rounds.append(request)
        if request.job in self.broken:
            raise ApplicationError("broken", non_retryable=True)
        return HousekeepingReply(1)

    @activity.defn(name="deliver")
    async def on_deliver(self, request: DeliveryRequest) -> DeliveryReply:
        self.calls.append(f"deliver {request.delivery_id}")
        return self.deliver.pop(0) if self.deliver else DeliveryReply(Note.DELIVERED)

    @activity.defn(name="build")
    async def on_build(self, request: BuildRequest) -> BuildReply:
        self.calls.append("build")
        return await self.build.pop(0)() if self.build else BuildReply(Built.SUCCEEDED)

    @activity.defn(name="title")
    async def on_title(self, request: TitleRequest) -> TitleReply:
        self.calls.append(f"title {request.naming}")
        return TitleReply(TitleOutcome.SAVED, 7)


def rest(version: int = 100, note: Note = Note.FINISHED) -> StepReply:
    return StepReply(Then.REST, version, note=note)


class Step:
    """A running step under the test's hand: it begins, and ends when released or when asked to stop."""

    def __init__(self, reply: StepReply, *, stopped: StepReply | None = None) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.stops = 0
        self._reply = reply
        self._stopped = stopped

    async def __call__(self) -> StepReply:
        self.begun.set()
        while not self.release.is_set():
            try:
                async with asyncio.timeout(0.05):
                    await self.release.wait()
            except TimeoutError:
                activity.heartbeat()
            except asyncio.CancelledError:
                self.stops += 1
                if self._stopped is not None:
                    return self._stopped
                raise
        return self._reply


@asynccontextmanager
async def worker(client: Client, task_queue: str, script: Script, *, tools: bool = True) -> AsyncIterator[None]:
    """A worker of each queue, with the script's performers, until the block ends."""
    acts = [
        script.on_generate,
        script.on_use_tools,
        script.on_attend,
        script.on_compact,
        script.on_interrupt,
        script.on_sweep,
        script.on_title,
        script.on_housekeep,
        script.on_deliver,
        script.on_build,
    ]
    model = Worker(
        client, task_queue=task_queue, workflows=WORKFLOWS, activities=acts, workflow_runner=runner(), build_id="test"
    )
    async with model:
        if not tools:
            yield
            return
        async with (
            Worker(client, task_queue=Queue.TOOLS.beside(task_queue), activities=acts, build_id="test"),
            Worker(client, task_queue=Queue.CONTROL.beside(task_queue), activities=acts, build_id="test"),
            Worker(client, task_queue=Queue.BUILDS.beside(task_queue), activities=acts, build_id="test"),
            Worker(client, task_queue=Queue.ASIDE.beside(task_queue), activities=acts, build_id="test"),
        ):
            yield
