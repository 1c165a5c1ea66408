"""What the values of a provider's event must be to be read; anything else has no place here, and is said to."""

from typing import Any


class Unplaced(Exception):
    """An event says something that this reading has no place for; the words name its shape, never its content."""


def mapping(given: Any, what: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(given, dict):
        raise Unplaced(f"{what} of type {type(given).__name__}")
    return given


def sequence(given: Any, what: str) -> list[Any]:
    """A list."""
    if not isinstance(given, list):
        raise Unplaced(f"{what} of type {type(given).__name__}")
    return given


def text(given: Any, what: str) -> str:
    """A text; none is an empty one."""
    if given is None:
        return ""
    if not isinstance(given, str):
        raise Unplaced(f"{what} of type {type(given).__name__}")
    return given


def count(given: Any, what: str = "count") -> int:
    """A number of tokens; none is 0."""
    if given is None:
        return 0
    if isinstance(given, float) and given.is_integer():
        return int(given)
    if not isinstance(given, int):
        raise Unplaced(f"{what} of type {type(given).__name__}")
    return given
