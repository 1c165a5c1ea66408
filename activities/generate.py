"""One model step: prompt, stream, commit; or the retry or error that it came to."""

import asyncio
from contextlib import aclosing
from dataclasses import asdict
from datetime import timedelta

from activities.attempt import Attempt
from activities.catalog import ReadyModel
from activities.draft import Draft, clock
from activities.performs import performs
from activities.providers.provider import ModelRequest
from activities.resources import Resources
from models.errors import FailureFacts, Precondition, ProviderFailed
from models.parts import Part
from models.rules import backoff, failures, prompt
from models.steps import StepReply, StepRequest, Then
from models.store import moves
from models.store.moves import Opened, StepRow
from workflows import effects

NO_MODEL = {
    "message": "No chat model is configured. Ask an administrator to add one.",
    "kind": failures.ErrorKind.CONFIG.value,
    "retryable": False,
}


class Generation:
    """Performs the effect `generate`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.generate)
    async def generate(self, request: StepRequest) -> StepReply:
        step = ModelStep(self._resources)
        return await Attempt(self._resources, request.chat_id, Then.GENERATE, step).run()


class ModelStep:
    """One call of one model, with what came of it so far."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._draft = Draft()
        self._model: ReadyModel | None = None
        self._begun = 0.0

    def partial(self) -> list[StepRow]:
        """The answer as far as it was streamed; with its usage if it had come to its end, where providers tell it."""
        self._draft.close()
        parts = self._draft.parts()
        return [self._row(parts)] if parts else []

    async def work(self, attempt: Attempt, opened: Opened) -> StepReply:
        """Stream the answer, commit it; a provider's failure becomes a retry or an error."""
        wanted = (opened.model_config_id, opened.chat["last_model_config_id"])
        try:
            model = self._model = await self._resources.catalog.resolve(wanted)
        except Precondition as unreadable:  # no configured key opens the provider's secrets
            error = {**NO_MODEL, "kind": failures.ErrorKind.MISSING_KEY.value, "message": unreadable.message}
            return await attempt.commit(lambda session, fence: moves.finish_error(session, fence, error))
        if model is None:
            return await attempt.commit(lambda session, fence: moves.finish_error(session, fence, NO_MODEL))
        try:
            await self._stream(attempt, opened, model)
        except ProviderFailed as failed:
            return await self._failed(attempt, model, failed.facts)
        return await self._commit(attempt, model)

    async def _stream(self, attempt: Attempt, opened: Opened, model: ReadyModel) -> None:
        settings = self._resources.settings
        request = ModelRequest(
            provider=model.provider,
            model=model.model,
            messages=prompt.build(opened.history, provider=model.provider),
            base_url=model.base_url,
            api_key=model.api_key,
            provider_settings=model.settings,
            tools=self._resources.tools.declarations,
            call_config=model.options,
            first_byte_timeout=settings.first_byte_timeout.total_seconds(),
            silence_timeout=settings.silence_timeout.total_seconds(),
        )
        provider = self._resources.providers.provider_for(model.provider)
        draft = self._draft
        self._begun = asyncio.get_running_loop().time()
        async with aclosing(provider.stream(request)) as chunks:
            async for chunk in chunks:
                piece = draft.add(chunk)
                if piece is not None:
                    attempt.show("assistant", piece)
        if draft.finished is None:
            raise ProviderFailed(FailureFacts(model.provider, signal="stream_cut"))
        for call in draft.close():
            attempt.show("assistant", call)

    async def _commit(self, attempt: Attempt, model: ReadyModel) -> StepReply:
        draft = self._draft
        assert draft.finished is not None
        if draft.finished.reason == "content_filter" and not draft.says_something:
            return await self._failed(attempt, model, FailureFacts(model.provider, signal="content_filter"))
        parts = draft.parts()
        if not parts:
            return await attempt.commit(moves.finish_turn)
        row = self._row(parts)
        await attempt.shown()
        return await attempt.commit(lambda session, fence: moves.commit_step(session, fence, [row]))

    def _row(self, parts: list[Part]) -> StepRow:
        draft, model = self._draft, self._model
        return StepRow(
            "assistant",
            parts,
            model_config_id=model.model_config_id if model else None,
            usage=asdict(draft.usage) if draft.usage else None,
            runtime_ms=self._runtime_ms(),
            context_limit=model.context_limit if model and draft.finished else None,
            provider_response_id=(draft.finished.response_id or None) if draft.finished else None,
        )

    async def _failed(self, attempt: Attempt, model: ReadyModel, facts: FailureFacts) -> StepReply:
        verdict = failures.classify(facts, model.provider_name)
        settings = self._resources.settings
        number = attempt.number
        if not verdict.retryable or number >= settings.max_attempts:
            return await attempt.commit(lambda session, fence: moves.finish_error(session, fence, verdict.error()))
        pause = backoff.delay(number, base=settings.retry_base, cap=settings.retry_cap, retry_after=verdict.retry_after)
        retry = verdict.retry(number, pause, clock() + pause)
        return await attempt.commit(
            lambda session, fence: moves.record_retry(session, fence, retry, pause / timedelta(seconds=1))
        )

    def _runtime_ms(self) -> int | None:
        return round((asyncio.get_running_loop().time() - self._begun) * 1000) if self._begun else None
