"""The real litellm against a fake provider: what is asked, and how answers are read."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from activities.providers.litellm import LitellmProvider
from activities.providers.provider import Finished, ReasoningDelta, TextDelta
from activities.tools.registry import TOOLS
from tests.activities.providers.asking import (
    CLOCK,
    KEY,
    answer,
    calls,
    failure,
    finished,
    reasoning,
    request,
    text,
    usage,
)
from tests.fakes.provider import FakeProvider

DIRECT = ["openai-compat", "openai", "azure", "openrouter", "vercel", "anthropic"]


@pytest.mark.parametrize(
    ("kind", "suffix", "path"),
    [
        ("openai-compat", "/v1", "/v1/chat/completions"),
        ("openai-compat", "/some/where/v1/", "/some/where/v1/chat/completions"),
        ("openai", "/v1", "/v1/chat/completions"),
        ("openrouter", "/api/v1", "/api/v1/chat/completions"),
        ("vercel", "/v1", "/v1/chat/completions"),
        ("azure", "", "/openai/deployments/fake-model/chat/completions"),
        ("azure", "/openai/v1", "/openai/v1/chat/completions"),
        ("anthropic", "", "/v1/messages"),
        ("anthropic", "/", "/v1/messages"),
        ("anthropic", "/proxy", "/proxy/v1/messages"),
        ("anthropic", "/proxy/v1", "/proxy/v1/messages"),
    ],
)
async def test_a_base_url_leads_to_exactly_one_path(
    fake: FakeProvider, provider: LitellmProvider, kind: str, suffix: str, path: str
) -> None:
    await answer(provider, request(fake, kind, base_url=fake.root_url + suffix))
    assert [each.path for each in fake.received] == [path]


async def test_each_provider_is_shown_the_key_where_it_looks_for_it(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    for kind in DIRECT:
        await answer(provider, request(fake, kind))
    shown = [
        (each.headers.get("authorization"), each.headers.get("x-api-key"), each.headers.get("api-key"))
        for each in fake.received
    ]
    bearer = (f"Bearer {KEY}", None, None)
    assert shown == [bearer, bearer, (None, None, KEY), bearer, bearer, (None, KEY, None)]


@pytest.mark.parametrize("kind", DIRECT)
async def test_parallel_tool_calls_arrive_apart_and_whole(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    behave = {
        "tokens": 1,
        "tool_calls": [
            {"name": "current_time", "arguments": {"zone": "UTC"}, "id": "call_a"},
            {"name": "current_time", "arguments": {"zone": "Ünï"}, "id": "call_b"},
        ],
    }
    chunks = await answer(provider, request(fake, kind, behave, tools=[CLOCK]))
    assert calls(chunks) == [
        ("call_a", "current_time", '{"zone": "UTC"}'),
        ("call_b", "current_time", '{"zone": "\\u00dcn\\u00ef"}'),
    ]
    assert finished(chunks).reason == "tool_calls"


@pytest.mark.parametrize("kind", DIRECT)
async def test_tools_are_asked_for_in_the_same_words_each_time(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    """Their translation is kept: what is told the second time is told as the first time, and nobody else's."""
    ours = [tool.declaration() for tool in TOOLS]
    other = [*ours[:-1], {"type": "function", "function": {**ours[-1]["function"], "description": "Another."}}]
    for tools in (ours, ours, other, ours[:2], other, ours):
        await answer(provider, request(fake, kind, tools=tools, tool_choice="required"))
    first, again, another, two, another_again, last = [each.body for each in fake.received]
    assert first == again == last
    assert another == another_again != first
    assert len(first["tools"]) == len(another["tools"]) == len(ours)
    assert two["tools"] == first["tools"][:2]
    assert first["tool_choice"]
    assert {key: value for key, value in two.items() if key != "tools"} == {
        key: value for key, value in first.items() if key != "tools"
    }


async def test_calls_that_a_provider_does_not_number_are_told_apart_by_id(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    behave = {
        "same_index": True,
        "tool_calls": [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": {"y": 2}}],
    }
    chunks = await answer(provider, request(fake, behave=behave, tools=[CLOCK]))
    assert [(name, arguments) for _, name, arguments in calls(chunks)] == [("a", '{"x": 1}'), ("b", '{"y": 2}')]


async def test_a_call_without_arguments_is_an_empty_object_with_anthropic(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    behave = {"tool_calls": [{"name": "current_time", "arguments": ""}]}
    chunks = await answer(provider, request(fake, "anthropic", behave, tools=[CLOCK]))
    assert calls(chunks) == [("call_0", "current_time", "{}")]


@pytest.mark.parametrize(
    ("kind", "key"),
    [("openai-compat", "reasoning_content"), ("openai-compat", "reasoning"), ("openrouter", "reasoning")],
)
async def test_thoughts_arrive_under_either_name(
    fake: FakeProvider, provider: LitellmProvider, kind: str, key: str
) -> None:
    chunks = await answer(provider, request(fake, kind, {"reasoning": 3, "tokens": 1, "reasoning_key": key}))
    assert (reasoning(chunks), text(chunks)) == ("r0 r1 r2 ", "w0 ")


async def test_anthropics_signature_arrives_after_the_thought_it_signs(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    chunks = await answer(provider, request(fake, "anthropic", {"reasoning": 2, "tokens": 1}))
    signed = chunks.index(ReasoningDelta(signature="sig-answer-1", family="anthropic"))
    assert (reasoning(chunks[:signed]), reasoning(chunks[signed:])) == ("r0 r1 ", "")
    assert text(chunks[:signed]) == ""


async def test_redacted_thoughts_are_kept(fake: FakeProvider, provider: LitellmProvider) -> None:
    chunks = await answer(provider, request(fake, "anthropic", {"redacted": "b64data", "tokens": 1}))
    assert ReasoningDelta(redacted="b64data", family="anthropic") in chunks


@pytest.mark.parametrize("kind", DIRECT)
async def test_input_tokens_exclude_cached_ones(fake: FakeProvider, provider: LitellmProvider, kind: str) -> None:
    behave = {"tokens": 5, "reasoning_tokens": 3, "input_tokens": 20, "cached_tokens": 7, "cache_creation_tokens": 4}
    counted = usage(await answer(provider, request(fake, kind, behave)))
    assert (counted.input_tokens, counted.cache_read_tokens, counted.output_tokens) == (20, 7, 8)
    assert counted.cache_creation_tokens == (4 if kind == "anthropic" else 0)
    assert counted.reasoning_tokens == (0 if kind == "anthropic" else 3)


@pytest.mark.parametrize("kind", DIRECT)
async def test_a_huge_chunk_arrives_whole(fake: FakeProvider, provider: LitellmProvider, kind: str) -> None:
    chunks = await answer(provider, request(fake, kind, {"huge_chunk": 2_000_000, "tokens": 2}))
    assert len(text(chunks)) == 2_000_000 + len("w1 ")


@pytest.mark.parametrize("kind", DIRECT)
@pytest.mark.parametrize("size", [1, 7, 64])
async def test_events_cut_anywhere_are_read_the_same(
    fake: FakeProvider, provider: LitellmProvider, kind: str, size: int
) -> None:
    chunks = await answer(provider, request(fake, kind, {"text": "Grüße 🐢", "split": size}))
    assert text(chunks) == "Grüße 🐢"


@pytest.mark.parametrize("kind", DIRECT)
async def test_events_that_arrive_together_are_all_read(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    chunks = await answer(provider, request(fake, kind, {"tokens": 300, "packed": True}))
    assert text(chunks) == "".join(f"w{index} " for index in range(300))


@pytest.mark.parametrize("kind", DIRECT)
async def test_an_empty_answer_ends_normally(fake: FakeProvider, provider: LitellmProvider, kind: str) -> None:
    chunks = await answer(provider, request(fake, kind, {"empty": True}))
    assert text(chunks) == ""
    assert finished(chunks).reason == "stop"


@pytest.mark.parametrize(
    ("kind", "said", "reason"),
    [
        ("openai-compat", "content_filter", "content_filter"),
        ("anthropic", "refusal", "content_filter"),
        ("openai-compat", "length", "length"),
        ("anthropic", "max_tokens", "length"),
        ("openai-compat", "eos", "stop"),
        ("anthropic", "stop_sequence", "stop"),
    ],
)
async def test_the_reason_of_the_ending_is_the_providers(
    fake: FakeProvider, provider: LitellmProvider, kind: str, said: str, reason: str
) -> None:
    assert finished(await answer(provider, request(fake, kind, {"finish_reason": said}))).reason == reason


@pytest.mark.parametrize("kind", ["openai-compat", "anthropic"])
async def test_closing_the_stream_closes_the_connection_at_once(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    stream = provider.stream(request(fake, kind, {"tokens": 100_000, "interval_ms": 5}))
    assert isinstance(await anext(stream), TextDelta)
    await stream.aclose()
    await fake.received[0].ended.wait()
    assert fake.received[0].closed_by_client_at is not None
    assert fake.received[0].tokens_sent < 1000


@pytest.mark.parametrize("behave", [{"tokens": 100_000, "interval_ms": 5}, {"slow_first_byte_ms": 60_000}])
@pytest.mark.parametrize("kind", ["openai-compat", "anthropic"])
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


async def test_whole_answers_share_a_connection(fake: FakeProvider, provider: LitellmProvider) -> None:
    for kind in (*DIRECT, *DIRECT):
        await answer(provider, request(fake, kind, {"tokens": 3}))
    assert fake.connections == 1


async def test_a_hundred_streams_at_once_do_not_mix(fake: FakeProvider, provider: LitellmProvider) -> None:
    asked = [request(fake, "openai-compat", {"text": f"answer {index}"}) for index in range(100)]
    answers = await asyncio.gather(*(answer(provider, each) for each in asked))
    assert [text(each) for each in answers] == [f"answer {index}" for index in range(100)]


async def test_the_answers_id_is_the_providers(fake: FakeProvider, provider: LitellmProvider) -> None:
    ends = [(await answer(provider, request(fake, kind)))[-1] for kind in ("openai-compat", "anthropic")]
    assert ends == [Finished("stop", "answer-1"), Finished("stop", "answer-2")]


HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What time is it?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "ask the clock",
        "thinking_blocks": [{"type": "thinking", "thinking": "ask the clock", "signature": "signed"}],
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "current_time", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
    {"role": "assistant", "content": "Noon."},
    {"role": "user", "content": "Thanks."},
]


@pytest.mark.parametrize("kind", DIRECT)
async def test_a_history_with_tools_and_thoughts_is_accepted(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    asked = request(fake, kind, messages=HISTORY, tools=[CLOCK])
    assert finished(await answer(provider, asked)).reason == "stop"
    assert HISTORY[2]["thinking_blocks"], "the caller's messages are left alone"


@pytest.mark.parametrize("kind", DIRECT)
async def test_an_unanswered_tool_call_is_refused_by_the_fake_as_by_the_real_one(
    fake: FakeProvider, provider: LitellmProvider, kind: str
) -> None:
    facts = await failure(provider, request(fake, kind, messages=[*HISTORY[:3], HISTORY[5]], tools=[CLOCK]))
    assert facts.status == 400


async def test_anthropic_gets_its_signed_thoughts_back(fake: FakeProvider, provider: LitellmProvider) -> None:
    await answer(provider, request(fake, "anthropic", messages=HISTORY, tools=[CLOCK]))
    (thought,) = (
        block
        for message in fake.received[0].body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "thinking"
    )
    assert (thought["thinking"], thought["signature"]) == ("ask the clock", "signed")


async def test_anthropic_is_spared_its_thoughts_where_the_model_says_so(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    config = {"provider_options": {"anthropic": {"send_reasoning": False}}}
    await answer(provider, request(fake, "anthropic", messages=HISTORY, tools=[CLOCK], call_config=config))
    assert "signed" not in str(fake.received[0].body)


def test_importing_the_door_fetches_nothing() -> None:
    code = (
        "import socket\n"
        "def refuse(*_, **__): raise SystemExit('the import used the network')\n"
        "socket.socket.connect = refuse; socket.create_connection = refuse; socket.getaddrinfo = refuse\n"
        "from activities.providers import litellm\n"
        "for kind in litellm.ROUTES:\n    litellm.warm_up(kind)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
