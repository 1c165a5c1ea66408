"""Our own reading of an answer and litellm's are the same answer, however the stream is cut, and ours never guesses."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.providers.provider import Finished, TextDelta, Usage
from tests.activities.providers.streams import (
    STREAMS,
    Event,
    as_bytes,
    begun,
    call,
    chunk,
    closed,
    counted,
    ended,
    grown,
    opened,
    reading,
)

ALL = pytest.mark.parametrize("name", STREAMS)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
EXAMPLES = settings(max_examples=80, deadline=None)


def both(kind: str, *pieces: bytes) -> Any:
    """What both readings make of it, having seen that it is the same."""
    ours, litellms = reading(kind, pieces, fast=True), reading(kind, pieces, fast=False)
    assert ours == litellms
    return ours


@ALL
def test_a_stream_is_the_same_answer_to_both(name: str) -> None:
    kind, events = STREAMS[name]
    chunks = both(kind, as_bytes(events))
    assert isinstance(chunks[-1], Finished), chunks
    assert len(chunks) > 2


@ALL
def test_a_stream_may_be_cut_into_reads_anywhere(name: str) -> None:
    kind, events = STREAMS[name]
    body = as_bytes(events)
    whole = reading(kind, [body], fast=True)
    for place in range(len(body)):
        assert reading(kind, [body[:place], body[place:]], fast=True) == whole
    assert reading(kind, [body[place : place + 1] for place in range(len(body))], fast=True) == whole


@ALL
def test_a_stream_that_ends_early_is_a_whole_answer_only_to_both(name: str) -> None:
    kind, events = STREAMS[name]
    whole = both(kind, as_bytes(events))
    for length in range(len(events)):
        cut = both(kind, as_bytes(events[:length], done=False))
        assert cut == "stream_cut" or cut[:-2] == whole[:-2], "only usage may be missing"


@ALL
def test_an_error_inside_a_stream_fails_it_until_the_answers_end(name: str) -> None:
    kind, events = STREAMS[name]
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    whole = both(kind, as_bytes(events))
    for length in range(len(events)):
        failed = both(kind, as_bytes([*events[:length], error, *events[length:]]))
        assert failed == "overloaded_error" or failed[:-2] == whole[:-2]


@ALL
def test_without_a_last_blank_line_the_answer_is_whole(name: str) -> None:
    kind, events = STREAMS[name]
    body = as_bytes(events, done=False)
    assert both(kind, body.rstrip(b"\n")) == both(kind, body)


@pytest.mark.parametrize("reason", ["error", "network_error"])
@pytest.mark.parametrize("fast", [True, False])
def test_an_ending_that_is_an_error_is_no_whole_answer(reason: str, fast: bool) -> None:
    body = as_bytes([chunk({"content": "half"}), chunk(None, reason), counted()])
    assert reading("openrouter", [body], fast=fast) == "stream_cut"


@pytest.mark.parametrize("fast", [True, False])
def test_usage_without_a_reason_is_no_ending(fast: bool) -> None:
    usage = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 3}}
    body = as_bytes([begun(), opened(0, type="text", text=""), grown(0, "text_delta", text="half"), usage], done=False)
    assert reading("anthropic", [body], fast=fast) == "stream_cut"


@pytest.mark.parametrize("fast", [True, False])
def test_what_came_with_the_ending_is_kept_whatever_follows(fast: bool) -> None:
    body = as_bytes([chunk({"content": "all"}), chunk(None, "stop")], done=False) + b"data: {broken\n\n"
    assert reading("openai", [body], fast=fast) == [TextDelta("all"), Usage(), Finished("stop", "c-1")]


def test_every_word_for_an_ending_is_understood_as_litellm_does() -> None:
    from litellm.litellm_core_utils.core_helpers import _FINISH_REASON_MAP

    for word in [*_FINISH_REASON_MAP, "unheard_of", "model_context_window_exceeded"]:
        both("openai", as_bytes([chunk({"content": "x"}), chunk(None, word)]))
        both("anthropic", as_bytes([begun(), opened(0, type="text", text="x"), *ended(word)]))


# --- streams made up ---

INDEX = st.sampled_from([0, 1, None])
CALLS = st.lists(
    st.builds(
        call,
        INDEX,
        st.sampled_from([None, "", "a", "b"]),
        st.sampled_from([None, "f"]),
        st.sampled_from(["", "{", "1"]),
    ),
    min_size=1,
    max_size=2,
)
CITED = st.sampled_from(
    [[], [{"type": "url_citation", "url_citation": {"url": "https://a.example"}}], [{"type": "odd"}]]
)
DELTAS = st.one_of(
    st.just({"role": "assistant", "content": ""}),
    st.builds(lambda text: {"content": text}, WORDS),
    st.builds(lambda text: {"content": text}, WORDS),
    st.builds(lambda text: {"reasoning": text}, WORDS),
    st.builds(lambda text, more: {"reasoning": text, "content": more}, WORDS, WORDS),
    st.builds(lambda calls: {"tool_calls": calls}, CALLS),
    st.builds(lambda text, calls: {"content": text, "tool_calls": calls}, WORDS, CALLS),
    st.builds(lambda cited, text: {"annotations": cited, "content": text}, CITED, WORDS),
    st.just({"content": None, "refusal": "no", "audio": None, "vendor": {"x": 1}}),
)
COUNTS = st.sampled_from([None, 0, 3])
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 9), "completion_tokens": st.integers(0, 9)},
    optional={
        "total_tokens": COUNTS,
        "prompt_tokens_details": st.sampled_from([None, {}, {"cached_tokens": 2, "cache_write_tokens": 1}]),
        "completion_tokens_details": st.sampled_from([None, {}, {"reasoning_tokens": 2}]),
        "prompt_cache_hit_tokens": st.sampled_from([0, 3]),
        "cost": st.just(0.5),
    },
)


@st.composite
def completions(draw: st.DrawFn) -> list[Event]:
    """A chat completion."""
    events = [chunk(delta) for delta in draw(st.lists(DELTAS, max_size=6))]
    events += [chunk(None, draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "eos", None])))]
    if (usage := draw(st.none() | USAGES)) is not None:
        events.append({**chunk(), "choices": [], "usage": usage})
    return events


BLOCKS = st.one_of(
    st.builds(
        lambda *texts: ({"type": "text", "text": ""}, [("text_delta", {"text": t}) for t in texts]), WORDS, WORDS
    ),
    st.builds(
        lambda text: (
            {"type": "thinking", "thinking": "", "signature": ""},
            [("thinking_delta", {"thinking": text}), ("signature_delta", {"signature": "sig"})],
        ),
        WORDS,
    ),
    st.just(({"type": "redacted_thinking", "data": "d"}, [])),
    st.builds(
        lambda kind, pieces: (
            {"type": kind, "id": f"{kind}_{len(pieces)}", "name": "f", "input": {}},
            [("input_json_delta", {"partial_json": piece}) for piece in pieces],
        ),
        st.sampled_from(["tool_use", "server_tool_use"]),
        st.lists(st.sampled_from(["", "{", "}"]), max_size=3),
    ),
    st.just(({"type": "web_fetch_tool_result", "tool_use_id": "t", "content": {"a": 1}}, [])),
)


@st.composite
def messages(draw: st.DrawFn) -> list[Event]:
    """A message of Anthropic's."""
    events = [begun(cache_read_input_tokens=draw(COUNTS), cache_creation_input_tokens=draw(COUNTS))]
    for index, (block, deltas) in enumerate(draw(st.lists(BLOCKS, max_size=4))):
        grows = [grown(index, kind, **values) for kind, values in deltas]
        events += [opened(index, **block), *grows, *draw(st.sampled_from([[], [{"type": "ping"}]])), closed(index)]
    return [*events, *ended(draw(st.sampled_from(["end_turn", "tool_use", "refusal", "stop_sequence", "pause_turn"])))]


@EXAMPLES
@given(completions(), st.sampled_from(["openai", "openai-compat", "openrouter"]), st.booleans())
def test_any_completion_is_the_same_answer_to_both(events: list[Event], kind: str, done: bool) -> None:
    both(kind, as_bytes(events, done=done))


@EXAMPLES
@given(messages(), st.integers(0, 400))
def test_any_message_is_the_same_answer_to_both(events: list[Event], place: int) -> None:
    body = as_bytes(events, done=False)
    assert isinstance(both("anthropic", body[:place], body[place:])[-1], Finished)


@EXAMPLES
@given(st.data())
def test_a_value_of_an_odd_shape_is_never_another_answer(data: st.DataObject) -> None:
    kind, events = data.draw(st.sampled_from([*STREAMS.values()]))
    odd = data.draw(st.sampled_from([None, 7, 2.5, True, "odd", [], {}, [3], {"k": 1}, [{"k": []}]]))
    place = data.draw(st.integers(0, len(events) - 1))
    event, path = events[place], []
    while isinstance(event, dict | list) and event and (not path or data.draw(st.booleans())):
        path.append(data.draw(st.sampled_from([*event] if isinstance(event, dict) else [*range(len(event))])))
        event = event[path[-1]]
    body = as_bytes([*events[:place], changed(events[place], path, odd), *events[place + 1 :]])
    ours, litellms = reading(kind, [body], fast=True), reading(kind, [body], fast=False)
    if isinstance(ours, list) and isinstance(litellms, list):
        assert ours[:-2] == litellms[:-2]
        # Its number is not what it says: an event of no known type may have been the one to tell it.
        assert replace(ours[-1], response_id="") == replace(litellms[-1], response_id="")


def changed(value: Any, path: list[Any], odd: Any) -> Any:
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], odd)
    return copy
