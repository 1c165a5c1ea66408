"""The desktop as providers are told of it: Anthropic in its own words, others by a function."""

from typing import Any

import pytest

from activities.providers.litellm import LitellmProvider
from activities.tools.computer import computer
from models.rules import prompt
from tests.activities.providers.asking import CLOCK, answer, calls, finished, request
from tests.fakes.provider import FakeProvider
from tests.models.rules.test_screenshots import picture, session

OURS = computer.declaration()
KINDS = {
    "claude-opus-4-5-20251101": "2025-11-24",
    "claude-opus-4-7": "2025-11-24",
    "claude-sonnet-4-6": "2025-11-24",
    "claude-haiku-5-5": "2025-11-24",
    "claude-sonnet-4-5": "2025-01-24",
    "claude-haiku-4-5-20251001": "2025-01-24",
    "claude-opus-4-1-20250805": "2025-01-24",
    "claude-opus-4-20250514": "2025-01-24",
    "claude-sonnet-4-0": "2025-01-24",
    "claude-3-7-sonnet-latest": "2025-01-24",
}


@pytest.mark.parametrize(("model", "date"), KINDS.items())
async def test_anthropic_is_told_of_its_own_tool_as_the_model_knows_it(
    fake: FakeProvider, provider: LitellmProvider, model: str, date: str
) -> None:
    asked = request(fake, "anthropic", model=model, tools=[OURS, CLOCK], at_desktop=True)
    assert finished(await answer(provider, asked)).reason == "stop"
    sent = fake.received[-1]
    assert [tool["name"] for tool in sent.body["tools"]] == ["current_time", "computer"]
    assert sent.body["tools"][1] == {
        "type": f"computer_{date.replace('-', '')}",
        "name": "computer",
        "display_width_px": 1280,
        "display_height_px": 800,
    }
    assert f"computer-use-{date}" in sent.headers["anthropic-beta"].split(",")


async def test_in_no_other_chat_is_a_tool_of_that_name_anthropics(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    await answer(provider, request(fake, "anthropic", tools=[OURS]))
    assert "input_schema" in fake.received[-1].body["tools"][0]
    assert "computer-use" not in fake.received[-1].headers.get("anthropic-beta", "")
    await answer(provider, request(fake, "anthropic", tools=[CLOCK], at_desktop=True))
    assert [tool["name"] for tool in fake.received[-1].body["tools"]] == ["current_time"]


async def test_openai_is_told_of_a_function_in_its_own_words(fake: FakeProvider, provider: LitellmProvider) -> None:
    args = {"actions": [{"type": "click", "x": 1, "y": 2, "button": "left"}]}
    behave = {"tool_calls": [{"name": "computer", "arguments": args}]}
    [(_, name, _)] = calls(await answer(provider, request(fake, "openai", behave, tools=[OURS], at_desktop=True)))
    assert name == "computer"
    assert fake.received[-1].body["tools"] == [OURS]


def blocks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the results of the request hold."""
    found = [block for message in body["messages"] for block in message["content"] if isinstance(block, dict)]
    return [block for block in found if block["type"] == "tool_result"]


async def test_anthropics_results_bear_the_newest_pictures(fake: FakeProvider, provider: LitellmProvider) -> None:
    messages = prompt.build(session(9), provider="anthropic")
    asked = request(fake, "anthropic", messages=messages, tools=[OURS, CLOCK], at_desktop=True)
    assert finished(await answer(provider, asked)).reason == "stop"
    results = blocks(fake.received[-1].body)
    kinds = [
        "".join(block["type"][0] for block in each["content"]) for each in results if isinstance(each["content"], list)
    ]
    assert (len(results), kinds) == (9, ["ti"] * 4)
    source = {"type": "base64", "media_type": "image/png", "data": picture(8)}
    assert results[-1]["content"][1] == {"type": "image", "source": source}
    assert "cache_control" in results[-1]


@pytest.mark.parametrize("kind", ["openai", "openai-compat", "openrouter"])
async def test_what_a_chat_with_pictures_sends_is_taken(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    messages = prompt.build(session(9), provider=kind)
    asked = request(fake, kind, messages=messages, tools=[OURS], at_desktop=True)
    assert finished(await answer(provider, asked)).reason == "stop"
    sent = [each for each in fake.received[-1].body["messages"] if each["role"] == "user"]
    assert sum(isinstance(each["content"], list) for each in sent) == 4
