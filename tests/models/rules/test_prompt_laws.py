"""The laws of a prompt, whatever the transcript: acceptable to the strictest reader of its form."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models.rules import prompt
from models.rules.profiles import PROFILES
from tests.fakes import refusals
from tests.models.rules.transcripts import FILES, TRANSCRIPTS

KEY = {"authorization": "Bearer key"}
PROVIDERS = st.sampled_from(sorted(PROFILES))
TOOLS = frozenset({"a", "current_time"})
# Claude's neighbours are joined on their way, block by block: tests/activities/providers/test_accepted.py.
STRICT = [name for name, profile in PROFILES.items() if profile.alternates and not profile.keeps_thinking]


def built(rows: list[dict[str, Any]], provider: str) -> list[dict[str, Any]]:
    return prompt.build(
        rows, provider=provider, model="m", tools=TOOLS, instructions=["Be kind.", " "], files=FILES, gone={"gone"}
    )


@given(TRANSCRIPTS, PROVIDERS)
def test_each_call_is_answered_once_right_after_it_and_in_order(rows: list[dict[str, Any]], provider: str) -> None:
    expected: list[str] = []
    used: list[str] = []
    for message in built(rows, provider):
        if message["role"] == "tool":
            assert message["tool_call_id"] == expected.pop(0)
            json.loads(message["content"])
            continue
        assert not expected
        expected = [call["id"] for call in message.get("tool_calls", [])]
        used += expected
        for call in message.get("tool_calls", []):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert not expected
    assert len(used) == len(set(used))
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,40}", call_id) for call_id in used)


@given(TRANSCRIPTS, st.sampled_from(["openai", "azure", "openrouter", "openai-compat"]))
def test_those_who_take_openais_form_take_it(rows: list[dict[str, Any]], provider: str) -> None:
    body = {"model": "m", "stream": True, "messages": built(rows, provider)}
    assert refusals.openai(KEY, body) is None


@given(TRANSCRIPTS, st.sampled_from(STRICT))
def test_roles_alternate_from_a_user_on_where_the_provider_demands_it(
    rows: list[dict[str, Any]], provider: str
) -> None:
    messages = built(rows, provider)
    leading = [message["role"] for message in messages].index("user")
    assert {message["role"] for message in messages[:leading]} == {"system"}
    if PROFILES[provider].joins_system:
        assert leading == 1
    last = ""
    for message in messages[leading:]:
        role = message["role"]
        assert role != "system"
        assert role == "tool" or role != last
        last = role


@given(TRANSCRIPTS, PROVIDERS)
def test_no_message_is_empty_and_no_nul_is_hidden(rows: list[dict[str, Any]], provider: str) -> None:
    for message in built(rows, provider):
        content = message.get("content")
        texts = [content] if isinstance(content, str) else [block.get("text", "x") for block in content or ()]
        assert all(texts)
        assert content or message.get("tool_calls")
    assert "\ue000\ue001" not in json.dumps(built(rows, provider), ensure_ascii=False)


@given(TRANSCRIPTS, PROVIDERS)
def test_the_same_transcript_gives_the_same_prompt_and_stays_as_it_was(
    rows: list[dict[str, Any]], provider: str
) -> None:
    before = json.dumps(rows)
    assert built(rows, provider) == built(rows, provider)
    assert json.dumps(rows) == before


@given(TRANSCRIPTS, st.sampled_from(sorted(set(PROFILES) - {"anthropic", "bedrock"})))
def test_nobody_else_gets_what_is_anthropics_alone(rows: list[dict[str, Any]], provider: str) -> None:
    sent = json.dumps(built(rows, provider))
    for word in ("thinking_blocks", "server_tool_use", "web_search_tool_result", "cache_control"):
        assert word not in sent


@given(TRANSCRIPTS)
def test_a_longer_transcript_keeps_the_beginning_of_the_prompt(rows: list[dict[str, Any]]) -> None:
    """Or every step would pay for the whole history again: caches go by prefix."""
    rows = [row for row in rows if row["role"] != "system"]
    grown = [*rows, {"role": "user", "content": [{"type": "text", "text": "more"}]}]
    before, after = built(rows, "openai"), built(grown, "openai")
    said = [message for message in before if message["content"] != prompt.BEGINNING]
    assert after[: len(said)] == said
