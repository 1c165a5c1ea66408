"""Google and Bedrock, whose requests litellm sends itself, over our connection and under our judgement."""

import asyncio
from typing import Any

import pytest

from activities.providers.litellm import LitellmProvider
from activities.providers.provider import ModelRequest, ReasoningDelta
from models.rules.failures import ErrorKind, classify
from tests.activities.providers import asking
from tests.activities.providers.asking import CLOCK, answer, calls, failure, finished, reasoning, text, usage
from tests.fakes.provider import FakeProvider

KINDS = ["google", "bedrock"]
AWS = {
    "aws_access_key_id": "AKIAEXAMPLE",
    "aws_secret_access_key": "secret-of-the-example",
    "aws_region_name": "eu-west-1",
}


def request(fake: FakeProvider, kind: str, behave: dict[str, Any] | None = None, **more: Any) -> ModelRequest:
    defaults: dict[str, dict[str, Any]] = {
        "google": {"model": "gemini-2.5-pro", "base_url": f"{fake.root_url}/v1beta"},
        "bedrock": {
            "model": "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "base_url": fake.root_url,
            "api_key": "",
            "provider_settings": AWS,
        },
    }
    return asking.request(fake, kind, behave, **(defaults[kind] | more))


@pytest.mark.parametrize("kind", KINDS)
async def test_text_thoughts_usage_and_an_ending_arrive(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    behave = {"tokens": 3, "reasoning": 2, "input_tokens": 20, "cached_tokens": 7}
    chunks = await answer(provider, request(fake, kind, behave))
    assert (reasoning(chunks), text(chunks)) == ("r0 r1 ", "w0 w1 w2 ")
    counted = usage(chunks)
    assert (counted.input_tokens, counted.cache_read_tokens, counted.output_tokens) == (20, 7, 5)
    assert finished(chunks).reason == "stop"


async def test_the_paths_are_the_providers(fake: FakeProvider, provider: LitellmProvider) -> None:
    for kind in KINDS:
        await answer(provider, request(fake, kind))
    assert [each.path for each in fake.received] == [
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
        "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream",
    ]
    assert fake.received[0].headers["x-goog-api-key"] == asking.KEY
    assert "eu-west-1/bedrock/aws4_request" in fake.received[1].headers["authorization"]


async def test_bedrocks_signature_is_kept(fake: FakeProvider, provider: LitellmProvider) -> None:
    chunks = await answer(provider, request(fake, "bedrock", {"reasoning": 1, "tokens": 1}))
    assert ReasoningDelta(signature="signed", family="anthropic") in chunks


@pytest.mark.parametrize("kind", KINDS)
async def test_tools_are_called(fake: FakeProvider, provider: LitellmProvider, kind: str) -> None:
    behave = {"tokens": 1, "tool_calls": [{"name": "current_time", "arguments": {"zone": "UTC"}}]}
    chunks = await answer(provider, request(fake, kind, behave, tools=[CLOCK]))
    assert [(name, arguments) for _, name, arguments in calls(chunks)] == [("current_time", '{"zone": "UTC"}')]
    assert finished(chunks).reason == "tool_calls"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("behave", "verdict"),
    [
        ({"status": 429, "retry_after": "3", "message": "slow down"}, ErrorKind.RATE_LIMIT),
        ({"status": 503}, ErrorKind.TIMEOUT),
        ({"status": 500}, ErrorKind.GENERIC),
        ({"status": 401}, ErrorKind.AUTH),
        ({"cut_after": 2}, ErrorKind.TIMEOUT),
        ({"empty_body": True}, ErrorKind.TIMEOUT),
    ],
)
async def test_failures_are_judged_by_what_the_provider_said(
    fake: FakeProvider, provider: LitellmProvider, kind: str, behave: dict[str, Any], verdict: ErrorKind
) -> None:
    facts = await failure(provider, request(fake, kind, behave))
    assert classify(facts).kind is verdict
    if "status" in behave:
        assert facts.status == behave["status"]
    assert (facts.retry_after is not None) == ("retry_after" in behave)
    assert len(fake.received) == 1


async def test_an_exception_inside_bedrocks_stream_is_a_failure(fake: FakeProvider, provider: LitellmProvider) -> None:
    facts = await failure(provider, request(fake, "bedrock", {"error_after": 1, "message": "Too many requests"}))
    assert classify(facts).retryable


@pytest.mark.parametrize("kind", KINDS)
async def test_silence_is_noticed(fake: FakeProvider, provider: LitellmProvider, kind: str) -> None:
    facts = await failure(provider, request(fake, kind, {"silence_after": 2}, silence_timeout=0.3))
    assert facts.signal == "silence"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behave", [{"tokens": 100_000, "interval_ms": 5}, {"slow_first_byte_ms": 60_000}])
async def test_cancelling_the_reader_closes_the_connection_at_once(
    fake: FakeProvider, provider: LitellmProvider, kind: str, behave: dict[str, Any]
) -> None:
    reader = asyncio.create_task(answer(provider, request(fake, kind, behave)))
    while not fake.received:
        await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await fake.received[0].ended.wait()
    assert fake.received[0].closed_by_client_at is not None


async def test_googles_options_reach_it(fake: FakeProvider, provider: LitellmProvider) -> None:
    options = {"thinking_config": {"thinking_budget": 512, "include_thoughts": True}, "threshold": "BLOCK_NONE"}
    config = {"temperature": 0.5, "top_k": 3, "provider_options": {"google": options}}
    await answer(provider, request(fake, "google", call_config=config))
    body = fake.received[0].body
    generation = body["generationConfig"]
    assert (generation["temperature"], generation["top_k"], generation["max_output_tokens"]) == (0.5, 3, 32_000)
    assert generation["thinkingConfig"] == {"thinkingBudget": 512, "includeThoughts": True}
    assert {setting["threshold"] for setting in body["safetySettings"]} == {"BLOCK_NONE"}


async def test_bedrocks_options_reach_it(fake: FakeProvider, provider: LitellmProvider) -> None:
    config = {"max_output_tokens": 5000, "provider_options": {"anthropic": {"thinking": {"budget_tokens": 2048}}}}
    await answer(provider, request(fake, "bedrock", call_config=config))
    body = fake.received[0].body
    assert body["inferenceConfig"]["maxTokens"] == 5000
    assert body["additionalModelRequestFields"]["thinking"] == {"type": "enabled", "budget_tokens": 2048}
