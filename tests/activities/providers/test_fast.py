"""What our own reading cannot place is no answer: it is counted, fails the attempt, and litellm reads the next one."""

from typing import Any

import pytest

from activities.meters import Meters
from activities.providers.fast import AVOIDED, FastPath
from activities.providers.litellm import LitellmProvider
from models.rules.failures import classify
from tests.activities.providers.asking import answer, calls, failure, request, text
from tests.activities.providers.streams import (
    UNPLACED,
    Event,
    as_bytes,
    begun,
    call,
    chunk,
    closed,
    ended,
    grown,
    opened,
    reading,
)
from tests.fakes.provider import FakeProvider

# litellm knows imitators that send arguments as an object; we do not.
ODD = [
    chunk({"content": "hi"}),
    chunk({"tool_calls": [call(0, "a", "f") | {"function": {"name": "f", "arguments": {}}}]}),
]
ODD_STREAM = as_bytes([*ODD, chunk(None, "tool_calls")]).decode()

UNKNOWN: dict[str, tuple[str, list[Event]]] = {
    "content in parts": ("openai", [chunk({"content": [{"type": "text", "text": "x"}]})]),
    "a second choice": ("openai", [{**chunk(), "choices": [{"index": 0, "delta": {}}, {"index": 1, "delta": {}}]}]),
    "choices as an object": ("openai", [{**chunk(), "choices": {"0": {}}}]),
    "the old function call": ("openai", [chunk({"function_call": {"name": "f", "arguments": "{}"}})]),
    "a call without a function": ("openai", [chunk({"tool_calls": [{"index": 0, "type": "custom", "custom": {}}]})]),
    "calls as an object": ("openai", [chunk({"tool_calls": {"0": {}}})]),
    "thoughts as an object": ("openai", [chunk({"reasoning": {"text": "x"}})]),
    "an ending that is no word": ("openai", [chunk({"content": "x"}, 7)]),  # type: ignore[arg-type]
    "usage in words": ("openai", [chunk({"content": "x"}, usage={"prompt_tokens": "many"})]),
    "a new kind of block": ("anthropic", [begun(), opened(0, type="hologram", data="x")]),
    "a new kind of delta": (
        "anthropic",
        [begun(), opened(0, type="text", text=""), grown(0, "smell_delta", smell="x")],
    ),
    "arguments of nothing": ("anthropic", [begun(), grown(3, "input_json_delta", partial_json="{}")]),
    "arguments of a text": (
        "anthropic",
        [begun(), opened(0, type="text", text=""), grown(0, "input_json_delta", partial_json="{}")],
    ),
    "a block that is a list": (
        "anthropic",
        [begun(), {"type": "content_block_start", "index": 0, "content_block": []}],
    ),
    "a completion in Anthropic's place": ("anthropic", [chunk({"content": "x"})]),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_has_no_place_is_said_to_have_none(what: str) -> None:
    kind, events = UNKNOWN[what]
    ending = [chunk(None, "stop")] if kind == "openai" else [closed(0), *ended()]
    assert reading(kind, [as_bytes([*events[:-1], events[-1], *ending])], fast=True) == UNPLACED


async def test_litellm_takes_the_next_attempt_and_ours_is_counted(fake: FakeProvider) -> None:
    meters = Meters()
    provider = LitellmProvider(FastPath(True, meters))
    asked = request(fake, "openai", {"raw": ODD_STREAM})
    verdict = classify(await failure(provider, asked))
    assert verdict.retryable
    assert counted(meters) == 1
    chunks = await answer(provider, asked)
    assert (text(chunks), calls(chunks)) == ("hi", [("a", "f", "{}")])
    assert counted(meters) == 1
    await provider.close()


async def test_a_model_is_left_to_litellm_for_a_while_and_the_others_are_not(fake: FakeProvider) -> None:
    now = [0.0]
    provider = LitellmProvider(FastPath(True, clock=lambda: now[0]))
    asked = request(fake, "openai", {"raw": ODD_STREAM})
    await failure(provider, asked)
    await answer(provider, asked)
    await failure(provider, request(fake, "openai", {"raw": ODD_STREAM}, model="another"))
    now[0] = AVOIDED
    await failure(provider, asked)
    await provider.close()


async def test_a_cautious_attempt_is_litellms_on_a_worker_that_has_learnt_nothing(fake: FakeProvider) -> None:
    provider = LitellmProvider(FastPath(True))
    assert text(await answer(provider, request(fake, "openai", {"raw": ODD_STREAM}, cautious=True))) == "hi"
    await provider.close()


async def test_switched_off_everything_is_litellms(fake: FakeProvider) -> None:
    provider = LitellmProvider(FastPath(False))
    assert text(await answer(provider, request(fake, "openai", {"raw": ODD_STREAM}))) == "hi"
    await provider.close()


async def test_no_chunk_of_a_misread_answer_is_its_end(fake: FakeProvider) -> None:
    provider = LitellmProvider(FastPath(True))
    heard: list[Any] = []
    with pytest.raises(Exception, match="provider failed"):
        async for each in provider.stream(request(fake, "openai", {"raw": ODD_STREAM})):
            heard.append(each)
    assert text(heard) == "hi"
    assert len(heard) == 1
    await provider.close()


async def test_what_is_odd_after_the_ending_takes_the_answer_nothing(fake: FakeProvider) -> None:
    late = [chunk({"content": "all"}), chunk(None, "stop"), {**chunk(), "choices": [], "usage": {"prompt_tokens": "?"}}]
    meters = Meters()
    provider = LitellmProvider(FastPath(True, meters))
    assert text(await answer(provider, request(fake, "openai", {"raw": as_bytes(late).decode()}))) == "all"
    assert counted(meters) == 1
    await provider.close()


def counted(meters: Meters) -> float | None:
    return meters.registry.get_sample_value("turnstone_provider_fast_path_gave_up_total", {"provider": "openai"})
