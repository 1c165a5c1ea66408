"""One model step: prompt, stream, commit; or the retry or error that it came to."""

import asyncio
from contextlib import aclosing
from dataclasses import asdict
from uuid import UUID

from activities import client_tools, prompting, reserving, setback, workspace_context
from activities.attempt import Attempt
from activities.catalog import ReadyModel
from activities.compact import CompactStep
from activities.draft import Draft
from activities.observed import observed
from activities.providers.provider import ModelRequest
from activities.recorder import Subject, said_in
from activities.resources import Resources
from activities.use_tools import ToolsStep
from models.errors import FailureFacts, ProviderFailed
from models.parts import Part
from models.rules import computer, failures, history, mcp, titles
from models.steps import StepReply
from models.store import moves
from models.store.database import Row
from models.store.moves import Fence, Opened, StepRow
from models.store.reserving import Refused
from models.store.session import Session
from models.store.titles import charge


class ModelStep:
    """One call of one model, with what came of it so far."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._draft = Draft()
        self._model: ReadyModel | None = None
        self._begun = 0.0
        self._context: StepRow | None = None
        self._reservation: UUID | None = None
        self._quick = ToolsStep(resources)

    def partial(self) -> list[StepRow]:
        """The answer as far as it was streamed; with its usage if it had come to its end, where providers tell it."""
        self._draft.close()
        parts = self._draft.parts()
        return [*self._told(), self._row(parts), *self._quick.partial()] if parts else []

    async def work(self, attempt: Attempt, opened: Opened) -> StepReply:
        """Stream the answer, commit it; a provider's failure becomes a retry or an error."""
        model = await setback.model_or_error(self._resources, attempt, opened)
        if isinstance(model, StepReply):
            return model
        self._model = model
        self._context = await workspace_context.look(self._resources, opened)
        compaction = CompactStep(self._resources, self._context)
        if (reply := await compaction.before_answer(attempt, opened, model)) is not None:
            return reply
        try:
            refused = await self._stream(attempt, opened, model)
        except ProviderFailed as failed:
            if attempt.recording is not None:
                attempt.recording.failed(failed.facts)
            if not self._draft.parts() and failures.is_overflow(failed.facts):
                await reserving.give_back(self._resources, self._reservation)
                return await compaction.instead_of_answer(attempt, opened, model, failed.facts)
            said = bool(self._draft.parts())
            return await setback.failed(self._resources, attempt, model, failed.facts, said=said)
        if refused is not None:
            return await setback.unaffordable(attempt, refused)
        return await self._commit(attempt, opened, model)

    async def _stream(self, attempt: Attempt, opened: Opened, model: ReadyModel) -> Refused | None:
        """Stream the answer into the draft; or say that there is no money for one."""
        settings = self._resources.settings
        ours = self._resources.tools
        remote = await self._resources.servers.offered(opened.chat)
        client = client_tools.offered(opened.chat, lambda name: ours.find(name) is not None or name in remote.tools)
        self._draft = Draft(client_tools=client.names, remote_tools=remote.tools)
        tools = (*ours.offered(opened.chat), *remote.declarations, *client.declarations)
        request = ModelRequest(
            provider=model.provider,
            model=model.model,
            messages=await prompting.messages(
                self._resources.database, opened, opened.history, model, tools, note=mcp.missing(remote.absent)
            ),
            base_url=model.base_url,
            api_key=model.api_key,
            provider_settings=model.settings,
            tools=tools,
            provider_tools=prompting.may_search(opened.chat),
            at_desktop=opened.chat["mode"] == computer.MODE,
            call_config=model.options,
            cautious=attempt.number > 1,
            first_byte_timeout=settings.first_byte_timeout.total_seconds(),
            silence_timeout=settings.silence_timeout.total_seconds(),
        )
        granted = await reserving.reserve(self._resources, opened.chat, model, request, fence=opened.fence, kind="step")
        if isinstance(granted, Refused):
            return granted
        request, self._reservation = granted.request, granted.reservation
        provider = self._resources.providers.provider_for(model.provider)
        draft = self._draft
        self._begun = asyncio.get_running_loop().time()
        subject = Subject("chat_turn", opened.chat["id"], opened.chat["owner_id"], opened.history[-1]["id"])
        attempt.recording = await self._resources.recorder.recording(subject, model, number=attempt.number)
        if attempt.recording is not None:
            request = attempt.recording.asked(request, lambda: said_in(draft))
        answer = observed(
            self._resources.meters,
            self._resources.tracing,
            attempt.turn,
            request,
            provider.stream(request),
            purpose=subject.kind,
            price=model.cost_micros,
        )
        untitled = True
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                piece = draft.add(chunk)
                if piece is not None:
                    attempt.show("assistant", piece)
                    if untitled:  # asked once the first piece is out, so that the answer never waits for a title
                        untitled = self._title(opened)
        if draft.finished is None:
            raise ProviderFailed(FailureFacts(model.provider, signal="stream_cut"))
        for call in draft.close():
            attempt.show("assistant", call)
        return None

    def _title(self, opened: Opened) -> bool:
        """Have a title sought for a chat that nobody named yet; never again for this answer."""
        chat = opened.chat
        if titles.awaits_title(chat["title"], opened.history):
            self._resources.aside.untitled(chat["id"], chat["owner_id"])
        return False

    async def _commit(self, attempt: Attempt, opened: Opened, model: ReadyModel) -> StepReply:
        draft = self._draft
        assert draft.finished is not None
        if draft.finished.reason == "content_filter" and not draft.says_something:
            withheld = FailureFacts(model.provider, signal="content_filter")
            return await setback.failed(self._resources, attempt, model, withheld, said=True)
        parts = draft.parts()
        if not parts:
            return await attempt.commit(lambda session, fence: self._end_unsaid(session, fence, opened.chat))
        rows = [*self._told(), self._row(parts)]
        if (called := draft.called) and self._resources.tools.are_quick(called):
            # What changes nothing may as well be run before the commit: that is one transaction instead of three.
            asked = history.open_calls([{"role": "assistant", "content": parts}])
            rows += await self._quick.run_quick(attempt, opened.chat, asked, model.context_limit)
        patience = self._resources.settings.requires_action_timeout
        await attempt.shown()
        return await attempt.commit(lambda session, fence: moves.commit_step(session, fence, rows, patience=patience))

    async def _end_unsaid(self, session: Session, fence: Fence, chat: Row) -> StepReply:
        """End the turn without a message; what the provider counted was paid for all the same."""
        row = self._row([])
        reply = await moves.finish_turn(session, fence, paid=row.total_cost_micros)
        if any((row.usage or {}).values()):
            await charge(session, chat, row)
        return reply

    def _told(self) -> list[StepRow]:
        """What the workspace has told, if that is new: it is committed with the answer that was given in its light."""
        return [self._context] if self._context else []

    def _row(self, parts: list[Part]) -> StepRow:
        draft, model = self._draft, self._model
        return StepRow(
            "assistant",
            parts,
            model_config_id=model.model_config_id if model else None,
            usage=asdict(draft.usage) if draft.usage else None,
            total_cost_micros=model.cost_micros(draft.usage) if model else None,
            runtime_ms=self._runtime_ms(),
            context_limit=model.context_limit if model and draft.finished else None,
            provider_response_id=(draft.finished.response_id or None) if draft.finished else None,
        )

    def _runtime_ms(self) -> int | None:
        return round((asyncio.get_running_loop().time() - self._begun) * 1000) if self._begun else None
