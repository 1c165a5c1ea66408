"""What a tool of an MCP server says is shown whole: words, pictures, links and what it structured, within bounds."""

import base64
from typing import Any

import pytest

from activities.mcp.content import LARGEST_MEDIA, MOST_MEDIA, outcome
from activities.tools import results
from activities.tools.endings import ToolFailed
from models.rules import prompt

CALL = {"tool_call_id": "c1", "tool_name": "fake__draw"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def picture(data: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "data": base64.b64encode(data).decode(), "mimeType": kind}


def stored(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = results.succeeded(CALL, outcome({"content": [*content], **more}), "2026-01-01T00:00:00Z", 1000)
    found: dict[str, Any] = made["result"]
    return found


LINK = {"type": "resource_link", "uri": "file:///notes.md", "name": "notes"}


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"content": [text("one"), text("two")]}, {"output": "one\ntwo"}),
        ({"content": [text("see"), LINK]}, {"output": "see\nnotes: file:///notes.md"}),
        ({"content": [LINK | {"title": "My notes"}]}, {"output": "My notes: file:///notes.md"}),
        ({"content": [{"type": "resource", "resource": {"uri": "x:1", "text": "inside"}}]}, {"output": "inside"}),
        ({"content": [text('{"a": 1}')], "structuredContent": {"a": 1}}, {"a": 1}),
        ({"content": [], "structuredContent": {"a": 1}}, {"a": 1}),
        ({"content": [text("hi")], "structuredContent": {"result": "hi"}}, {"output": "hi"}),
        ({"content": [text("hi")], "structuredContent": {"a": 1}}, {"output": "hi", "structured": {"a": 1}}),
        ({"content": []}, {"output": ""}),
    ],
)
def test_words_links_and_structure_are_one_result(result: dict[str, Any], told: dict[str, Any]) -> None:
    assert results.succeeded(CALL, outcome(result), "2026-01-01T00:00:00Z", 1000)["result"] == told


def test_every_picture_and_sound_is_shown_in_its_order_with_all_that_was_said() -> None:
    sound = {"type": "audio", "data": base64.b64encode(b"two").decode(), "mimeType": "audio/wav"}
    blob = {"type": "resource", "resource": {"uri": "x:3", "blob": picture(b"three")["data"], "mimeType": "image/gif"}}
    shown = stored(text("before"), picture(b"one"), sound, text("after"), blob, LINK, structuredContent={"a": 1})
    every = [shown, *shown["more"]]
    assert [base64.b64decode(each["data"]) for each in every] == [b"one", b"two", b"three"]
    assert [each["mime_type"] for each in every] == ["image/png", "audio/wav", "image/gif"]
    assert shown["text"] == 'before\nafter\nnotes: file:///notes.md\n{"a":1}'
    assert "more" not in stored(picture(b"alone"))


def test_what_is_too_much_is_left_out_and_told() -> None:
    many = stored(*(picture(b"x") for _ in range(MOST_MEDIA + 2)))
    assert len(many["more"]) == MOST_MEDIA - 1
    assert many["text"] == "\n".join([f"[image/png: left out, {MOST_MEDIA} are shown]"] * 2)
    large = stored(picture(b"y" * (LARGEST_MEDIA - 1)), picture(b"zz"), picture(b"z"), text("word"))
    assert [each["data"] for each in large["more"]] == [picture(b"z")["data"]]
    assert large["text"] == f"[image/png: left out, no more than {LARGEST_MEDIA} bytes are shown]\nword"
    assert stored({**picture(b"x"), "data": "not base64"}) == {"output": "[image/png that is not base64: left out]"}
    assert len(stored(picture(b"x"), text("w" * 5000))["text"]) < 1100


def test_a_model_reads_what_was_said_and_no_bytes_of_what_was_shown() -> None:
    part = results.succeeded(CALL, outcome({"content": [text("two"), picture(b"one"), picture(b"two")]}), "x", 1000)
    read = prompt._result(part)
    assert "two" in read
    assert not any(picture(each)["data"] in read for each in (b"one", b"two"))


def test_a_tool_that_failed_says_why_in_words_or_in_structure() -> None:
    for said, why in (
        ({"content": [text("no"), text("really")]}, "no\nreally"),
        ({"content": [], "structuredContent": {"code": 7}}, '{"code":7}'),
        ({"content": []}, "The tool failed without saying why."),
    ):
        with pytest.raises(ToolFailed, match=why.replace("{", r"\{")):
            outcome({**said, "isError": True})
