"""What a model asks of a desktop, in its provider's words, as the steps that the workspace's agent takes.

Two vocabularies: Anthropic's (`{"action": "left_click", "coordinate": [x, y]}`) and OpenAI's
(`{"actions": [{"type": "click", "x", "y"}]}`). Whatever is not clear is said before anything is done.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from models.rules import keys

TOOL = "computer"
MODE = "computer_use"
"""The `mode` of chats that work at a desktop."""

GEOMETRY: Mapping[str, tuple[int, int]] = {"anthropic": (1280, 800), "openai": (1600, 900)}
"""Of the desktop, by who looks at it. Anthropic makes pictures of more than 1.15 megapixels smaller, and then points at
what it saw there; 1280×800 it takes as it is. OpenAI's is what it asks for."""

SETTLE_MS = 400  # after what was done, before the screen is looked at
WAIT_MS = 1000  # where a model does not say how long
MOST_WAIT_MS = 59_000  # in one call, keys that are held included; an agent waits a minute
MOST_TEXT = 5_000  # characters typed in one call
MOST_ACTIONS = 50
MOST_STROKES = 100
MOST_POINTS = 200
MOST_CLICKS = 100  # of the wheel
PIXELS_A_CLICK = 100  # of the wheel
UNHEARD_OF = 10**9  # no number that means anything is so large
STEP_TIME = timedelta(seconds=60)  # that an agent has for a call beside what it waits and types
TYPING = timedelta(milliseconds=25)  # a character

Step = dict[str, Any]
Given = Mapping[str, Any]


class Unclear(ValueError):
    """It cannot be done as it was asked; the model reads why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done on a desktop of this geometry. `looks`: a screenshot was asked for in so many words."""

    geometry: tuple[int, int]
    steps: list[Step]
    looks: bool

    @property
    def patience(self) -> timedelta:
        """How long it may take."""
        waits = sum(step.get("ms", 0) for step in self.steps)
        typed = sum(len(step.get("text", "")) for step in self.steps)
        return STEP_TIME + timedelta(milliseconds=waits) + TYPING * typed

    def request(self) -> dict[str, Any]:
        """The job for the workspace's agent: the steps, and then a picture of what they led to."""
        acts = any(step["do"] not in ("wait", "cursor") for step in self.steps)
        settled = [{"do": "wait", "ms": SETTLE_MS}] if acts else []
        return {"geometry": [*self.geometry], "steps": [*self.steps, *settled], "screenshot": True}


def read(given: Given) -> Plan:
    """What the call asks for, in either vocabulary; raises Unclear."""
    if isinstance(given.get("action"), str):
        return _plan("anthropic", [given], _ANTHROPIC, "action")
    actions = given.get("actions")
    if actions is None:
        alone = given.get("action", given)
        actions = [alone] if isinstance(alone, Mapping) and "type" in alone else None
    if not isinstance(actions, list) or not actions:
        raise Unclear("actions is required: a list of at least one action")
    if len(actions) > MOST_ACTIONS:
        raise Unclear(f"{len(actions)} actions are too many: at most {MOST_ACTIONS} are done in one call")
    return _plan("openai", actions, _OPENAI, "type")


def _plan(words: str, actions: list[Any], readers: "Mapping[str, Reader]", named: str) -> Plan:
    steps: list[Step] = []
    for number, action in enumerate(actions, 1):
        try:
            steps += _steps(words, action, readers, named)
        except Unclear as why:
            raise Unclear(f"action {number}: {why}") if len(actions) > 1 else why from None
    if sum(step.get("ms", 0) for step in steps) > MOST_WAIT_MS:
        raise Unclear(f"one call waits for at most {MOST_WAIT_MS // 1000} seconds")
    if sum(len(step.get("text", "")) for step in steps) > MOST_TEXT:
        raise Unclear(f"one call types at most {MOST_TEXT} characters")
    return Plan(GEOMETRY[words], steps, any(action[named] == "screenshot" for action in actions))


def _steps(words: str, action: Any, readers: "Mapping[str, Reader]", named: str) -> list[Step]:
    if not isinstance(action, Mapping):
        raise Unclear("an action is an object")
    kind = action.get(named)
    if not isinstance(kind, str) or kind not in readers:
        raise Unclear(f"{kind!r} is no {named}; there are {', '.join(readers)}")
    return readers[kind](_Reading(action, kind, *GEOMETRY[words]))


@dataclass(frozen=True, slots=True)
class _Reading:
    """One action, asked for its values: what is missing or makes no sense is Unclear."""

    given: Given
    kind: str
    width: int
    height: int

    def number(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < UNHEARD_OF:
            raise Unclear(f"{name} must be a number" if value is not None else f"{name} is required for {self.kind}")
        return value

    def within(self, x: Any, y: Any, name: str = "coordinate") -> tuple[int, int]:
        at = round(self.number(f"{name} x", x)), round(self.number(f"{name} y", y))
        if not (0 <= at[0] < self.width and 0 <= at[1] < self.height):
            raise Unclear(f"{name} ({at[0]}, {at[1]}) is outside of the screen of {self.width}x{self.height}")
        return at

    def pair(self, name: str = "coordinate") -> tuple[int, int] | None:
        """A point given as `[x, y]`, if it is."""
        given = self.given.get(name)
        if given is None:
            return None
        if not isinstance(given, list | tuple) or len(given) != 2:
            raise Unclear(f"{name} must be [x, y]")
        return self.within(given[0], given[1], name)

    def required(self, name: str = "coordinate") -> tuple[int, int]:
        if (found := self.pair(name)) is None:
            raise Unclear(f"{name} is required for {self.kind}")
        return found

    def point(self) -> tuple[int, int]:
        """A point given as `x` and `y`."""
        return self.within(self.given.get("x"), self.given.get("y"))

    def text(self) -> str:
        given = self.given.get("text")
        if not isinstance(given, str) or not given:
            raise Unclear(f"text is required for {self.kind}" if not given else "text must be a string")
        return given

    def chord(self, text: str) -> list[str]:
        try:
            return keys.chord(text)
        except keys.NoSuchKey as unknown:
            raise Unclear(f"there is no key {str(unknown)!r}") from None

    def keys(self) -> list[str]:
        """The keys given as a list of names, each of which may be a chord."""
        given = self.given.get("keys")
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
            raise Unclear("keys must be a list of the names of keys")
        found = [each for name in given for each in self.chord(name)]
        return [each.lower() if len(each) == 1 else each for each in found]  # `CTRL`, `S` is Ctrl and the key S

    def held(self, names: list[str]) -> list[str]:
        if wrong := [each for each in names if each not in keys.MODIFIERS]:
            raise Unclear(f"{wrong[0]!r} cannot be held meanwhile; {', '.join(keys.MODIFIERS)} can")
        return [*dict.fromkeys(names)]

    def modifiers(self) -> list[str]:
        """What is held down meanwhile, where Anthropic says it."""
        return self.held(self.chord(self.text())) if self.given.get("text") is not None else []

    def with_keys(self) -> list[str]:
        """The same where OpenAI says it."""
        return self.held(self.keys()) if self.given.get("keys") else []


Reader = Callable[[_Reading], list[Step]]


def _at(point: tuple[int, int] | None) -> Step:
    return {} if point is None else {"x": point[0], "y": point[1]}


def _click(asked: _Reading, at: Step, button: str, count: int, hold: list[str]) -> list[Step]:
    return [{"do": "click", **at, "button": button, "count": count, "hold": hold}]


def _clicks(button: str, count: int = 1) -> Reader:
    return lambda asked: _click(asked, _at(asked.pair()), button, count, asked.modifiers())


def _button(what: str) -> Reader:
    return lambda asked: [{"do": what, "button": "left", **_at(asked.pair())}]


def _key(asked: _Reading) -> list[Step]:
    strokes = [stroke for word in asked.text().split() for stroke in keys.strokes(asked.chord(word))]
    repeat = asked.number("repeat", asked.given.get("repeat", 1))
    if repeat != int(repeat) or repeat < 1 or repeat * len(strokes) > MOST_STROKES:
        raise Unclear(f"repeat must be a whole number from 1; at most {MOST_STROKES} keys are pressed in one call")
    if not strokes:
        raise Unclear("text is required for key")
    return [{"do": "keys", "chord": stroke} for _ in range(int(repeat)) for stroke in strokes]


def _duration(asked: _Reading, default: float | None = None) -> int:
    seconds = asked.number("duration", asked.given.get("duration", default))
    if not 0 <= seconds <= MOST_WAIT_MS / 1000:
        raise Unclear(f"duration must be from 0 to {MOST_WAIT_MS // 1000} seconds")
    return round(seconds * 1000)


def _hold_key(asked: _Reading) -> list[Step]:
    return [{"do": "hold", "chord": [*dict.fromkeys(asked.chord(asked.text()))], "ms": _duration(asked)}]


def _left_click_drag(asked: _Reading) -> list[Step]:
    start, end, hold = asked.pair("start_coordinate"), asked.required(), asked.modifiers()
    if start is not None:
        return [{"do": "drag", "path": [[*start], [*end]], "button": "left", "hold": hold}]
    if hold:
        raise Unclear("start_coordinate is required where keys are held meanwhile")
    return [
        {"do": "press", "button": "left"},
        {"do": "move", **_at(end)},
        {"do": "release", "button": "left"},
    ]


def _scroll(asked: _Reading) -> list[Step]:
    at, hold = _at(asked.pair()), asked.modifiers()
    ways = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
    way = asked.given.get("scroll_direction")
    if not isinstance(way, str) or way not in ways:
        raise Unclear(f"scroll_direction must be one of {', '.join(ways)}")
    amount = asked.number("scroll_amount", asked.given.get("scroll_amount"))
    if not 0 <= amount <= MOST_CLICKS:
        raise Unclear(f"scroll_amount must be from 0 to {MOST_CLICKS}")
    clicks = math.ceil(amount)
    return [{"do": "scroll", **at, "dx": ways[way][0] * clicks, "dy": ways[way][1] * clicks, "hold": hold}]


def _zoom(asked: _Reading) -> list[Step]:
    raise Unclear("zoom is not available: take a screenshot")


_ANTHROPIC: Mapping[str, Reader] = {
    "key": _key,
    "hold_key": _hold_key,
    "type": lambda asked: [{"do": "type", "text": asked.text()}],
    "cursor_position": lambda asked: [{"do": "cursor"}],
    "mouse_move": lambda asked: [{"do": "move", **_at(asked.required())}],
    "left_click": _clicks("left"),
    "right_click": _clicks("right"),
    "middle_click": _clicks("middle"),
    "double_click": _clicks("left", 2),
    "triple_click": _clicks("left", 3),
    "left_mouse_down": _button("press"),
    "left_mouse_up": _button("release"),
    "left_click_drag": _left_click_drag,
    "scroll": _scroll,
    "wait": lambda asked: [{"do": "wait", "ms": _duration(asked, WAIT_MS / 1000)}],
    "screenshot": lambda asked: [],
    "zoom": _zoom,
}

BUTTONS = {
    "left": "left",
    "right": "right",
    "wheel": "middle",
    "middle": "middle",
    "back": "back",
    "forward": "forward",
}
"""OpenAI's names of a mouse's buttons, and the agent's."""


def _openai_button(asked: _Reading) -> str:
    given = asked.given.get("button", "left")
    if not isinstance(given, str) or given not in BUTTONS:
        raise Unclear(f"button must be one of {', '.join(BUTTONS)}")
    return BUTTONS[given]


def _openai_click(count: int) -> Reader:
    return lambda asked: _click(asked, _at(asked.point()), _openai_button(asked), count, asked.with_keys())


def _openai_drag(asked: _Reading) -> list[Step]:
    given = asked.given.get("path")
    if not isinstance(given, list) or not 2 <= len(given) <= MOST_POINTS:
        raise Unclear(f"path must be a list of 2 to {MOST_POINTS} points")
    path: list[list[int]] = []
    for point in given:
        if isinstance(point, Mapping):
            path.append([*asked.within(point.get("x"), point.get("y"), "path")])
        elif isinstance(point, list | tuple) and len(point) == 2:
            path.append([*asked.within(point[0], point[1], "path")])
        else:
            raise Unclear("a point of path must be {x, y}")
    return [{"do": "drag", "path": path, "button": "left", "hold": asked.with_keys()}]


def _openai_keypress(asked: _Reading) -> list[Step]:
    strokes = keys.strokes(asked.keys())
    if not strokes[0]:
        raise Unclear("keys must name at least one key")
    if len(strokes) > MOST_STROKES:
        raise Unclear(f"at most {MOST_STROKES} keys are pressed in one action")
    return [{"do": "keys", "chord": stroke} for stroke in strokes]


def _openai_scroll(asked: _Reading) -> list[Step]:
    dx, dy = (_clicks_of(asked.number(name, asked.given.get(name) or 0)) for name in ("scroll_x", "scroll_y"))
    return [{"do": "scroll", **_at(asked.point()), "dx": dx, "dy": dy, "hold": asked.with_keys()}]


def _clicks_of(pixels: float) -> int:
    """Turns of the wheel for so many pixels: one at least, where there is any."""
    clicks = min(max(round(abs(pixels) / PIXELS_A_CLICK), 1), MOST_CLICKS) if pixels else 0
    return int(math.copysign(clicks, pixels))


def _openai_wait(asked: _Reading) -> list[Step]:
    given = asked.given.get("ms")
    ms = asked.number("ms", WAIT_MS if given is None else given)
    if not 0 <= ms <= MOST_WAIT_MS:
        raise Unclear(f"ms must be from 0 to {MOST_WAIT_MS}")
    return [{"do": "wait", "ms": round(ms)}]


_OPENAI: Mapping[str, Reader] = {
    "click": _openai_click(1),
    "double_click": _openai_click(2),
    "drag": _openai_drag,
    "keypress": _openai_keypress,
    "move": lambda asked: [{"do": "move", **_at(asked.point())}],
    "screenshot": lambda asked: [],
    "scroll": _openai_scroll,
    "type": lambda asked: [{"do": "type", "text": asked.text()}],
    "wait": _openai_wait,
}
ACTIONS = tuple(_OPENAI)
"""OpenAI's words for what can be done."""
