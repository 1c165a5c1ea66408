"""The compaction of a chat: have its model write a summary of what it sees, and commit that in place of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from uuid import uuid4

from activities import client_tools, prompting, setback
from activities.ask import Answer, OutOfBudget, Payer, ask
from activities.attempt import Attempt, heartbeats
from activities.catalog import ReadyModel
from activities.draft import clock
from activities.performs import performs
from activities.recorder import Subject
from activities.resources import Resources
from activities.workspace_context import kept
from models.errors import FailureFacts, ProviderFailed
from models.parts import Part, text, tool_result
from models.rules import compaction, excerpt, failures, history, workspace_context
from models.rules.moments import rfc3339
from models.steps import StepReply, StepRequest, Then
from models.store import moves
from models.store.database import Row
from models.store.moves import Opened, StepRow
from workflows import effects

MOST_TOKENS = 16_000  # of a summary, and of the thoughts before it
TRIES = 4  # the length is an estimate: each refusal halves what is sent


class Compaction:
    """Performs the effect `compact`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.compact)
    async def compact(self, request: StepRequest) -> StepReply:
        step = CompactStep(self._resources)
        async with heartbeats():
            return await Attempt(self._resources, request.chat_id, Then.COMPACT, step).run()


class CompactStep:
    """One summary: asked for by the chat's owner, or made by a model step because its context is too full."""

    def __init__(self, resources: Resources, context: StepRow | None = None) -> None:
        self._resources = resources
        self._context = context  # what the workspace has just told, and nobody has kept yet

    def partial(self) -> list[StepRow]:
        """Half a summary is none."""
        return []

    async def work(self, attempt: Attempt, opened: Opened) -> StepReply:
        """Summarise because the owner asked for it."""
        model = await setback.model_or_error(self._resources, attempt, opened)
        if isinstance(model, StepReply):
            return model
        return await self._summarise(attempt, opened, model, automatic=False)

    async def before_answer(self, attempt: Attempt, opened: Opened, model: ReadyModel) -> StepReply | None:
        """Summarise if the context is too full to answer, or end the turn if that was done and did not help."""
        rows = opened.history
        if compaction.hopeless(rows, model.context_limit):
            return await self._give_up(attempt)
        if not compaction.has_something(rows):
            return None
        percent = await self._resources.catalog.threshold(opened.chat["owner_id"], model)
        if not compaction.needed(rows, model.context_limit, percent):
            return None
        return await self._summarise(attempt, opened, model, automatic=True)

    async def instead_of_answer(
        self, attempt: Attempt, opened: Opened, model: ReadyModel, facts: FailureFacts
    ) -> StepReply:
        """The provider refused the conversation for its length: summarise it, unless that was just done or is off."""
        if compaction.just_done(opened.history):
            return await self._give_up(attempt)
        percent = await self._resources.catalog.threshold(opened.chat["owner_id"], model)
        if percent >= compaction.NEVER or not compaction.has_something(opened.history):
            return await setback.failed(self._resources, attempt, model, facts)
        return await self._summarise(attempt, opened, model, automatic=True)

    async def _summarise(self, attempt: Attempt, opened: Opened, model: ReadyModel, *, automatic: bool) -> StepReply:
        percent = await self._resources.catalog.threshold(opened.chat["owner_id"], model)
        end = compaction.extent(opened.history)
        rows, pending = opened.history[:end], opened.history[end:]
        was = compaction.load(rows, model.context_limit)
        call_id = f"{compaction.TOOL}_{uuid4()}"
        call = compaction.call(call_id, automatic=automatic, percent=percent, created_at=rfc3339(clock()))
        attempt.show("assistant", call)
        begun = asyncio.get_running_loop().time()
        try:
            answer = await self._written(attempt, opened, rows, model)
        except OutOfBudget as over:
            attempt.show("tool", tool_result(call, {"error": over.message}, is_error=True))
            return await setback.unaffordable(attempt, over.refused)
        except ProviderFailed as failed:
            error = {"error": failures.classify(failed.facts, model.provider_name).message}
            attempt.show("tool", tool_result(call, error, is_error=True))
            return await setback.failed(self._resources, attempt, model, failed.facts)
        outcome = compaction.outcome(answer.text, was, automatic=automatic, percent=percent)
        result = tool_result(call, outcome) | {"created_at": rfc3339(clock())}
        attempt.show("tool", result)
        runtime = round((asyncio.get_running_loop().time() - begun) * 1000)
        asked = [_again(row) for row in pending if not history.is_context(row)]
        committed = [*_triplet(opened, rows, model, answer, call, result, runtime), *asked, *self._told(opened.chat)]
        await attempt.shown()
        return await attempt.commit(lambda session, fence: moves.commit_compaction(session, fence, committed))

    async def _written(self, attempt: Attempt, opened: Opened, rows: Sequence[Row], model: ReadyModel) -> Answer:
        """The summary; what is too long for one call is cut until the provider takes it."""
        chat = opened.chat
        client = client_tools.offered(chat, lambda name: self._resources.tools.find(name) is not None)
        tools = (*self._resources.tools.offered(chat), *client.declarations)
        asking = [*rows, {"role": "user", "content": [text(compaction.REQUEST)]}]
        everything = await prompting.messages(self._resources.database, opened, asking, model, tools)
        most = min(MOST_TOKENS, max(model.context_limit // 4, 1))
        budget = (model.context_limit - most) * excerpt.CHARACTERS_A_TOKEN
        for tries_left in reversed(range(TRIES)):
            messages = await asyncio.to_thread(excerpt.fitted, everything, budget)
            try:
                answer = await ask(
                    self._resources,
                    model,
                    messages,
                    max_tokens=most,
                    timeout=self._resources.settings.compaction_timeout,
                    tools=tools,
                    provider_tools=prompting.may_search(chat),
                    turn=attempt.turn,
                    subject=Subject("compaction", chat["id"], chat["owner_id"], rows[-1]["id"]),
                    payer=Payer(chat, opened.fence, "compaction"),
                )
            except ProviderFailed as failed:
                if not tries_left or not failures.is_overflow(failed.facts):
                    raise
                budget = min(budget, excerpt.length(messages)) // 2
                continue
            if summary := answer.text.strip():
                return replace(answer, text=summary)
            signal = "content_filter" if answer.finished.reason == "content_filter" else "empty"
            raise ProviderFailed(FailureFacts(model.provider, signal=signal))
        raise AssertionError("the last try returns or raises")

    def _told(self, chat: Row) -> list[StepRow]:
        """What the workspace tells, once more after the summary: what came before it is not read again."""
        if self._context is not None:
            return [self._context]
        known = chat.get(workspace_context.KEY)
        return [kept(known, again=True)] if known else []

    async def _give_up(self, attempt: Attempt) -> StepReply:
        error = compaction.STILL_TOO_LONG
        return await attempt.commit(lambda session, fence: moves.finish_error(session, fence, error))


def _triplet(
    opened: Opened, rows: Sequence[Row], model: ReadyModel, answer: Answer, call: Part, result: Part, runtime_ms: int
) -> list[StepRow]:
    """The summary for the model, and the call and its result for people; the call bears what the summary cost."""
    asked = next(
        (row for row in reversed(opened.history) if row["role"] == "user" and not history.is_context(row)), None
    )
    return [
        StepRow(
            "user",
            compaction.summary(answer.text, rows, history.last_asked(opened.history)),
            model_config_id=history.model_of_turn(opened.history),
            created_by=asked["created_by"] if asked else None,
            visibility="model",
            compressed=True,
        ),
        StepRow(
            "assistant",
            [call],
            model_config_id=model.model_config_id,
            visibility="user",
            compressed=True,
            usage=asdict(answer.usage) if answer.usage else None,
            total_cost_micros=model.cost_micros(answer.usage),
            runtime_ms=runtime_ms,
            context_limit=model.context_limit,
            provider_response_id=answer.finished.response_id or None,
        ),
        StepRow("tool", [result], compressed=True),
    ]


def _again(row: Row) -> StepRow:
    """An unanswered user message once more, after the summary; people see it where it was."""
    return StepRow(
        "user",
        row["content"],
        model_config_id=row["model_config_id"],
        created_by=row["created_by"],
        visibility="model",
    )
