"""What the stack says to people: plain lines, coloured only on a terminal."""

import os
import sys


class Terminal:
    """Writes lines to stdout; styles vanish when it is not a terminal or NO_COLOR is set."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, line: str = "") -> None:
        print(line, flush=True)

    def warn(self, line: str) -> None:
        """Something went wrong, and the stack deals with it."""
        self.say(self._styled(line, "33"))

    def fail(self, line: str) -> None:
        """Something went wrong, and we stop."""
        print(line, file=sys.stderr, flush=True)

    def bold(self, text: str) -> str:
        return self._styled(text, "1")

    def dim(self, text: str) -> str:
        return self._styled(text, "2")

    def mark(self, good: bool) -> str:
        """A tick or a cross."""
        return self._styled("✓", "32") if good else self._styled("✗", "31")

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and text else text
