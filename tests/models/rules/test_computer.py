"""The laws of two vocabularies: each action is the steps it stands for, and what makes no sense is said before any."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules import computer, keys
from models.rules.computer import Unclear, read

AT = {"coordinate": [10, 20]}


def click(button: str = "left", count: int = 1, hold: tuple[str, ...] = (), **at: int) -> dict[str, Any]:
    return {"do": "click", **at, "button": button, "count": count, "hold": [*hold]}


def chords(*names: str) -> list[dict[str, Any]]:
    return [{"do": "keys", "chord": name.split()} for name in names]


ANTHROPIC: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"action": "screenshot"}, []),
    ({"action": "cursor_position"}, [{"do": "cursor"}]),
    ({"action": "mouse_move", **AT}, [{"do": "move", "x": 10, "y": 20}]),
    ({"action": "left_click"}, [click()]),
    ({"action": "left_click", "coordinate": [9.6, 20.2]}, [click(x=10, y=20)]),
    ({"action": "left_click", **AT, "text": "ctrl+Shift_L"}, [click(x=10, y=20, hold=("ctrl", "shift"))]),
    ({"action": "right_click", **AT}, [click("right", x=10, y=20)]),
    ({"action": "middle_click", **AT, "text": "cmd"}, [click("middle", x=10, y=20, hold=("super",))]),
    ({"action": "double_click", **AT}, [click(count=2, x=10, y=20)]),
    ({"action": "triple_click", **AT}, [click(count=3, x=10, y=20)]),
    ({"action": "left_mouse_down"}, [{"do": "press", "button": "left"}]),
    ({"action": "left_mouse_up", **AT}, [{"do": "release", "button": "left", "x": 10, "y": 20}]),
    (
        {"action": "left_click_drag", "start_coordinate": [0, 0], "coordinate": [1279, 799], "text": "shift"},
        [{"do": "drag", "path": [[0, 0], [1279, 799]], "button": "left", "hold": ["shift"]}],
    ),
    (
        {"action": "left_click_drag", **AT},
        [{"do": "press", "button": "left"}, {"do": "move", "x": 10, "y": 20}, {"do": "release", "button": "left"}],
    ),
    (
        {"action": "scroll", **AT, "scroll_direction": "up", "scroll_amount": 3},
        [{"do": "scroll", "x": 10, "y": 20, "dx": 0, "dy": -3, "hold": []}],
    ),
    (
        {"action": "scroll", "scroll_direction": "right", "scroll_amount": 1.2, "text": "shift"},
        [{"do": "scroll", "dx": 2, "dy": 0, "hold": ["shift"]}],
    ),
    ({"action": "key", "text": "Return"}, chords("enter")),
    ({"action": "key", "text": "ctrl+s"}, chords("ctrl s")),
    ({"action": "key", "text": "ctrl+Page_Down"}, chords("ctrl pagedown")),
    ({"action": "key", "text": "super"}, chords("super")),
    ({"action": "key", "text": "ctrl++"}, chords("ctrl +")),
    ({"action": "key", "text": "+"}, chords("+")),
    ({"action": "key", "text": "Alt_L+F4"}, chords("alt f4")),
    ({"action": "key", "text": "Tab Tab Return"}, chords("tab", "tab", "enter")),
    ({"action": "key", "text": "ctrl+k+b"}, chords("ctrl k", "ctrl b")),
    ({"action": "key", "text": "Down", "repeat": 3}, chords("down", "down", "down")),
    ({"action": "hold_key", "text": "shift+w", "duration": 1.5}, [{"do": "hold", "chord": ["shift", "w"], "ms": 1500}]),
    ({"action": "type", "text": "Grüße, 世界!\n"}, [{"do": "type", "text": "Grüße, 世界!\n"}]),
    ({"action": "wait", "duration": 2}, [{"do": "wait", "ms": 2000}]),
    ({"action": "wait"}, [{"do": "wait", "ms": 1000}]),
]
OPENAI: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"type": "screenshot"}, []),
    ({"type": "click", "x": 10, "y": 20}, [click(x=10, y=20)]),
    ({"type": "click", "x": 1599, "y": 899, "button": "right"}, [click("right", x=1599, y=899)]),
    ({"type": "click", "x": 10, "y": 20, "button": "wheel"}, [click("middle", x=10, y=20)]),
    ({"type": "click", "x": 10, "y": 20, "button": "back"}, [click("back", x=10, y=20)]),
    ({"type": "click", "x": 10, "y": 20, "button": "forward"}, [click("forward", x=10, y=20)]),
    (
        {"type": "click", "x": 10, "y": 20, "keys": ["CTRL", "SHIFT"]},
        [click(x=10, y=20, hold=("ctrl", "shift"))],
    ),
    ({"type": "double_click", "x": 10, "y": 20, "keys": []}, [click(count=2, x=10, y=20)]),
    (
        {"type": "drag", "path": [{"x": 1, "y": 2}, [3, 4], {"x": 5, "y": 6}]},
        [{"do": "drag", "path": [[1, 2], [3, 4], [5, 6]], "button": "left", "hold": []}],
    ),
    ({"type": "keypress", "keys": ["CTRL", "S"]}, chords("ctrl s")),
    ({"type": "keypress", "keys": ["ARROWLEFT", "ENTER", "PageUp"]}, chords("left", "enter", "pageup")),
    ({"type": "keypress", "keys": ["ctrl+shift+t"]}, chords("ctrl shift t")),
    ({"type": "keypress", "keys": "ESC"}, chords("escape")),
    ({"type": "keypress", "keys": ["META"]}, chords("super")),
    ({"type": "keypress", "keys": ["CMD", " "]}, chords("super space")),
    ({"type": "move", "x": 10, "y": 20}, [{"do": "move", "x": 10, "y": 20}]),
    (
        {"type": "scroll", "x": 10, "y": 20, "scroll_x": 0, "scroll_y": 520},
        [{"do": "scroll", "x": 10, "y": 20, "dx": 0, "dy": 5, "hold": []}],
    ),
    (
        {"type": "scroll", "x": 10, "y": 20, "scroll_x": -7, "scroll_y": None, "keys": ["shift"]},
        [{"do": "scroll", "x": 10, "y": 20, "dx": -1, "dy": 0, "hold": ["shift"]}],
    ),
    (
        {"type": "scroll", "x": 10, "y": 20, "scroll_y": 10**8},
        [{"do": "scroll", "x": 10, "y": 20, "dx": 0, "dy": 100, "hold": []}],
    ),
    ({"type": "type", "text": "a"}, [{"do": "type", "text": "a"}]),
    ({"type": "wait"}, [{"do": "wait", "ms": 1000}]),
    ({"type": "wait", "ms": 250}, [{"do": "wait", "ms": 250}]),
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "actions is required"),
    ({"actions": []}, "at least one action"),
    ({"actions": "click"}, "actions is required"),
    ({"actions": None}, "actions is required"),
    ({"action": {"x": 1}}, "actions is required"),
    ({"actions": [{"type": "wait"}] * 51}, "51 actions are too many"),
    ({"actions": ["click"]}, "an action is an object"),
    ({"actions": [{"type": "wait"}, {"type": "fly"}]}, "action 2: 'fly' is no type; there are click"),
    ({"actions": [{"type": ["click"]}]}, "is no type"),
    ({"action": "fly"}, "'fly' is no action; there are key, hold_key"),
    ({"action": "zoom", "region": [0, 0, 1, 1]}, "zoom is not available"),
    ({"action": "mouse_move"}, "coordinate is required for mouse_move"),
    ({"action": "left_click", "coordinate": [1, 2, 3]}, r"coordinate must be \[x, y\]"),
    ({"action": "left_click", "coordinate": "10,20"}, r"coordinate must be \[x, y\]"),
    ({"action": "left_click", "coordinate": ["10", 20]}, "coordinate x must be a number"),
    ({"action": "left_click", "coordinate": [True, 20]}, "coordinate x must be a number"),
    ({"action": "left_click", "coordinate": [float("nan"), 20]}, "must be a number"),
    ({"action": "left_click", "coordinate": [10**400, 20]}, "must be a number"),
    ({"action": "left_click", "coordinate": [1280, 0]}, r"\(1280, 0\) is outside of the screen of 1280x800"),
    ({"action": "left_click", "coordinate": [-1, 0]}, "outside of the screen"),
    ({"action": "left_click", **AT, "text": "Return"}, "'enter' cannot be held meanwhile"),
    ({"action": "left_click", **AT, "text": 7}, "text must be a string"),
    ({"action": "left_click", **AT, "text": ""}, "text is required"),
    ({"action": "left_click_drag", "start_coordinate": [1, 1]}, "coordinate is required for left_click_drag"),
    ({"action": "left_click_drag", **AT, "text": "shift"}, "start_coordinate is required where keys"),
    ({"action": "scroll", **AT, "scroll_amount": 1}, "scroll_direction must be one of up, down, left, right"),
    ({"action": "scroll", **AT, "scroll_direction": ["up"], "scroll_amount": 1}, "scroll_direction must be"),
    ({"action": "scroll", **AT, "scroll_direction": "up"}, "scroll_amount is required for scroll"),
    ({"action": "scroll", **AT, "scroll_direction": "up", "scroll_amount": -1}, "scroll_amount must be from 0"),
    ({"action": "key"}, "text is required for key"),
    ({"action": "key", "text": " "}, "text is required for key"),
    ({"action": "key", "text": "ctrl+Nonesuch"}, "there is no key 'Nonesuch'"),
    ({"action": "key", "text": "ctrl+"}, "there is no key ''"),
    ({"action": "key", "text": "Down", "repeat": 0}, "repeat must be a whole number"),
    ({"action": "key", "text": "Down", "repeat": 1.5}, "repeat must be a whole number"),
    ({"action": "key", "text": "Down Up", "repeat": 51}, "at most 100 keys"),
    ({"action": "hold_key", "text": "a"}, "duration is required for hold_key"),
    ({"action": "hold_key", "text": "a", "duration": 60}, "duration must be from 0 to 59 seconds"),
    ({"action": "type"}, "text is required for type"),
    ({"action": "type", "text": ["a"]}, "text must be a string"),
    ({"action": "type", "text": "x" * 5001}, "types at most 5000 characters"),
    ({"action": "wait", "duration": "long"}, "duration must be a number"),
    ({"actions": [{"type": "wait", "ms": 40_000}] * 2}, "waits for at most 59 seconds"),
    ({"actions": [{"type": "wait", "ms": -1}]}, "ms must be from 0"),
    ({"type": "click", "x": 1}, "coordinate y is required for click"),
    ({"type": "click", "x": 1600, "y": 0}, "outside of the screen of 1600x900"),
    ({"type": "click", "x": 1, "y": 1, "button": "middleish"}, "button must be one of left, right, wheel"),
    ({"type": "click", "x": 1, "y": 1, "button": ["left"]}, "button must be one of"),
    ({"type": "click", "x": 1, "y": 1, "keys": ["A"]}, "'a' cannot be held meanwhile"),
    ({"type": "drag", "path": [{"x": 1, "y": 1}]}, "path must be a list of 2"),
    ({"type": "drag"}, "path must be a list"),
    ({"type": "drag", "path": [{"x": 1, "y": 1}, 7]}, "a point of path must be"),
    ({"type": "drag", "path": [{"x": 1, "y": 1}, {"x": 1}]}, "path y is required for drag"),
    ({"type": "keypress"}, "keys must be a list"),
    ({"type": "keypress", "keys": []}, "keys must name at least one key"),
    ({"type": "keypress", "keys": [7]}, "keys must be a list"),
    ({"type": "keypress", "keys": ["NONESUCH"]}, "there is no key 'NONESUCH'"),
    ({"type": "keypress", "keys": ["a"] * 101}, "at most 100 keys"),
    ({"type": "scroll", "x": 1, "y": 1, "scroll_y": "10"}, "scroll_y must be a number"),
    ({"type": "type", "text": ""}, "text is required for type"),
]


@pytest.mark.parametrize(("asked", "steps"), ANTHROPIC, ids=str)
def test_what_anthropic_says_is_these_steps(asked: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    plan = read(asked)
    assert (plan.steps, plan.geometry) == (steps, (1280, 800))
    assert plan.looks == (asked["action"] == "screenshot")


@pytest.mark.parametrize(("asked", "steps"), OPENAI, ids=str)
def test_what_openai_says_is_these_steps_alone_and_in_a_list(
    asked: dict[str, Any], steps: list[dict[str, Any]]
) -> None:
    for given_so in (asked, {"action": asked}, {"actions": [asked]}):
        plan = read(given_so)
        assert (plan.steps, plan.geometry) == (steps, (1600, 900))
        assert plan.looks == (asked["type"] == "screenshot")


def test_every_action_of_both_vocabularies_is_in_the_tables() -> None:
    assert {asked["action"] for asked, _ in ANTHROPIC} == computer._ANTHROPIC.keys() - {"zoom"}
    assert {asked["type"] for asked, _ in OPENAI} == set(computer.ACTIONS)


@pytest.mark.parametrize(("asked", "why"), BAD, ids=lambda each: str(each)[:60])
def test_what_makes_no_sense_is_said_and_nothing_of_it_is_done(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(Unclear, match=why):
        read(asked)


def test_after_acts_the_screen_settles_before_it_is_looked_at() -> None:
    acted = read({"actions": [{"type": "wait", "ms": 500}, {"type": "type", "text": "x" * 1000}]})
    assert acted.request() == {
        "geometry": [1600, 900],
        "steps": [*acted.steps, {"do": "wait", "ms": computer.SETTLE_MS}],
        "screenshot": True,
    }
    assert acted.patience == timedelta(seconds=60 + 0.5 + 25)
    assert read({"action": "screenshot"}).request() == {"geometry": [1280, 800], "steps": [], "screenshot": True}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["left", "up", "ctrl+a", "", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y"]), inner),
    max_leaves=5,
)
FIELDS = ("x", "y", "text", "keys", "button", "path", "coordinate", "start_coordinate", "scroll_direction", "ms",
          "scroll_amount", "scroll_x", "scroll_y", "duration", "repeat")  # fmt: skip
REST = st.dictionaries(st.sampled_from(FIELDS), JUNK | st.just([5, 6]) | st.integers(0, 700), max_size=6)
LIKELY = st.sampled_from([asked for asked, _ in ANTHROPIC]), st.sampled_from([asked for asked, _ in OPENAI])
CALLS = st.one_of(
    st.tuples(LIKELY[0], REST).map(lambda both: both[0] | both[1]),
    st.lists(st.tuples(LIKELY[1], REST).map(lambda both: both[0] | both[1]), max_size=4).map(
        lambda actions: {"actions": actions}
    ),
    st.dictionaries(st.sampled_from(["action", "actions", "type"]), JUNK),
)
BUTTONS = {"left", "right", "middle", "back", "forward"}


@settings(max_examples=60, deadline=None)
@given(CALLS)
def test_whatever_is_asked_is_refused_or_is_steps_that_an_agent_takes(asked: dict[str, Any]) -> None:
    try:
        plan = read(asked)
    except Unclear:
        return
    width, height = plan.geometry
    for step in plan.request()["steps"]:
        points = [[step["x"], step["y"]]] if "x" in step else step.get("path", [])
        assert all(type(x) is int and 0 <= x < width and type(y) is int and 0 <= y < height for x, y in points)
        assert len(points) >= 2 or step["do"] != "drag"
        assert step.get("button", "left") in BUTTONS
        assert set(step.get("hold", ())) <= set(keys.MODIFIERS)
        assert all(each == keys.key(each) for each in step.get("chord", ()))
        assert step.get("chord") != []
        assert 0 <= step.get("ms", 0) <= computer.MOST_WAIT_MS
        assert all(type(step.get(turn, 0)) is int and abs(step.get(turn, 0)) <= 100 for turn in ("dx", "dy"))
