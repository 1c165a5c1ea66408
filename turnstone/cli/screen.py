"""Blocks on a terminal or in a pipe: append-only, each character once, and nothing that a pipe should not hold.

The answer's text goes to stdout; reasoning, tools, retries and all else go to stderr. So `answer=$(turnstone chat …)`
holds the answer alone, and a terminal shows both.
"""

import os
import re
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.status import Status as Spinner
from rich.text import Text

from turnstone.cli.transcript import Block

# What a model or a tool wrote must not move the cursor, or worse. Tab and newline may stay.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LONGEST_LINE = 300


class Screen:
    """Two outputs that may be one and the same terminal."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.is_terminal = self._out.isatty()
        self._clean_out, self._clean_err = self._out.isatty(), self._err.isatty()
        self._console = console(self._err)
        self._answer = console(self._out)
        self._are_one = _same(self._out, self._err)
        self._columns = {"out": 0, "err": 0}
        self._spinner: Spinner | None = None
        self._shown: list[Block] = []

    def step(self, target: Sequence[Block], *, is_stored: bool) -> None:
        """Show what a step says by now. What is on the screen already is never written twice."""
        if not _continues(self._shown, target, is_stored):
            self.end_line()
            self.note("the answer starts again", style="yellow")
            self._shown = []
        if not _is_ahead(self._shown, target):
            self._append(target)
        if is_stored:
            self.end_line()
            self._shown = []

    def _append(self, target: Sequence[Block]) -> None:
        for index, block in enumerate(target):
            if index < len(self._shown):
                before = self._shown[index].text
            else:
                before = ""
                if self._shown:
                    self.end_line()
                    if block.kind == "text" and self._shown[-1].kind != "text":
                        self.gap()
            self._write(block, block.text[len(before) :])
        self._shown = list(target)

    def _write(self, block: Block, text: str) -> None:
        if not text:
            return
        if block.kind == "text":
            self.answer(text)
        elif block.kind == "reasoning":
            self.aside(text)
        else:
            self.note(f"→ {block.text}" if block.kind == "tool-call" else block.text, style="cyan")

    def answer(self, text: str) -> None:
        """Text of the answer: to stdout as it is, except what would command a terminal."""
        self.rest()
        if not text:
            return
        self._out.write(CONTROL.sub("�", text) if self._clean_out else text)
        self._out.flush()
        self._moved("out", text)

    def aside(self, text: str) -> None:
        """Dimmed text that may go on."""
        self.rest()
        if text:
            clean = CONTROL.sub("�", text) if self._clean_err else text
            self._console.print(Text(clean, style="dim"), end="", soft_wrap=True)
            self._err.flush()
            self._moved("err", text)

    def note(self, text: str, *, style: str = "dim") -> None:
        """One line of its own beside the answer."""
        self.rest()
        self.end_line(err=True)
        line = CONTROL.sub("�", " ".join(text.split()))
        if len(line) > LONGEST_LINE:
            line = line[: LONGEST_LINE - 1] + "…"
        self._console.print(Text(line, style=style), soft_wrap=True)
        self._moved("err", "\n")

    def end_line(self, *, err: bool = False) -> None:
        """Go to the start of a line, where the cursor is not there yet."""
        self.rest()
        for name, stream in (("out", self._out), ("err", self._err)):
            if self._columns[name] and (self._are_one or not err or name == "err"):
                stream.write("\n")
                stream.flush()
                self._moved(name, "\n")

    def gap(self) -> None:
        """An empty line between what is beside the answer and the answer, on a terminal."""
        if self._are_one and self.is_terminal:
            self._err.write("\n")
            self._err.flush()

    def prompt(self) -> None:
        """Ask the person for a line."""
        self.end_line()
        self._console.print(Text("› ", style="bold green"), end="")
        self._err.flush()

    def work(self, text: str) -> None:
        """Say that something goes on, where nothing else is shown yet; it vanishes with the next output."""
        if not (self.is_terminal and self._console.is_terminal) or any(self._columns.values()) or self._shown:
            return
        if self._spinner is None:
            self._spinner = self._console.status(Text(text, style="dim"), spinner="dots")
            self._spinner.start()
        else:
            self._spinner.update(Text(text, style="dim"))

    def rest(self) -> None:
        """Take the sign of work away."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _moved(self, name: str, text: str) -> None:
        for each in ("out", "err") if self._are_one else (name,):
            self._columns[each] = 0 if text.endswith("\n") else 1


def console(stream: TextIO) -> Console:
    """A console that styles on a terminal only, and not at all under NO_COLOR."""
    plain = bool(os.environ.get("NO_COLOR")) or not stream.isatty()
    return Console(file=stream, color_system=None if plain else "auto", highlight=False, markup=False, emoji=False)


def _same(one: TextIO, other: TextIO) -> bool:
    try:
        first, second = os.fstat(one.fileno()), os.fstat(other.fileno())
    except (OSError, ValueError):
        return one is other
    return (first.st_dev, first.st_ino, first.st_rdev) == (second.st_dev, second.st_ino, second.st_rdev)


def _continues(shown: Sequence[Block], target: Sequence[Block], is_stored: bool) -> bool:
    """Whether what is shown can become `target` by appending, now or (while it is being repeated) later."""
    for index, (here, there) in enumerate(zip(shown, target, strict=False)):
        if (here.kind, here.key) != (there.kind, there.key):
            return False
        is_open = index == len(shown) - 1  # what came after it closed it: nothing can be put there any more
        is_repeating = index == len(target) - 1 and not is_stored
        if not (
            there.text == here.text
            or (is_open and there.text.startswith(here.text))
            or (is_repeating and here.text.startswith(there.text))
        ):
            return False
    return len(target) >= len(shown) or not is_stored


def _is_ahead(shown: Sequence[Block], target: Sequence[Block]) -> bool:
    """Whether all of `target` is on the screen already."""
    if len(target) > len(shown):
        return False
    return all(here.text.startswith(there.text) for here, there in zip(shown, target, strict=False))
