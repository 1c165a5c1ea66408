"""Which keys of a display make which symbol; spare keys are made to mean what none of them does."""

from collections.abc import Callable, Collection, Iterable

from agent import keys
from agent.x11 import Display

_MEDIA = range(0x1008FF00, 0x10090000)  # play, volume and the like: nobody misses them here
_CODE_POINTS = range(keys.UNICODE, keys.UNICODE + 0x110000)
_RUN = 8  # keys that follow each other are changed at once; fewer are not worth it
_CATCH_UP = 0.15  # seconds in which programs see what a key has meant before it means something else


class NoKey(ValueError):
    """Every key that could be spared is down."""


class Keyboard:
    """What keys mean now.

    Every change is told to every program, which asks for all keys again, and a window manager takes a while for that:
    so as many as can be are changed at once.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self._plain: dict[int, int] = {}
        self._shifted: dict[int, int] = {}
        self._spare: list[list[int]] = []
        self._given: dict[int, int] = {}  # keys of ours with their symbols, the longest in use first

    def learn(self) -> None:
        """Look at what keys mean: programs may have changed it."""
        mapping = self._display.mapping()
        self._plain, self._shifted, spare = {}, {}, []
        given = {key: symbol for key, symbol in self._given.items() if mapping[key][0] == symbol}
        for key, levels in mapping.items():
            self._plain.setdefault(levels[0], key)
            self._shifted.setdefault(levels[1] if len(levels) > 1 else 0, key)
            if levels[0] in _CODE_POINTS:
                given.setdefault(key, levels[0])
            elif key not in given and all(level == 0 or level in _MEDIA for level in levels):
                spare.append(key)
        self._given = given
        runs = _runs(spare)
        self._spare = [run for run in runs if len(run) >= _RUN] or runs

    def codes(
        self,
        symbol: int,
        *,
        pause: Callable[[float], None],
        ahead: Iterable[int] = (),
        down: Collection[int] = (),
        shifted: bool = False,
    ) -> list[int]:
        """The keys that make a symbol: one, or Shift and one. Those `ahead` are made ready with it; those down stay.

        Raises NoKey.
        """
        if symbol not in self._plain and symbol not in self._shifted:
            self._provide([symbol, *ahead], pause, down)
        if symbol in self._plain:
            return [self._plain[symbol]]
        return [self._shifted[symbol]] if shifted else [self._plain[keys.SHIFT], self._shifted[symbol]]

    def _provide(self, symbols: Iterable[int], pause: Callable[[float], None], down: Collection[int]) -> None:
        if not self._spare:
            pause(_CATCH_UP)
            freed = [key for key in self._given if key not in down]
            for key in freed:
                self._plain.pop(self._given.pop(key), None)
            self._spare = _runs(freed)
        if not self._spare:
            raise NoKey("The keyboard of the desktop has no key to spare")
        missing = [each for each in dict.fromkeys(symbols) if each not in self._plain and each not in self._shifted]
        run = self._spare.pop(0)
        taken = dict(zip(run, missing, strict=False))
        if rest := run[len(taken) :]:
            self._spare = _runs([*rest, *(key for each in self._spare for key in each)])
        self._display.bind(run[0], [*taken.values()])
        self._display.sync()
        self._given |= taken
        self._plain |= {symbol: key for key, symbol in taken.items()}


def _runs(found: Iterable[int]) -> list[list[int]]:
    """Keys that follow each other, the longest run first."""
    runs: list[list[int]] = []
    for key in sorted(found):
        if runs and runs[-1][-1] + 1 == key:
            runs[-1].append(key)
        else:
            runs.append([key])
    return sorted(runs, key=len, reverse=True)
