"""Call options reach the provider in its own words: what the fake receives, and what it must not."""

from typing import Any

import pytest

from activities.providers.litellm import LitellmProvider
from activities.providers.options import DEFAULT_MAX_OUTPUT_TOKENS, PROVIDERS, options_for
from tests.activities.providers.asking import CLOCK, answer, request
from tests.fakes.provider import FakeProvider

CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "openai-compat",
        "m",
        {"temperature": 0.25, "top_p": 0.5, "top_k": 9},
        {"temperature": 0.25, "top_p": 0.5, "top_k": 9},
    ),
    (
        "openai-compat",
        "m",
        {"presence_penalty": 0.1, "frequency_penalty": 0.2},
        {"presence_penalty": 0.1, "frequency_penalty": 0.2},
    ),
    (
        "openai-compat",
        "m",
        {"provider_options": {"openaicompat": {"reasoning_effort": "low", "user": "u"}}},
        {"reasoning_effort": "low", "user": "u"},
    ),
    ("openai", "gpt-4o", {"max_output_tokens": 99}, {"max_tokens": 99}),
    ("openai", "gpt-5", {"max_output_tokens": 99}, {"max_completion_tokens": 99}),
    ("openai", "gpt-5", {"provider_options": {"openai": {"max_completion_tokens": 77}}}, {"max_completion_tokens": 77}),
    (
        "openai",
        "gpt-5",
        {
            "provider_options": {
                "openai": {"reasoning_effort": "high", "text_verbosity": "low", "service_tier": "flex", "store": False}
            }
        },
        {"reasoning_effort": "high", "verbosity": "low", "service_tier": "flex", "store": False},
    ),
    (
        "openai",
        "gpt-4o",
        {
            "provider_options": {
                "openai": {"parallel_tool_calls": False, "log_probs": True, "top_log_probs": 2, "metadata": {"a": "b"}}
            }
        },
        {"parallel_tool_calls": False, "logprobs": True, "top_logprobs": 2, "metadata": {"a": "b"}},
    ),
    ("azure", "gpt-4o", {"provider_options": {"openai": {"prompt_cache_key": "k"}}}, {"prompt_cache_key": "k"}),
    ("anthropic", "claude-sonnet-4-5", {"top_k": 5, "temperature": 0.5}, {"top_k": 5, "temperature": 0.5}),
    (
        "anthropic",
        "claude-sonnet-4-5",
        {"provider_options": {"anthropic": {"thinking": {"budget_tokens": 2048}}}},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 32_000},
    ),
    (
        "anthropic",
        "claude-sonnet-4-5",
        {
            "max_output_tokens": 1000,
            "temperature": 0.2,
            "provider_options": {"anthropic": {"thinking": {"budget_tokens": 2048}}},
        },
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 3048},
    ),
    (
        "anthropic",
        "claude-opus-4-6",
        {"provider_options": {"anthropic": {"effort": "high", "thinking_display": "omitted"}}},
        {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive", "display": "omitted"}},
    ),
    (
        "anthropic",
        "claude-sonnet-4-5",
        {"provider_options": {"anthropic": {"disable_parallel_tool_use": True}}},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    (
        "openrouter",
        "anthropic/claude-sonnet-4",
        {
            "provider_options": {
                "openrouter": {
                    "reasoning": {"effort": "low"},
                    "provider": {"order": ["a"]},
                    "extra_body": {"models": ["x"]},
                }
            }
        },
        {"reasoning": {"effort": "low"}, "provider": {"order": ["a"]}, "models": ["x"], "usage": {"include": True}},
    ),
    (
        "vercel",
        "openai/gpt-5",
        {"provider_options": {"vercel": {"providerOptions": {"order": ["azure"]}, "reasoning": {"enabled": True}}}},
        {"providerOptions": {"gateway": {"order": ["azure"]}}, "reasoning": {"enabled": True}},
    ),
]


@pytest.mark.parametrize(("kind", "model", "config", "expected"), CASES)
async def test_options_reach_the_provider(
    fake: FakeProvider,
    provider: LitellmProvider,
    kind: str,
    model: str,
    config: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    await answer(provider, request(fake, kind, model=model, call_config=config, tools=[CLOCK]))
    body = fake.received[0].body
    assert {key: body.get(key) for key in expected} == expected
    assert body["stream"] is True
    assert "extra_body" not in body


@pytest.mark.parametrize("kind", ["openai-compat", "openai", "openrouter", "vercel", "azure"])
async def test_usage_is_asked_for(fake: FakeProvider, provider: LitellmProvider, kind: str) -> None:
    await answer(provider, request(fake, kind))
    assert fake.received[0].body["stream_options"] == {"include_usage": True}


async def test_parallel_tool_calls_are_not_spoken_of_without_tools(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    config = {"provider_options": {"openai": {"parallel_tool_calls": True}}}
    await answer(provider, request(fake, "openai", call_config=config))
    assert "parallel_tool_calls" not in fake.received[0].body


async def test_a_thinking_anthropic_is_not_told_a_temperature(fake: FakeProvider, provider: LitellmProvider) -> None:
    config = {"temperature": 0.2, "top_k": 3, "provider_options": {"anthropic": {"thinking": {"budget_tokens": 2048}}}}
    await answer(provider, request(fake, "anthropic", model="claude-sonnet-4-5", call_config=config))
    assert not {"temperature", "top_k"} & set(fake.received[0].body)


async def test_options_of_another_provider_are_left_out(fake: FakeProvider, provider: LitellmProvider) -> None:
    config = {"provider_options": {"openrouter": {"user": "u"}, "openai": {"user": "v"}}}
    await answer(provider, request(fake, "openai-compat", call_config=config))
    assert "user" not in fake.received[0].body


async def test_extra_body_cannot_turn_streaming_off(fake: FakeProvider, provider: LitellmProvider) -> None:
    config = {"provider_options": {"openrouter": {"extra_body": {"stream": False}}}}
    await answer(provider, request(fake, "openrouter", call_config=config))
    assert fake.received[0].body["stream"] is True


@pytest.mark.parametrize("kind", sorted(PROVIDERS))
@pytest.mark.parametrize(
    ("chosen", "limit", "tokens"),
    [
        (None, None, DEFAULT_MAX_OUTPUT_TOKENS),
        (None, 8192, 8192),
        (None, 64_000, DEFAULT_MAX_OUTPUT_TOKENS),
        (50_000, 8192, 50_000),
    ],
)
def test_output_is_bounded_by_choice_then_by_what_the_model_can(
    kind: str, chosen: int | None, limit: int | None, tokens: int
) -> None:
    config = {} if chosen is None else {"max_output_tokens": chosen}
    assert options_for(kind, config, tools=False, output_limit=limit).params["max_tokens"] == tokens


async def test_a_known_model_is_not_asked_for_more_than_it_can_write(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    await answer(provider, request(fake, "openai", model="gpt-4o"))
    assert fake.received[0].body["max_tokens"] == 16_384
