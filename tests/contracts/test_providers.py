"""What every provider promises, whoever answers: the demo, an OpenAI-compatible one or Anthropic's."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from activities.providers.provider import Finished, ModelRequest, TextDelta, Usage
from activities.providers.registry import DEMO, Providers
from models.errors import ProviderFailed
from models.rules.failures import NAMES, ErrorKind, classify
from tests.activities.providers.asking import CLOCK, answer, calls, finished, reasoning, request, text, usage
from tests.fakes.provider import FakeProvider

KINDS = [DEMO, "openai-compat", "anthropic"]
WISHES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "speak": ("Hello.", {"tokens": 30}),
    "think": ("Please think.", {"reasoning": 4, "tokens": 3}),
    "call": ("Please call current_time now.", {"tool_calls": [{"name": "current_time", "arguments": {}}]}),
    "fail 401": ("fail 401", {"status": 401}),
    "fail 429": ("fail 429", {"status": 429}),
    "fail 500": ("fail 500", {"status": 500}),
    "go on": ("long 20000 slow 200", {"tokens": 100_000, "interval_ms": 5}),
}
Ask = Callable[..., ModelRequest]


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as server:
        yield server


@pytest.fixture(params=[True, False], ids=["read by us", "read by litellm"])
async def providers(request: pytest.FixtureRequest) -> AsyncIterator[Providers]:
    opened = Providers(fast=request.param)
    yield opened
    await opened.close()


@pytest.fixture(params=KINDS)
def ask(request: pytest.FixtureRequest, fake: FakeProvider) -> Ask:
    return asking(request.param, fake)


def asking(kind: str, fake: FakeProvider) -> Ask:
    """A way to ask one provider for what `WISHES` names, in the words it understands."""

    def asked(wish: str, **more: Any) -> ModelRequest:
        words, behave = WISHES[wish]
        if kind == DEMO:
            return ModelRequest(DEMO, "demo-fast", [{"role": "user", "content": words}], **more)
        return request(fake, kind, behave, **more)

    return asked


async def test_an_answer_is_text_then_usage_then_its_end(ask: Ask, providers: Providers) -> None:
    asked = ask("speak")
    chunks = await answer(providers.provider_for(asked.provider), asked)
    assert len(text(chunks)) > 50
    assert finished(chunks).reason == "stop"
    assert isinstance(chunks[-2], Usage)
    assert all(isinstance(chunk, TextDelta) for chunk in chunks[:-2])


async def test_usage_is_counted_and_adds_up(ask: Ask, providers: Providers) -> None:
    asked = ask("speak")
    counted = usage(await answer(providers.provider_for(asked.provider), asked))
    assert counted.input_tokens > 0
    assert counted.output_tokens > 0
    assert counted.total_tokens == counted.input_tokens + counted.output_tokens


async def test_thoughts_come_before_words(ask: Ask, providers: Providers) -> None:
    asked = ask("think")
    chunks = await answer(providers.provider_for(asked.provider), asked)
    assert reasoning(chunks)
    assert text(chunks)
    kinds = [type(chunk).__name__ for chunk in chunks if type(chunk).__name__ in ("TextDelta", "ReasoningDelta")]
    assert kinds == sorted(kinds)


async def test_a_tool_is_called_once_with_an_object(ask: Ask, providers: Providers) -> None:
    asked = ask("call", tools=[CLOCK])
    chunks = await answer(providers.provider_for(asked.provider), asked)
    ((call_id, name, arguments),) = calls(chunks)
    assert call_id
    assert (name, arguments) == ("current_time", "{}")
    assert finished(chunks).reason == "tool_calls"


async def test_the_result_of_a_tool_ends_the_calling(ask: Ask, providers: Providers) -> None:
    asked = ask("call", tools=[CLOCK])
    provider = providers.provider_for(asked.provider)
    ((call_id, name, arguments),) = calls(await answer(provider, asked))
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    history = [
        *asked.messages,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "It is noon."},
    ]
    chunks = await answer(provider, replace(asked, messages=history))
    assert calls(chunks) == []
    assert text(chunks)
    assert finished(chunks).reason == "stop"


@pytest.mark.parametrize(
    ("wish", "kind", "retryable"),
    [
        ("fail 401", ErrorKind.AUTH, False),
        ("fail 429", ErrorKind.RATE_LIMIT, True),
        ("fail 500", ErrorKind.GENERIC, True),
    ],
)
async def test_failures_carry_facts_and_no_answer(
    ask: Ask, providers: Providers, wish: str, kind: ErrorKind, retryable: bool
) -> None:
    asked = ask(wish)
    heard = []
    with pytest.raises(ProviderFailed) as caught:
        async for chunk in providers.provider_for(asked.provider).stream(asked):
            heard.append(chunk)
    verdict = classify(caught.value.facts)
    assert (verdict.kind, verdict.retryable, verdict.provider) == (kind, retryable, asked.provider)
    assert verdict.status_code == int(wish.split()[1])
    assert not any(isinstance(chunk, Finished) for chunk in heard)


async def test_a_stream_can_be_left_at_any_chunk(ask: Ask, providers: Providers) -> None:
    asked = ask("go on")
    stream = providers.provider_for(asked.provider).stream(asked)
    heard = [await anext(stream) for _ in range(5)]
    await stream.aclose()
    assert text(heard)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_the_same_question_gets_the_same_words(ask: Ask, providers: Providers) -> None:
    asked = ask("speak")
    provider = providers.provider_for(asked.provider)
    assert text(await answer(provider, asked)) == text(await answer(provider, asked))


async def test_every_provider_type_of_the_wire_is_served(providers: Providers) -> None:
    assert all(providers.provider_for(kind) for kind in NAMES)


async def test_an_unknown_provider_type_is_a_matter_of_configuration(providers: Providers) -> None:
    with pytest.raises(ProviderFailed) as caught:
        providers.provider_for("copilot")
    assert classify(caught.value.facts).kind is ErrorKind.CONFIG
