"""Requests to a fake provider, and answers read to their end."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from activities.providers.provider import (
    Chunk,
    Finished,
    ModelRequest,
    Provider,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from models.errors import FailureFacts, ProviderFailed
from tests.fakes.provider import FakeProvider

KEY = "key-for-the-fake"
CLOCK = {
    "type": "function",
    "function": {
        "name": "current_time",
        "description": "Tell the time.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    },
}


def request(
    fake: FakeProvider, provider: str = "openai-compat", behave: Mapping[str, Any] | None = None, **more: Any
) -> ModelRequest:
    """A request whose answer the last user message directs."""
    text = "Hello." if behave is None else f"Hello. @fake {json.dumps(behave)}"
    values: dict[str, Any] = {
        "provider": provider,
        "model": "fake-model",
        "messages": [{"role": "user", "content": text}],
        "base_url": fake.root_url if provider == "anthropic" else fake.openai_url,
        "api_key": KEY,
        **more,
    }
    return ModelRequest(**values)


async def answer(provider: Provider, asked: ModelRequest) -> list[Chunk]:
    """Every chunk of the answer."""
    return [chunk async for chunk in provider.stream(asked)]


async def failure(provider: Provider, asked: ModelRequest) -> FailureFacts:
    """The facts of the failure that the answer ends with."""
    with pytest.raises(ProviderFailed) as caught:
        await answer(provider, asked)
    return caught.value.facts


def text(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta))


def reasoning(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningDelta))


def calls(chunks: Sequence[Chunk]) -> list[tuple[str, str, str]]:
    """Tool calls joined, as (id, name, arguments)."""
    joined: dict[int, tuple[str, str, str]] = {}
    for chunk in chunks:
        if isinstance(chunk, ToolCallDelta):
            known = joined.get(chunk.index, ("", "", ""))
            joined[chunk.index] = (known[0] + chunk.id, known[1] + chunk.name, known[2] + chunk.arguments)
    return [joined[index] for index in sorted(joined)]


def usage(chunks: Sequence[Chunk]) -> Usage:
    (only,) = (chunk for chunk in chunks if isinstance(chunk, Usage))
    return only


def finished(chunks: Sequence[Chunk]) -> Finished:
    (only,) = (chunk for chunk in chunks if isinstance(chunk, Finished))
    assert chunks[-1] is only
    return only
