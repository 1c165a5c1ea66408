"""Before a model call its worst case is set aside in the chat's budgets; where there is less room, a shorter answer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from activities.catalog import ReadyModel
from activities.providers.options import DEFAULT_MAX_OUTPUT_TOKENS, PROVIDERS, options_for
from activities.providers.provider import ModelRequest
from activities.resources import Resources
from models.rules import failures, pricing, reserving
from models.store import reserving as store
from models.store.database import Row
from models.store.moves import Fence
from models.store.reserving import ASIDE, Call, Refused

LONG = 100  # messages; writing more down would hold up the other turns of this process
NAMES = {"organization": "The organization's", "group": "A group's", "user": "Your", "chat": "The chat's"}


@dataclass(frozen=True, slots=True)
class Granted:
    """The request as it may be made, and what is set aside for it; nothing where no budget asks."""

    request: ModelRequest
    reservation: UUID | None = None


async def reserve(
    resources: Resources, chat: Row, model: ReadyModel, request: ModelRequest, *, fence: Fence | None, kind: str = ASIDE
) -> Granted | Refused:
    """Reserve the call's worst case. A chat without budgets, or a model without prices, costs nothing here.

    Raises FenceLost when the attempt is over already.
    """
    prices = pricing.prices(model.options)
    if not chat["is_budgeted"] or prices == pricing.UNPRICED:
        return Granted(request)
    longest = _longest(request, request.max_tokens)
    sent = await _bytes(request.messages, request.tools)
    bound = reserving.bound(
        prices,
        sent_bytes=sent,
        messages=len(request.messages),
        context_limit=model.context_limit,
        longest=longest,
    )
    if not bound.amount:
        return Granted(request)
    shortest = min(longest, reserving.LEAST_ANSWER)
    shortens = _longest(request, shortest) <= shortest  # some options insist on a length
    call = Call(
        chat["id"],
        kind,
        bound.amount,
        bound.least if shortens else bound.amount,
        bound.prompt_likely,
        bound.output_price,
        fence.history_version if fence else 0,
        fence.generation_attempt if fence else 0,
    )
    async with resources.database.begin() as session:
        found = await store.reserve(session, call)
    if found is None:
        return Granted(request)
    if isinstance(found, Refused):
        return found
    if found.micros < bound.amount:
        request = replace(request, max_tokens=bound.answer_within(found.micros))
    return Granted(request, found.id)


async def give_back(resources: Resources, reservation: UUID | None, paid: int | None = 0) -> None:
    """Settle what was set aside for a call that no message stands for."""
    if reservation is not None:
        async with resources.database.begin() as session:
            await store.settle(session, reservation, paid)


def error(refused: Refused) -> dict[str, Any]:
    """What people see of a turn that found no room: whether waiting helps, and how far the budget is."""
    of, limit, settled = refused.scope, _dollars(refused.limit_micros), _dollars(refused.settled_micros)
    why = "is used up" if refused.is_spent else "has no room for this call while other calls are under way"
    return {
        "message": f"{NAMES[of]} budget {why}.",
        "detail": f"{settled} of {limit} are spent, {_dollars(refused.reserved_micros)} are reserved.",
        "kind": failures.ErrorKind.USAGE_LIMIT.value,
        "retryable": not refused.is_spent,
    }


def _longest(request: ModelRequest, most: int) -> int:
    """The answer's length that the provider is told to keep to, at most `most` if that is not 0."""
    if request.provider not in PROVIDERS:  # the demo
        return most or DEFAULT_MAX_OUTPUT_TOKENS
    options = options_for(
        request.provider, request.call_config, tools=bool(request.tools), output_limit=None, most=most
    )
    length: int = options.params["max_tokens"]
    return length


async def _bytes(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> int:
    def count() -> int:
        return len(orjson.dumps([messages, tools], default=str))

    return await asyncio.to_thread(count) if len(messages) > LONG else count()


def _dollars(micros: int) -> str:
    return f"${micros / 1_000_000:.2f}"
