"""Ask a model a question aside: one whole answer, shown to nobody while it grows."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from activities import reserving
from activities.catalog import ReadyModel
from activities.observed import observed
from activities.providers.provider import Finished, ModelRequest, TextDelta, Usage
from activities.recorder import Subject
from activities.resources import Resources
from activities.tracing import Turn
from models.errors import FailureFacts, ProviderFailed, TurnstoneError
from models.parts import text
from models.store.database import Row
from models.store.moves import Fence
from models.store.reserving import ASIDE, Refused

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said; calls and thoughts are left out. `usage` is what the provider told, if it did."""

    text: str
    usage: Usage | None
    finished: Finished
    reservation: UUID | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Payer:
    """The chat whose budgets a call is charged to, and the attempt that asks, if one does."""

    chat: Row
    fence: Fence | None = None
    kind: str = ASIDE


@dataclass(frozen=True, slots=True)
class Watching:
    """Who hears of a call while it is under way: the turn's trace, the meters under a purpose, whoever is shown it."""

    turn: Turn | None
    purpose: str
    said: Callable[[str], None] | None


class OutOfBudget(TurnstoneError):
    """No budget has room for the call: nothing was asked."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused
        super().__init__(reserving.error(refused)["message"])


async def ask(
    resources: Resources,
    model: ReadyModel,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    timeout: timedelta,
    tools: Sequence[Message] = (),
    provider_tools: bool = False,
    payer: Payer,
    subject: Subject | None = None,
    turn: Turn | None = None,
    purpose: str = "",
    said: Callable[[str], None] | None = None,
) -> Answer:
    """The model's whole answer to `messages`; raises ProviderFailed, also when it is not there within `timeout`.

    Raises OutOfBudget before anything is asked. What is reserved for a call that fails is settled by it.

    `tools` must be given when the messages speak of calls, because some providers refuse them otherwise; the model is
    told to use none. `subject` is what the call is for, should its chat's calls be recorded; `turn` is the one that
    waits for the answer. Meters call it by its `purpose`, else by its subject. `said` hears the answer as it grows.
    """
    settings = resources.settings
    request = ModelRequest(
        provider=model.provider,
        model=model.model,
        messages=messages,
        base_url=model.base_url,
        api_key=model.api_key,
        provider_settings=model.settings,
        tools=tools,
        tool_choice="none" if tools else "",
        max_tokens=max_tokens,
        provider_tools=provider_tools,
        call_config=plain(model.options),
        first_byte_timeout=settings.first_byte_timeout.total_seconds(),
        silence_timeout=settings.silence_timeout.total_seconds(),
    )
    granted = await reserving.reserve(resources, payer.chat, model, request, fence=payer.fence, kind=payer.kind)
    if isinstance(granted, Refused):
        raise OutOfBudget(granted)
    try:
        watching = Watching(turn, purpose or (subject.kind if subject is not None else payer.kind), said)
        answer = await _recorded(resources, model, granted.request, timeout, watching, subject)
    except ProviderFailed as failed:
        await reserving.give_back(resources, granted.reservation, 0 if failed.facts.status is not None else None)
        raise
    return replace(answer, reservation=granted.reservation)


async def _recorded(
    resources: Resources,
    model: ReadyModel,
    request: ModelRequest,
    timeout: timedelta,
    watching: Watching,
    subject: Subject | None,
) -> Answer:
    recording = await resources.recorder.recording(subject, model) if subject is not None else None
    if recording is None:
        return await _answer(resources, model, request, timeout, watching)
    with recording.alone():
        answer: list[Answer] = []
        request = recording.asked(request, lambda: said_by(*answer))
        answer.append(await _answer(resources, model, request, timeout, watching))
    return answer[0]


def said_by(answer: Answer | None = None) -> dict[str, Any]:
    """What an answer holds, as a recording keeps it."""
    if answer is None:
        return {}
    said = {"content": [text(answer.text)], "finish_reason": answer.finished.reason}
    return said | {"response_id": answer.finished.response_id, "usage": asdict(answer.usage) if answer.usage else None}


async def _answer(
    resources: Resources, model: ReadyModel, request: ModelRequest, timeout: timedelta, watching: Watching
) -> Answer:
    pieces: list[str] = []
    usage: Usage | None = None
    finished: Finished | None = None
    chunks_of = resources.providers.provider_for(model.provider).stream(request)
    watched = observed(
        resources.meters,
        resources.tracing,
        watching.turn,
        request,
        chunks_of,
        purpose=watching.purpose,
        price=model.cost_micros,
    )
    try:
        async with asyncio.timeout(timeout.total_seconds()), aclosing(watched) as chunks:
            async for chunk in chunks:
                match chunk:
                    case TextDelta():
                        pieces.append(chunk.text)
                        if watching.said is not None:
                            watching.said(chunk.text)
                    case Usage():
                        usage = chunk
                    case Finished():
                        finished = chunk
                    case _:
                        pass
    except TimeoutError:
        raise ProviderFailed(FailureFacts(model.provider, signal="silence")) from None
    if finished is None:
        raise ProviderFailed(FailureFacts(model.provider, signal="stream_cut"))
    return Answer("".join(pieces), usage, finished)


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """A model's call options without the one that would decide on the length of the answer after all."""
    sections = {
        name: {key: value for key, value in section.items() if key != "max_completion_tokens"}
        for name, section in (options.get("provider_options") or {}).items()
        if isinstance(section, Mapping)
    }
    return {**options, "provider_options": sections}
