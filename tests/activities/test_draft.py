"""The laws of a draft: blocks in the order they came, each whole, each storable at any moment."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from activities.draft import MALFORMED, Draft, arguments
from activities.providers.provider import Chunk, Finished, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from models.events import assemble
from models.parts import Part


def draft(*chunks: Chunk) -> tuple[Draft, list[Part]]:
    seconds = count()
    made = Draft(lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds)))
    shown = [piece for chunk in chunks if (piece := made.add(chunk)) is not None]
    return made, [*shown, *made.close()]


def test_text_is_one_part_however_it_was_cut() -> None:
    made, shown = draft(TextDelta("a"), TextDelta(""), TextDelta("b"))
    assert made.parts() == [{"type": "text", "text": "ab"}]
    assert [piece["text"] for piece in shown] == ["a", "b"]


def test_reasoning_ends_when_something_else_begins() -> None:
    made, _ = draft(ReasoningDelta("th"), ReasoningDelta("ink"), TextDelta("say"))
    reasoning, said = made.parts()
    assert reasoning["text"] == "think"
    assert reasoning["completed_at"] > reasoning["created_at"]
    assert said == {"type": "text", "text": "say"}


def test_a_signature_closes_its_block_and_is_kept_inside() -> None:
    made, _ = draft(
        ReasoningDelta("one"),
        ReasoningDelta(signature="s1"),
        ReasoningDelta("two"),
        ReasoningDelta(signature="s2"),
        ReasoningDelta(redacted="xyz"),
    )
    assert [(part["text"], part["provider_metadata"]) for part in made.parts()] == [
        ("one", {"signature": "s1"}),
        ("two", {"signature": "s2"}),
        ("", {"redacted": "xyz"}),
    ]


def test_interleaved_calls_come_apart_by_their_number() -> None:
    made, shown = draft(
        ToolCallDelta(0, "a", "f", '{"x"'),
        ToolCallDelta(1, "b", "g", "{"),
        ToolCallDelta(0, arguments=": 1}"),
        ToolCallDelta(1, arguments="}"),
    )
    assert [(p["tool_call_id"], p["tool_name"], p["args"]) for p in made.parts()] == [
        ("a", "f", {"x": 1}),
        ("b", "g", {}),
    ]
    assert [piece.get("args") for piece in shown] == [None, None, None, None, {"x": 1}, {}]


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    made, _ = draft(ToolCallDelta(0, "", "f", "{}"), ToolCallDelta(1, "", "f", "{}"))
    ids = {part["tool_call_id"] for part in made.parts()}
    assert len(ids) == 2
    assert "" not in ids


@pytest.mark.parametrize(("text", "value"), [("", None), ("{", None), ("[1]", [1]), ('{"a": 1}', {"a": 1})])
def test_arguments_that_are_not_json_are_not_stored(text: str, value: object) -> None:
    assert arguments(text) == value


def test_what_watchers_were_shown_comes_to_what_is_stored() -> None:
    made, shown = draft(
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("let "),
        TextDelta("me "),
        ToolCallDelta(0, "a", "f", '{"x"'),
        ToolCallDelta(0, arguments=": 1}"),
        TextDelta("see"),
    )
    rebuilt = [part for _, part in assemble(("assistant", piece) for piece in shown)]
    never_shown = ("completed_at", "provider_metadata")
    stored = [{key: value for key, value in part.items() if key not in never_shown} for part in made.parts()]
    assert rebuilt == stored


def test_usage_and_ending_are_kept_beside_the_parts() -> None:
    made, _ = draft(TextDelta("a"), Usage(1, 2, 3), Finished("stop", "r1"))
    assert made.usage == Usage(1, 2, 3)
    assert made.finished == Finished("stop", "r1")
    assert made.says_something
    assert not draft(ReasoningDelta("hm"))[0].says_something


def test_two_calls_under_one_id_come_apart() -> None:
    """Results go by the id: the second call must not be given the first one's."""
    made, _ = draft(
        ToolCallDelta(0, "a:b", "f", "{}"), ToolCallDelta(1, "a:b", "f", "{}"), ToolCallDelta(2, "a.b", "f")
    )
    first, *others = [part["tool_call_id"] for part in made.parts()]
    assert first == "a:b"
    assert len({first, *others}) == 3
    assert all(other.startswith("call_") for other in others)


def test_a_call_that_was_cut_is_marked_and_one_without_arguments_is_not() -> None:
    made, _ = draft(ToolCallDelta(0, "a", "f", '{"x": '), ToolCallDelta(1, "b", "f", " "))
    cut, bare = made.parts()
    assert cut["provider_metadata"] == {MALFORMED: True}
    assert "args" not in cut
    assert "provider_metadata" not in bare


def test_arguments_too_deep_to_be_stored_are_not() -> None:
    assert arguments("[" * 600 + "]" * 600) is None
