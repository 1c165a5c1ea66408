"""Moves the mouse and presses the keys of a display as a request says, and lets go of all of it when that fails."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from agent import keys, x11
from agent.frames import Frame, Refused, flag, text
from agent.keyboard import Keyboard
from agent.x11 import Display

STOPPED = "It was stopped."
BUTTONS = {"left": 1, "middle": 2, "right": 3, "back": 8, "forward": 9}
LONGEST_WAIT_MS = 60_000  # of all waits of a job together
LONGEST_TEXT = 10_000
MOST_SCROLLED = 200
_UP, _DOWN, _LEFT, _RIGHT = 4, 5, 6, 7
_BETWEEN = 0.012  # seconds between what a hand does twice
_GRASP = 0.05  # seconds that a button is down before it is dragged away
_LEGS, _LEG = 12, 25  # most pieces in which a straight line is dragged, and pixels of each
LONGEST_PATH = 1000
_KEYSTROKE = 0.002
_GLANCE_MS = 500  # between two looks whether the display is still there
_AHEAD = 500  # characters for which keys are made ready at once
_LOCK = 2  # Caps Lock, in the mask of the pointer
_TRIES = 3


class Failed(Exception):
    """A step that cannot be done, with a sentence for the model."""


class Stuck(Exception):
    """The display does not let go of what was pressed."""


class Hands:
    """The one pair of hands of a display. What `press` took stays pressed between jobs, as it was asked for."""

    def __init__(self, display: Display) -> None:
        self.done = 0  # steps of the job at hand
        self._display = display
        self._keys: list[int] = []  # that are down
        self._buttons: list[int] = []
        self._touched: set[int] = set()  # keys that were down since the job began, or are
        self._clicked: set[int] = set()
        self._stop = threading.Event()
        self._left = 0
        self._keyboard = Keyboard(display)
        self._kinds: dict[str, Callable[[Frame], None]] = {
            "move": self._move,
            "click": self._click,
            "press": self._press,
            "release": self._release,
            "drag": self._drag,
            "scroll": self._scroll,
            "keys": self._chord,
            "hold": self._hold,
            "type": self._type,
            "wait": lambda step: self._wait(_milliseconds(step)),
            "cursor": lambda step: None,
        }

    @property
    def holding(self) -> bool:
        """Whether anything is pressed by us."""
        return bool(self._keys or self._buttons)

    def perform(self, steps: list[Frame], stop: threading.Event) -> tuple[int, str | None]:
        """Do the steps in order; how many were done, and why not the next. After a failure nothing is pressed by us.

        Raises Stuck, and x11.Dead.
        """
        self._stop = stop
        self._left = LONGEST_WAIT_MS
        self.done = 0
        self._touched, self._clicked = set(self._keys), set(self._buttons)
        self._keyboard.learn()
        whole = False
        try:
            for step in steps:
                self._do(step)
                self._display.sync()
                self.done += 1
            whole = True
        except Failed as failed:
            return self.done, str(failed)
        except (Refused, ValueError) as error:
            return self.done, f"{error}."
        finally:
            if not whole:
                self.let_go()
        return self.done, None

    def _do(self, step: Frame) -> None:
        if self._stop.is_set():
            raise Failed(STOPPED)
        kind = self._kinds.get(str(step.get("do")))
        if kind is None:
            raise Failed(f"There is no step {step.get('do')!r}; there are {', '.join(self._kinds)}.")
        kind(step)

    def let_go(self) -> None:
        """Release all that we pressed, and see that it is. Raises Stuck, and x11.Dead."""
        self._relax(self._touched, self._clicked)
        self._keys.clear()
        self._buttons.clear()

    def let_go_of_others(self) -> None:
        """Release what somebody else has pressed who is gone."""
        self._relax(self._display.pressed() - set(self._keys), set(range(1, 10)) - set(self._buttons))

    def let_go_of_all(self) -> None:
        """Release whatever is pressed, by whomever: who pressed it before us is not there to release it."""
        self._relax(sorted(self._display.pressed()), range(1, 10))

    def _relax(self, held: Collection[int], buttons: Collection[int]) -> None:
        mask = sum(1 << 7 + button for button in buttons if button <= 5)
        for _ in range(_TRIES):
            for key in held:
                self._display.fake(x11.KEY_RELEASE, key)
            for button in buttons:
                self._display.fake(x11.BUTTON_RELEASE, button)
            self._display.sync()
            if not self._display.pressed() & set(held) and not self._display.pointer().mask & mask:
                return
        raise Stuck

    # What steps do.

    def _move(self, step: Frame) -> None:
        self._go(self._point(step.get("x"), step.get("y")))

    def _click(self, step: Frame) -> None:
        button, count = _button(step), _number(step.get("count", 1), "count")
        if not 1 <= count <= 3:
            raise Failed("count must be 1, 2 or 3.")
        self._approach(step)
        with self._holding(_names(step, "hold")):
            for _ in range(count):
                self._tap_button(button)

    def _press(self, step: Frame) -> None:
        button = _button(step)
        self._approach(step)
        self._button_down(button)

    def _release(self, step: Frame) -> None:
        button = _button(step)
        self._approach(step)
        self._button_up(button)

    def _drag(self, step: Frame) -> None:
        path, button = step.get("path"), _button(step)
        if not isinstance(path, list) or len(path) < 2:
            raise Failed("A drag needs a path of at least two points.")
        if len(path) > LONGEST_PATH:
            raise Failed(f"A path has at most {LONGEST_PATH} points.")
        points = [self._point(*point) if isinstance(point, list) and len(point) == 2 else None for point in path]
        if None in points:
            raise Failed("Each point of a path is [x, y].")
        first, *others = (point for point in points if point is not None)
        with self._holding(_names(step, "hold")):
            self._go(first)
            self._button_down(button)
            try:
                self._pause(_GRASP)
                at = first
                for point in others:
                    far = max(abs(a - b) for a, b in zip(at, point, strict=True))
                    legs = max(1, min(_LEGS, far // _LEG))
                    for leg in range(1, legs + 1):
                        self._go(tuple(a + (b - a) * leg // legs for a, b in zip(at, point, strict=True)))
                        self._pause(_BETWEEN)
                    at = point
                self._pause(_GRASP)
            finally:
                self._button_up(button)

    def _scroll(self, step: Frame) -> None:
        across, down = _number(step.get("dx", 0), "dx"), _number(step.get("dy", 0), "dy")
        if abs(across) + abs(down) > MOST_SCROLLED:
            raise Failed(f"One step scrolls at most {MOST_SCROLLED} clicks.")
        self._approach(step)
        with self._holding(_names(step, "hold")):
            for clicks, less, more in ((down, _UP, _DOWN), (across, _LEFT, _RIGHT)):
                for _ in range(abs(clicks)):
                    self._tap_button(more if clicks > 0 else less)

    def _chord(self, step: Frame) -> None:
        with self._holding(_chord_of(step)):
            self._pause(_BETWEEN)

    def _hold(self, step: Frame) -> None:
        milliseconds = _milliseconds(step)
        with self._holding(_chord_of(step)):
            self._wait(milliseconds)

    def _type(self, step: Frame) -> None:
        words = text(step, "text", "").replace("\r\n", "\n")
        if len(words) > LONGEST_TEXT:
            raise Failed(f"One step types at most {LONGEST_TEXT} characters.")
        symbols = [symbol for character in words if (symbol := keys.of_character(character)) is not None]
        if len(symbols) < len(words):
            wrong = next(character for character in words if keys.of_character(character) is None)
            raise Failed(f"No key types the character {wrong!r}.")
        locked = self._display.pointer().mask & _LOCK
        if locked:
            self._tap(keys.CAPS_LOCK)
        try:
            for place, symbol in enumerate(symbols):
                self._tap(symbol, islice(symbols, place + 1, place + _AHEAD))
                self._pause(_KEYSTROKE)
        finally:
            if locked:
                self._tap(keys.CAPS_LOCK)

    def _wait(self, milliseconds: int) -> None:
        if milliseconds > self._left:
            raise Failed(f"The waits of one call are at most {LONGEST_WAIT_MS} ms together.")
        self._left -= milliseconds
        for start in range(0, milliseconds, _GLANCE_MS):
            self._pause(min(_GLANCE_MS, milliseconds - start) / 1000)
            self._display.sync()

    # The mouse.

    def _point(self, x: object, y: object) -> tuple[int, ...]:
        point = _number(x, "x"), _number(y, "y")
        if not (0 <= point[0] < self._display.width and 0 <= point[1] < self._display.height):
            size = f"{self._display.width}x{self._display.height}"
            raise Failed(f"The point {point[0]}, {point[1]} is not on the screen, which is {size}.")
        return point

    def _approach(self, step: Frame) -> None:
        if step.get("x") is not None or step.get("y") is not None:
            self._move(step)

    def _go(self, point: tuple[int, ...]) -> None:
        self._display.fake(x11.MOTION, 0, point[0], point[1])

    def _tap_button(self, button: int) -> None:
        self._button_down(button)
        try:
            self._pause(_BETWEEN)
        finally:
            self._button_up(button)
        self._pause(_BETWEEN)

    def _button_down(self, button: int) -> None:
        self._buttons.append(button)
        self._clicked.add(button)
        self._display.fake(x11.BUTTON_PRESS, button)

    def _button_up(self, button: int) -> None:
        self._display.fake(x11.BUTTON_RELEASE, button)
        while button in self._buttons:
            self._buttons.remove(button)

    # The keyboard.

    @contextmanager
    def _holding(self, names: list[str]) -> Iterator[None]:
        """With these keys down, pressed in order and released the other way round."""
        found = [(name, keys.symbol(name if len(name) == 1 else name.lower())) for name in names]
        symbols = [symbol for _, symbol in found if symbol is not None]
        if len(symbols) < len(found):
            unknown = next(name for name, symbol in found if symbol is None)
            raise Failed(f"There is no key {unknown!r}.")
        down: list[int] = []
        try:
            for symbol in symbols:
                shifted = keys.SHIFT in symbols
                for key in self._keyboard.codes(symbol, pause=self._pause, down=down, shifted=shifted):
                    self._key_down(key)
                    down.append(key)
            yield
        finally:
            for key in reversed(down):
                self._key_up(key)

    def _tap(self, symbol: int, ahead: Iterable[int] = ()) -> None:
        codes = self._keyboard.codes(symbol, pause=self._pause, ahead=ahead)
        for key in codes:
            self._key_down(key)
        for key in reversed(codes):
            self._key_up(key)

    def _key_down(self, key: int) -> None:
        self._keys.append(key)
        self._touched.add(key)
        self._display.fake(x11.KEY_PRESS, key)

    def _key_up(self, key: int) -> None:
        self._display.fake(x11.KEY_RELEASE, key)
        while key in self._keys:
            self._keys.remove(key)

    def _pause(self, seconds: float) -> None:
        """Let time pass; what is stopped meanwhile fails."""
        if self._stop.wait(seconds):
            raise Failed(STOPPED)


def checked(request: Frame) -> tuple[list[Frame], bool]:
    """The steps of a request, and whether it wants a picture; refused when it is no such request."""
    steps = request.get("steps", [])
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise Refused("invalid", "steps must be a list of objects")
    return steps, flag(request, "screenshot")


def _button(step: Frame) -> int:
    name = step.get("button", "left")
    if not isinstance(name, str) or name not in BUTTONS:
        raise Failed(f"There is no button {name!r}; there are {', '.join(BUTTONS)}.")
    return BUTTONS[name]


def _names(step: Frame, field: str) -> list[str]:
    names = step.get(field, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise Failed(f"{field} must be a list of names of keys.")
    return names


def _chord_of(step: Frame) -> list[str]:
    chord = _names(step, "chord")
    if not chord:
        raise Failed("chord must name at least one key.")
    return chord


def _milliseconds(step: Frame) -> int:
    milliseconds = _number(step.get("ms"), "ms")
    if milliseconds < 0:
        raise Failed("ms must not be negative.")
    return milliseconds


def _number(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Failed(f"{name} must be a whole number.")
    return value
