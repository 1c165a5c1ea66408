"""Searches that the provider runs itself: asked for where it can, shown as they happen, given back unchanged."""

from typing import Any

import pytest

from activities.draft import Draft
from activities.providers.litellm import LitellmProvider
from activities.providers.provider import ProviderResult, SourceDelta
from models.rules import prompt
from tests.activities.providers.asking import CLOCK, answer, calls, finished, request, text
from tests.fakes.provider import FakeProvider

SEARCHING = {"search": "news", "tokens": 2, "reasoning": 1}
PAGE = "https://example.com/found"


def options(section: str = "anthropic", **more: Any) -> dict[str, Any]:
    return {"provider_options": {section: {"web_search_enabled": True, **more}}}


def tools_of(fake: FakeProvider) -> list[dict[str, Any]]:
    return list(fake.received[-1].body.get("tools") or ())


async def test_a_search_arrives_as_a_call_with_its_result_and_what_it_cites(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    asked = request(fake, "anthropic", SEARCHING, provider_tools=True, call_config=options(), tools=[CLOCK])
    chunks = await answer(provider, asked)
    assert (text(chunks), finished(chunks).reason) == ("w0 w1 ", "stop")
    [(call_id, name, arguments)] = calls(chunks)
    assert (name, arguments) == ("web_search", '{"query":"news"}')
    [found] = [chunk for chunk in chunks if isinstance(chunk, ProviderResult)]
    assert (found.id, found.kind, found.content[0]["encrypted_content"]) == (
        call_id,
        "web_search_tool_result",
        "EqgfCioIARgB",
    )
    assert SourceDelta(PAGE, "Found") in chunks
    assert [tool["name"] for tool in tools_of(fake)] == ["current_time", "web_search"]


async def test_a_search_is_given_back_as_it_was(fake: FakeProvider, provider: LitellmProvider) -> None:
    draft = Draft()
    asked = request(fake, "anthropic", SEARCHING, provider_tools=True, call_config=options())
    shown = [piece for chunk in await answer(provider, asked) if (piece := draft.add(chunk))]
    draft.close()
    parts = draft.parts()
    assert [part["type"] for part in parts] == ["reasoning", "tool-call", "tool-result", "text", "source"]
    assert all(part["provider_executed"] for part in (*parts[1:3], *shown) if part["type"].startswith("tool"))
    assert "encrypted" not in str([parts[2]["result"], *shown]), "what only the provider reads is not shown"
    rows = [
        {"role": "user", "content": [{"type": "text", "text": "news?"}]},
        {"role": "assistant", "content": parts},
        {"role": "user", "content": [{"type": "text", "text": "more"}]},
    ]
    messages = prompt.build(rows, provider="anthropic")
    await answer(provider, request(fake, "anthropic", messages=messages, provider_tools=True, call_config=options()))
    blocks = fake.received[-1].body["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "server_tool_use", "web_search_tool_result", "text"]
    assert blocks[1]["input"] == {"query": "news"}
    assert blocks[2]["content"][0]["encrypted_content"] == "EqgfCioIARgB"


async def test_a_search_that_failed_is_an_error_result(fake: FakeProvider, provider: LitellmProvider) -> None:
    draft = Draft()
    behave = {**SEARCHING, "search_fails": "max_uses_exceeded"}
    for chunk in await answer(provider, request(fake, "anthropic", behave)):
        draft.add(chunk)
    [result] = [part for part in draft.parts() if part["type"] == "tool-result"]
    assert (result["is_error"], result["result"]["error_code"]) == (True, "max_uses_exceeded")


async def test_a_search_that_was_cut_leaves_no_half_of_it(fake: FakeProvider, provider: LitellmProvider) -> None:
    draft = Draft()
    async for chunk in provider.stream(request(fake, "anthropic", SEARCHING)):
        if isinstance(chunk, ProviderResult):
            break
        draft.add(chunk)
    assert [part["type"] for part in draft.parts()] == ["reasoning"]


async def test_where_a_search_may_look_is_said_once(fake: FakeProvider, provider: LitellmProvider) -> None:
    config = options(allowed_domains=["a.example"], blocked_domains=["b.example"])
    await answer(provider, request(fake, "anthropic", provider_tools=True, call_config=config))
    assert tools_of(fake) == [{"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.example"]}]


async def test_nothing_is_searched_unless_turn_and_model_allow_it(
    fake: FakeProvider, provider: LitellmProvider
) -> None:
    for allowed, config in ((False, options()), (True, {}), (True, options(web_search_enabled=False))):
        await answer(provider, request(fake, "anthropic", provider_tools=allowed, call_config=config, tools=[CLOCK]))
        assert [tool["name"] for tool in tools_of(fake)] == ["current_time"]


async def test_a_tool_of_ours_with_that_name_comes_first(fake: FakeProvider, provider: LitellmProvider) -> None:
    ours = {"type": "function", "function": {**CLOCK["function"], "name": "web_search"}}  # type: ignore[dict-item]
    await answer(provider, request(fake, "anthropic", provider_tools=True, call_config=options(), tools=[ours]))
    assert ["input_schema" in tool for tool in tools_of(fake)] == [True]


@pytest.mark.parametrize(("model", "searches"), [("gpt-4o-search-preview", True), ("gpt-4o", False)])
async def test_openais_search_models_search_and_others_are_not_asked_to(
    fake: FakeProvider, provider: LitellmProvider, model: str, searches: bool
) -> None:
    config = options("openai", search_context_size="low")
    asked = request(fake, "openai", {"cites": PAGE}, model=model, provider_tools=True, call_config=config)
    assert SourceDelta(PAGE, "Found") in await answer(provider, asked)
    expected = {"search_context_size": "low"} if searches else None
    assert fake.received[-1].body.get("web_search_options") == expected
