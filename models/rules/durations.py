"""Durations as models write them: `30s`, `2m`, `1h30m`, `500ms`."""

import re
from datetime import timedelta

_PIECE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|us|µs|ns|h|m|s)")
_WHOLE = re.compile(rf"(?:{_PIECE.pattern})+")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOST_SECONDS = 10 * 365 * 86_400.0


def parsed(text: str) -> timedelta:
    """The duration that the text says; raises ValueError. A bare `0` is one too."""
    text = text.strip()
    if text == "0":
        return timedelta()
    if not _WHOLE.fullmatch(text):
        raise ValueError(f'"{text}" is not a duration such as "30s", "2m" or "1h30m"')
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PIECE.findall(text))
    return timedelta(seconds=min(seconds, _MOST_SECONDS))
