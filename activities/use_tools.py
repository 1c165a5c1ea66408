"""The tools step: run the open calls of the last assistant message side by side, commit their results together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from activities.advising import Consultation
from activities.attempt import Attempt, heartbeats
from activities.mcp.calls import tools_of
from activities.performs import performs
from activities.resources import Resources
from activities.tools import calls
from activities.tools.calls import Outcome, Ready
from activities.tools.endings import Pause, Paused
from activities.tools.scribe import Scribe
from activities.tools.tool import ToolContext
from activities.tracing import Mark
from models import steps
from models.parts import Part, from_rest, tool_result_delta
from models.rules import history, tool_results
from models.rules.executions import Course, Policy, Standing
from models.steps import StepReply, StepRequest, Then
from models.store import ledger, moves
from models.store.database import Row
from models.store.ledger import Claim, Ending, Intent
from models.store.moves import Opened, StepRow
from models.store.stream import Episode
from workflows import effects

UNCLAIMED = Claim(1, Course.RUN, None)

Consult = Callable[[str], Awaitable[dict[str, Any]]]


class Tools:
    """Performs the effect `use_tools`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.use_tools)
    async def use_tools(self, request: StepRequest) -> StepReply:
        async with heartbeats():
            return await Attempt(self._resources, request.chat_id, Then.USE_TOOLS, ToolsStep(self._resources)).run()


@dataclass(frozen=True, slots=True)
class Batch:
    """What the calls of one assistant message have in common."""

    chat: dict[str, Any]
    message_id: int
    most: int  # bytes of one result
    scribe: Scribe


class ToolsStep:
    """One batch of calls, with the results there are so far."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._results: dict[int, Part] = {}
        self._pauses: dict[str, Pause] = {}
        self._opened: Opened | None = None

    def partial(self) -> list[StepRow]:
        """The results there are, in call order; what is open is answered by the move that ends the step."""
        return [StepRow("tool", tool_results.with_files(self._results[place])) for place in sorted(self._results)]

    async def work(self, attempt: Attempt, opened: Opened) -> StepReply:
        """Run every open call, then commit; a failing tool never fails the turn."""
        self._opened = opened
        asked = [from_rest(call) for call in history.open_calls(opened.history)]
        ready = self._prepare(attempt, opened.chat, asked)
        message = next(row for row in reversed(opened.history) if row["role"] == "assistant")
        batch = self._batch(opened.chat, message["id"], message["context_limit"])
        claims = await self._claimed(opened, batch, [each for each in ready.values() if _is_kept(each)])
        self._resources.failpoints.hit("worker.after_claim")
        await self._together(attempt, batch, ready, claims)
        if self._pauses:
            return await self._pause(attempt, opened, batch)
        rows = self.partial()
        patience = self._resources.settings.requires_action_timeout
        await attempt.shown()
        return await attempt.commit(lambda session, fence: moves.commit_step(session, fence, rows, patience=patience))

    async def _pause(self, attempt: Attempt, opened: Opened, batch: Batch) -> StepReply:
        """Leave the step open, and nobody at it: the run waits for what its calls wait for."""
        await attempt.shown()
        fence = opened.fence
        episode = Episode(fence.history_version, fence.generation_attempt)
        async with self._resources.database.read() as session:
            await ledger.pause(session, fence.chat_id, episode, batch.message_id, self._pauses)
        soonest = min(self._pauses.values(), key=lambda pause: pause.patience)
        return StepReply(
            Then.AWAIT_TOOLS,
            opened.chat["snapshot_version"],
            delay_seconds=soonest.patience.total_seconds(),
            note=steps.Note(soonest.event),
            outcome=steps.Outcome.PAUSED,
        )

    async def run_quick(self, attempt: Attempt, chat: Row, asked: Sequence[Part], context_limit: int) -> list[StepRow]:
        """The results of calls that change nothing, before the message that asks for them is committed with them."""
        ready = self._prepare(attempt, chat, asked)
        batch = self._batch(chat, 0, context_limit)
        await self._together(attempt, batch, ready, {})
        return self.partial()

    async def _together(
        self, attempt: Attempt, batch: Batch, ready: Mapping[int, Ready], claims: Mapping[str, Claim]
    ) -> None:
        """Run the calls side by side, those of one series one after another."""
        series: dict[str, list[int]] = {}
        for place, each in ready.items():
            series.setdefault(each.tool.series or f"{place}", []).append(place)

        async def pursue(places: Sequence[int]) -> None:
            for place in places:
                call_id = ready[place].call["tool_call_id"]
                await self._pursue(attempt, batch, place, ready[place], claims.get(call_id, UNCLAIMED))
                if call_id in self._pauses:  # what comes after it waits with it
                    break

        await _together(pursue(places) for places in series.values())

    def _prepare(self, attempt: Attempt, chat: Row, asked: Sequence[Part]) -> dict[int, Ready]:
        """The calls that can be run, by their places; the others are answered."""
        toolbox = self._resources.tools.beside(tools_of(self._resources.servers, asked))
        refused = calls.refused_together(toolbox, chat, asked)
        found: list[Ready | Part] = [*refused]
        if not refused:
            found = [calls.prepared(toolbox, chat, call) for call in history.local(asked)]
        ready: dict[int, Ready] = {}
        for place, call in enumerate(found):
            if isinstance(call, Ready):
                ready[place] = call
            else:
                self._answer(attempt, place, call)
        return ready

    def _batch(self, chat: Row, message_id: int, context_limit: int | None) -> Batch:
        scribe = Scribe(self._resources.database, chat["id"], message_id)
        return Batch(chat, message_id, tool_results.budget(context_limit), scribe)

    async def _claimed(self, opened: Opened, batch: Batch, kept: list[Ready]) -> dict[str, Claim]:
        if not kept:
            return {}
        fence = opened.fence
        intents = [Intent(call.call["tool_call_id"], call.tool.name, call.tool.policy) for call in kept]
        async with self._resources.database.read() as session:
            return await ledger.claim(
                session,
                fence.chat_id,
                Episode(fence.history_version, fence.generation_attempt),
                batch.message_id,
                intents,
            )

    async def _pursue(self, attempt: Attempt, batch: Batch, place: int, ready: Ready, claim: Claim) -> None:
        call_id = ready.call["tool_call_id"]
        if claim.course is Course.ANSWER and claim.result is not None:
            self._answer(attempt, place, claim.result)
            return
        chat = batch.chat
        context = ToolContext(
            chat["id"],
            batch.message_id,
            chat["owner_id"],
            call_id,
            self._resources.settings,
            chat=chat,
            workshop=self._resources.workshop,
            show=lambda text: attempt.show("tool", tool_result_delta(ready.call, text)),
            memory=claim.memory or {},
            consult=self._adviser(attempt, batch, ready, claim),
        )
        with self._traced(attempt, ready) as mark:
            try:
                outcome = await calls.pursued(ready, context, claim.course, batch.most)
            except Paused as paused:
                self._pauses[call_id] = paused.pause
                return
            if outcome.standing is not Standing.SUCCEEDED:
                mark.fail(outcome.standing)
        self._resources.failpoints.hit("worker.after_effect")
        if claim is not UNCLAIMED:
            await batch.scribe.write(Ending(call_id, claim.attempt, outcome.standing, outcome.result))
            self._resources.failpoints.hit("worker.after_result")
        self._count(ready, outcome)
        self._answer(attempt, place, outcome.result)

    def _adviser(self, attempt: Attempt, batch: Batch, ready: Ready, claim: Claim) -> Consult | None:
        """The way to the advisor, for the tool that asks it."""
        if not ready.tool.needs_advisor or self._opened is None:
            return None
        asked = (batch.message_id, ready.call)
        consultation = Consultation(self._resources, self._opened, asked, attempt.turn, attempt.show)
        return partial(consultation.ask, memory=claim.memory or {})

    def _answer(self, attempt: Attempt, place: int, result: Part) -> None:
        self._results[place] = result
        attempt.show("tool", result)

    def _traced(self, attempt: Attempt, ready: Ready) -> AbstractContextManager[Mark]:
        tracing = self._resources.tracing
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": ready.tool.name,
            "gen_ai.tool.call.id": ready.call["tool_call_id"],
            **tracing.said("gen_ai.tool.call.arguments", ready.call.get("args")),
        }
        return tracing.span(attempt.turn, f"execute_tool {ready.tool.name}", attributes)

    def _count(self, ready: Ready, outcome: Outcome) -> None:
        meters = self._resources.meters
        meters.tool_calls.labels(ready.tool.name, outcome.standing).inc()
        if outcome.standing is Standing.UNKNOWN:
            meters.unknown_effects.labels(ready.tool.name).inc()


def _is_kept(ready: Ready) -> bool:
    """Is the call in the ledger? What changes nothing and costs nothing is not: it is as well run again."""
    return ready.tool.policy is not Policy.PURE or ready.tool.is_costly


async def _together(pursuits: Any) -> None:
    """Await all; when one raises, the others are stopped before its exception goes on."""
    tasks = [asyncio.create_task(each) for each in pursuits]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
