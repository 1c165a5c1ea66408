"""What a provider is sent: always acceptable, whatever the transcript."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models.rules import prompt

CALLS = st.builds(
    lambda number, name: {"type": "tool-call", "tool_call_id": f"c{number}", "tool_name": name, "args": {}},
    st.integers(0, 5),
    st.sampled_from(["a", "b"]),
)
RESULTS = st.builds(
    lambda number: {"type": "tool-result", "tool_call_id": f"c{number}", "tool_name": "a", "result": {"output": 1}},
    st.integers(0, 5),
)
TEXTS = st.builds(lambda words: {"type": "text", "text": words}, st.text(max_size=5))
THOUGHTS = st.builds(
    lambda words: {"type": "reasoning", "text": words, "provider_metadata": {"signature": "s"}}, st.text(max_size=5)
)
ROWS = st.lists(
    st.one_of(
        st.builds(lambda parts: {"role": "user", "content": parts}, st.lists(TEXTS, max_size=2)),
        st.builds(
            lambda parts: {"role": "assistant", "content": parts},
            st.lists(
                st.one_of(TEXTS, THOUGHTS, CALLS), max_size=4, unique_by=lambda part: part.get("tool_call_id", id(part))
            ),
        ),
        st.builds(lambda parts: {"role": "tool", "content": parts}, st.lists(RESULTS, min_size=1, max_size=1)),
    ),
    max_size=10,
)


@given(ROWS, st.sampled_from(["openai", "anthropic"]))
def test_each_call_is_answered_exactly_once_right_after_it_and_in_order(
    rows: list[dict[str, Any]], provider: str
) -> None:
    messages = prompt.build(rows, provider=provider)
    expected: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert expected, "a result without a call"
            assert message["tool_call_id"] == expected.pop(0)
            json.loads(message["content"])
            continue
        assert not expected, "a call without a result"
        if message["role"] == "assistant":
            expected = [call["id"] for call in message.get("tool_calls", [])]
            assert message["content"] or expected
        else:
            assert message["content"]
    assert not expected


def test_rows_that_the_model_must_not_see_are_left_out() -> None:
    rows = [
        {"role": "user", "content": [{"type": "text", "text": "seen"}]},
        {"role": "user", "content": [{"type": "text", "text": "hidden"}], "visibility": "user"},
        {"role": "user", "content": [{"type": "text", "text": "gone"}], "deleted": True},
    ]
    assert prompt.build(rows, provider="openai") == [{"role": "user", "content": "seen"}]


def test_signed_thinking_goes_back_to_the_provider_that_signed_it_alone() -> None:
    signed = {"type": "reasoning", "text": "hm", "provider_metadata": {"signature": "sig"}}
    unsigned = {"type": "reasoning", "text": "cut"}
    redacted = {"type": "reasoning", "text": "", "provider_metadata": {"redacted": "xyz"}}
    rows = [{"role": "assistant", "content": [signed, unsigned, redacted, {"type": "text", "text": "ok"}]}]
    [message] = prompt.build(rows, provider="anthropic")
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    [other] = prompt.build(rows, provider="openai")
    assert "thinking_blocks" not in other


def test_tool_ids_are_spelled_as_every_provider_takes_them() -> None:
    rows = [
        {
            "role": "assistant",
            "content": [{"type": "tool-call", "tool_call_id": "a:b/c", "tool_name": "t", "args": {"x": 1}}],
        },
        {
            "role": "tool",
            "content": [{"type": "tool-result", "tool_call_id": "a:b/c", "tool_name": "t", "result": {"y": 2}}],
        },
    ]
    call, result = prompt.build(rows, provider="openai")
    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "a_b_c"
    assert json.loads(result["content"]) == {"y": 2}


def test_nul_comes_back_as_nul() -> None:
    rows = [{"role": "user", "content": [{"type": "text", "text": "a\ue000\ue001b"}]}]
    assert prompt.build(rows, provider="openai") == [{"role": "user", "content": "a\x00b"}]


def test_a_file_reference_reaches_the_model_with_its_lines() -> None:
    part = {"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 2, "content": "x = 1"}
    [message] = prompt.build([{"role": "user", "content": [part]}], provider="openai")
    assert message["content"] == "[file a.py, lines 1-2]\nx = 1"


def called(*calls: tuple[str, str]) -> dict[str, Any]:
    parts = [{"type": "tool-call", "tool_call_id": call_id, "tool_name": name} for call_id, name in calls]
    return {"role": "assistant", "content": parts}


def result(call_id: str, value: Any) -> dict[str, Any]:
    return {"role": "tool", "content": [{"type": "tool-result", "tool_call_id": call_id, "result": value}]}


def test_calls_that_share_an_id_each_keep_their_own_result() -> None:
    messages = prompt.build([called(("x", "a"), ("x", "b")), result("x", 1), result("x", 2)], provider="openai")
    assert [message["content"] for message in messages[1:]] == ["1", "2"]


def test_a_tool_name_that_was_made_up_or_cut_is_spelled_as_providers_take_it() -> None:
    [message, *_] = prompt.build([called(("1", ""), ("2", "a b.c"), ("3", "x" * 99))], provider="openai")
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["unknown", "a_b_c", "x" * 64]


def test_white_space_alone_is_not_sent() -> None:
    blank = {"type": "text", "text": " \n"}
    rows = [{"role": "assistant", "content": [blank]}, {"role": "user", "content": [blank]}]
    [message] = prompt.build(rows, provider="anthropic")
    assert message["role"] == "user"
    assert message["content"].strip()
    [calling, _] = prompt.build(
        [{"role": "assistant", "content": [blank, *called(("1", "a"))["content"]]}], provider="x"
    )
    assert calling["content"] is None
