"""What the running code is about, for the log: each line of a step names its chat and its turn."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default=_NOTHING)


@contextmanager
def about(**subjects: object) -> Iterator[None]:
    """Lines written in the block, and by tasks begun in it, carry these fields."""
    token = _ABOUT.set({**_ABOUT.get(), **subjects})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def subjects() -> Mapping[str, object]:
    """The fields of the line that is being written here and now."""
    return _ABOUT.get()
