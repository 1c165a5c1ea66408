"""Whatever the transcript: what litellm makes of our prompt is taken by a provider as strict as the real one."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings

from activities.providers.litellm import LitellmProvider
from activities.providers.provider import Finished
from models.rules import prompt
from tests.activities.providers.asking import CLOCK, answer, request
from tests.fakes.provider import FakeProvider
from tests.models.rules.transcripts import FILES, TRANSCRIPTS

THINKING = {"provider_options": {"anthropic": {"thinking": {"budget_tokens": 2048}, "web_search_enabled": True}}}


@pytest.mark.parametrize("kind", ["anthropic", "openai", "openai-compat", "google", "bedrock"])
def test_every_transcript_is_taken(kind: str) -> None:
    models = {"bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0", "google": "gemini-2.5-pro"}
    model = models.get(kind, "fake-model")
    with asyncio.Runner() as runner:
        fake = runner.run(FakeProvider().__aenter__())
        provider = runner.run(opened())

        @settings(max_examples=50, deadline=None)
        @given(TRANSCRIPTS)
        def taken(rows: list[dict[str, Any]]) -> None:
            messages = prompt.build(
                rows, provider=kind, model=model, tools={"current_time"}, files=FILES, instructions=["Be kind."]
            )
            if messages[-1]["role"] == "assistant":
                messages.append({"role": "user", "content": "and now?"})
            asked = request(
                fake,
                kind,
                messages=messages,
                model=model,
                tools=[CLOCK],
                provider_tools=True,
                call_config=THINKING if kind == "anthropic" else {},
                **extra(fake, kind),
            )
            assert isinstance(runner.run(answer(provider, asked))[-1], Finished)

        try:
            taken()
        finally:
            runner.run(provider.close())
            runner.run(fake.__aexit__(None, None, None))


async def opened() -> LitellmProvider:
    return LitellmProvider()


def extra(fake: FakeProvider, kind: str) -> dict[str, Any]:
    if kind == "google":
        return {"base_url": f"{fake.root_url}/v1beta"}
    if kind == "bedrock":
        keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret", "aws_region_name": "eu-west-1"}
        return {"base_url": fake.root_url, "api_key": "", "provider_settings": keys}
    return {}
