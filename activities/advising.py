"""Asks the advisor: whether a turn may, which model it is, what that model is shown, and what its answer comes to.

A call that was paid for is charged to the chat and remembered in one transaction, so whoever takes the tool's call over
answers with it. A call that nobody knows the end of is made again: it changes nothing, and the budgets of the attempt
that made it are settled with an estimate.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from activities import prompting
from activities.ask import Answer, OutOfBudget, Payer, ask
from activities.catalog import ReadyModel
from activities.patience import AWAY, patiently
from activities.recorder import Subject
from activities.resources import Resources
from activities.tracing import Turn
from models.errors import Precondition, ProviderFailed
from models.parts import Part, text, tool_result_delta, tool_result_reset
from models.rules import advisor, backoff, failures, features, history, prompt
from models.rules.features import Advisor
from models.rules.profiles import KEYLESS, profile_for
from models.store import advice
from models.store.moves import Opened, StepRow

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=5)  # for all tries together
TRIES = 3
OUT_OF_REACH = "The advisor could not be asked: the database was out of reach."
PURPOSE = "advisor"  # in meters
RECORDED_AS = "quickgen"  # the reference's kinds of recorded calls have none of its own


async def settle(resources: Resources, opened: Opened) -> None:
    """Decide whether the opened chat's model may ask, for the whole step, and under which setting."""
    held = features.advisor_over_time({features.ADVISOR: opened.advisor} if opened.advisor else {})
    asked = history.last_asked(opened.history)
    setting = features.advisor_at(held, asked[1]) if asked else held[0].setting
    has_model = setting.enabled and await _own_model(resources, opened) is not None
    advisor.hold(opened.chat, setting, has_model=has_model)


async def _own_model(resources: Resources, opened: Opened) -> ReadyModel | None:
    """The model that the turn runs on."""
    wanted = (opened.model_config_id, opened.chat["last_model_config_id"])
    with suppress(Precondition):
        return await resources.catalog.resolve(wanted, opened.chat["owner_id"])
    return None


@dataclass(slots=True)
class Consultation:
    """One call of the tool. `asked` is the message that calls it, and the call; `show` is for watchers."""

    resources: Resources
    opened: Opened
    asked: tuple[int, Part]
    turn: Turn | None
    show: Callable[[str, Part], None]
    _has_spoken: bool = False
    _keeping: "asyncio.Task[None] | None" = None

    async def ask(self, given: str, memory: Mapping[str, Any]) -> dict[str, Any]:
        """What the agent reads; whatever goes wrong is an outcome too."""
        known: dict[str, Any] | None = memory.get(advice.OUTCOME)
        if known is not None:
            return known
        setting = advisor.offered(self.opened.chat) or Advisor()
        used = history.advice_since_user(self.opened.history, advisor.TOOL)
        left = advisor.remaining(setting, used, self.resources.settings.max_steps)
        question = advisor.question(given)
        if not question:
            return advisor.outcome(advisor.ERROR, left, error=advisor.NO_QUESTION)
        if not left:
            return advisor.outcome(advisor.LIMIT_REACHED, 0)
        model = await self._model(setting)
        if model is None:
            return advisor.outcome(advisor.ERROR, left, error=advisor.NO_MODEL)
        try:
            return await self._advised(model, question, setting, left)
        except OutOfBudget as over:
            return self._failed(model, left, over.message)
        except AWAY:
            return self._failed(model, left, OUT_OF_REACH)

    async def _advised(self, model: ReadyModel, question: str, setting: Advisor, left: int) -> dict[str, Any]:
        """Put the question, again where the failure is one that passes; what was said before that is taken back."""
        messages = await self._messages(model, question)
        clock = asyncio.get_running_loop().time
        deadline = clock() + PATIENCE.total_seconds()
        tries = 0
        while True:
            tries += 1
            began = clock()
            try:
                answer = await self._answer(model, messages, setting, timedelta(seconds=deadline - began))
                break
            except ProviderFailed as failed:
                verdict = failures.classify(failed.facts, model.provider_name)
                pause = self._pause(tries, verdict)
                if not verdict.retryable or tries == TRIES or clock() + pause >= deadline:
                    return self._failed(model, left, verdict.message)
            if self._has_spoken:
                self.show("tool", tool_result_reset(self.asked[1]))
                self._has_spoken = False
            await asyncio.sleep(pause)
        said = answer.text.strip()
        told = {"advisor_model": _name(model), "usage": _usage(model, answer)}
        if said:
            outcome = advisor.outcome(advisor.ADVICE, left - 1, advice=said, **told)
        else:
            withheld = answer.finished.reason == "content_filter"
            why = advisor.WITHHELD if withheld else advisor.NOTHING_SAID
            outcome = advisor.outcome(advisor.ERROR, left, error=why, **told)
        await self._keep(model, answer, outcome, round((clock() - began) * 1000))
        return outcome

    async def _answer(
        self, model: ReadyModel, messages: list[prompt.Message], setting: Advisor, left: timedelta
    ) -> Answer:
        chat, (message_id, _) = self.opened.chat, self.asked
        return await ask(
            self.resources,
            replace(model, options=advisor.unstored(model.options)),
            messages,
            max_tokens=setting.max_output_tokens or advisor.DEFAULT_OUTPUT_TOKENS,
            timeout=left,
            turn=self.turn,
            subject=Subject(RECORDED_AS, chat["id"], chat["owner_id"], message_id),
            payer=Payer(chat, self.opened.fence, "step"),
            purpose=PURPOSE,
            said=self._said,
        )

    def _said(self, piece: str) -> None:
        self._has_spoken = True
        self.show("tool", tool_result_delta(self.asked[1], piece))

    async def _messages(self, model: ReadyModel, question: str) -> list[prompt.Message]:
        """What the agent itself would be sent now, without guidance: the system messages, the newest of the talk."""
        opened = self.opened
        rows = advisor.seen(opened.history, self.asked[1].get("tool_call_id", ""))
        whole = await prompting.messages(
            self.resources.database, opened, rows, model, (), note=advisor.INSTRUCTIONS, guided=False
        )
        system = [message for message in whole if message["role"] == "system"]
        talk = [message for message in whole if message["role"] != "system"]
        asking = [*advisor.in_words(advisor.recent(talk)), advisor.asking(question)]
        if profile_for(model.provider, model.model).alternates:
            asking = [*prompt.alternating(asking)]
        return [*system, *asking]

    async def _model(self, setting: Advisor) -> ReadyModel | None:
        """The administrator's choice if it can be used, else the turn's own."""
        if chosen := setting.model_config_id if setting.model_config_id.int else None:
            with suppress(Precondition):
                model = await self.resources.catalog.resolve([chosen], self.opened.chat["owner_id"])
                if model is not None and model.model_config_id == chosen and _has_key(model):
                    return model
            log.info("chat %s: the advisor's model %s cannot be used", self.opened.chat["id"], chosen)
        return await _own_model(self.resources, self.opened)

    def _pause(self, tries: int, verdict: failures.Verdict) -> float:
        settings = self.resources.settings
        wait = backoff.delay(tries, base=settings.retry_base, cap=settings.retry_cap, retry_after=verdict.retry_after)
        return wait.total_seconds()

    def _failed(self, model: ReadyModel, left: int, why: str) -> dict[str, Any]:
        return advisor.outcome(advisor.ERROR, left, error=why, advisor_model=_name(model))

    async def _keep(self, model: ReadyModel, answer: Answer, outcome: dict[str, Any], runtime_ms: int) -> None:
        """Charge for the answer and remember it, even if the step is stopped meanwhile: it was paid for."""
        chat, (message_id, call) = self.opened.chat, self.asked
        row = StepRow(
            "assistant",
            [text(PURPOSE)],
            model_config_id=model.model_config_id,
            visibility="model",
            usage=asdict(answer.usage) if answer.usage else None,
            total_cost_micros=model.cost_micros(answer.usage),
            runtime_ms=runtime_ms,
            reservation=answer.reservation,
        )
        asked, paid_as = (message_id, call.get("tool_call_id", "")), uuid4()
        keeping = patiently(
            self.resources.database,
            lambda session: advice.keep(session, chat, asked, outcome, row, paid_as=paid_as),
        )
        self._keeping = asyncio.create_task(keeping)
        await asyncio.shield(self._keeping)


def _has_key(model: ReadyModel) -> bool:
    return bool(model.api_key) or model.provider in KEYLESS


def _name(model: ReadyModel) -> str:
    return f"{model.provider}/{model.model}"


def _usage(model: ReadyModel, answer: Answer) -> dict[str, int]:
    """Tokens and, where the model has prices, micro-dollars."""
    if answer.usage is None:
        return {}
    cost = model.cost_micros(answer.usage)
    counted = {name: count for name, count in asdict(answer.usage).items() if count}
    return counted if cost is None else {**counted, "total_cost_micros": cost}
