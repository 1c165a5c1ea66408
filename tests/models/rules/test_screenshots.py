"""The laws of pictures of a desktop in a prompt: the newest few are shown, where the provider takes them."""

import base64
import json
from typing import Any

import pytest

from models.rules import prompt, screenshots

Rows = list[dict[str, Any]]


def picture(number: int) -> str:
    return base64.b64encode(b"\x89PNG %d" % number).decode()


def session(
    pictures: int, *, text: str = "", data: Any = None, kind: Any = "image/png", tool: str = "computer"
) -> Rows:
    """A chat that looked at its screen so often."""
    rows: Rows = [{"role": "user", "content": [{"type": "text", "text": "look"}]}]
    for number in range(pictures):
        call = {"type": "tool-call", "tool_call_id": f"c{number}", "tool_name": tool, "args": {"action": "screenshot"}}
        shot = {"data": picture(number) if data is None else data, "mime_type": kind, "text": text}
        result = {**call, "type": "tool-result", "result": shot, "is_media": True}
        rows += [{"role": "assistant", "content": [call]}, {"role": "tool", "content": [result]}]
    return rows


def seen(messages: Rows) -> list[str]:
    """The pictures in a prompt."""
    return [
        block["image_url"]["url"].removeprefix("data:image/png;base64,")
        for message in messages
        for block in (message["content"] if isinstance(message["content"], list) else ())
        if block["type"] == "image_url"
    ]


def test_anthropic_is_shown_a_picture_in_its_result() -> None:
    messages = prompt.build(session(1, text="The cursor is at X=1, Y=2."), provider="anthropic")
    assert messages[-1]["role"] == "tool"
    assert messages[-1]["content"] == [
        {"type": "text", "text": "The cursor is at X=1, Y=2."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture(0)}"}},
    ]
    assert "cache_control" in messages[-1], "on the result, which may have one, and not on the picture"


def test_others_are_shown_it_after_all_results_of_the_step() -> None:
    rows = session(1)
    more = {"type": "tool-call", "tool_call_id": "x", "tool_name": "current_time", "args": {}}
    rows[1]["content"].append(more)
    rows.append({"role": "tool", "content": [{**more, "type": "tool-result", "result": {"time": "now"}}]})
    messages = prompt.build(rows, provider="openai")
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[2]["content"] == prompt.DONE
    assert messages[4]["content"][0] == {"type": "text", "text": prompt.SCREEN}
    assert seen(messages) == [picture(0)]
    further = prompt.build([*rows, {"role": "user", "content": [{"type": "text", "text": "go on"}]}], provider="openai")
    assert further[: len(messages)] == messages


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_the_newest_pictures_are_shown_and_the_older_ones_go_several_at_once(provider: str) -> None:
    shown = []
    for count in range(1, 25):
        messages = prompt.build(session(count), provider=provider)
        found = seen(messages)
        assert found == [picture(number) for number in range(count - len(found), count)]
        assert min(count, screenshots.NEWEST) <= len(found) < screenshots.NEWEST + screenshots.BATCH
        assert json.dumps(messages).count(screenshots.LEFT_OUT) == count - len(found)
        shown.append(count - len(found))
    assert sorted(set(shown)) == [0, 5, 10, 15, 20], "between these the prompt grows at its end alone"


@pytest.mark.parametrize(
    "odd",
    [
        {"data": "not base64!"},
        {"data": ""},
        {"data": {"a": 1}},
        {"data": "A" * 8_000_000},
        {"kind": "audio/wav"},
        {"kind": ["image/png"]},
        {"tool": "weather__radar"},
    ],
    ids=lambda odd: str(odd)[:30],
)
def test_what_is_no_picture_of_the_screen_that_the_model_takes_is_not_shown(odd: dict[str, Any]) -> None:
    messages = prompt.build(session(2, **odd), provider="anthropic")
    assert seen(messages) == []
    assert all("data" not in json.loads(each["content"]) for each in messages if each["role"] == "tool")


def test_a_model_that_cannot_see_is_told_in_words() -> None:
    assert seen(prompt.build(session(2), provider="openai", model="gpt-3.5-turbo")) == []
