"""What a client's programs ask of the world: they decide, a driver acts, so blocking and awaiting share all decisions.

A program is a generator: it yields steps, is sent their outcomes, and returns its result. A request that gets no answer
is thrown into it as `Lost`. What it yields as `Emit` is what a loop over it sees.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Request(NamedTuple):
    """One HTTP request; `json` or `content` is its body, `slow` the seconds that its answer may well take."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    slow: float = 0.0


class Answer(NamedTuple):
    """What came back; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Lost(Exception):
    """No answer, or not the whole of it."""

    def __init__(self, reason: str, *, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_timeout = is_timeout


class Send(NamedTuple):
    """Send it; the outcome is an Answer."""

    request: Request
    timeout: float


class Open(NamedTuple):
    """Send it, and keep what comes back open: the outcome is an Answer without content if it is 200."""

    request: Request
    timeout: float
    silence: float


class Read:
    """The next bytes of what is open; none at its end."""


class Shut:
    """Close what is open."""


class Sleep(NamedTuple):
    """Let some seconds pass."""

    seconds: float


class Run(NamedTuple):
    """Call these, side by side where that can be; the outcomes are what they return, or the exceptions they raise."""

    calls: Sequence[Callable[[], Any]]


class Emit(NamedTuple):
    """Show this to whoever loops over the program."""

    value: Any


Step = Send | Open | Read | Shut | Sleep | Run | Emit
Program = Generator[Step, Any, T]
