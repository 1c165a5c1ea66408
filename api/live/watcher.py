"""What waits for one client: bounded, so that a slow one costs nobody else anything."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from models.events import Event


class Ended(Exception):
    """The stream is over; a client that wants more connects again."""


class Watcher:
    """The events that one client has yet to take. One that falls too far behind loses them, and starts anew.

    Who is `inside` is told all of an event, others what is for those outside.

    Whoever takes them sets `on_ready`, which is called whenever there is something to take: nothing waits in between.
    """

    __slots__ = ("_bytes", "_ended", "_lagging", "_limit", "_on_lag", "_waiting", "inside", "on_ready")

    def __init__(self, limit: int, on_lag: Callable[["Watcher"], None], *, inside: bool = False) -> None:
        self.inside = inside
        self.on_ready: Callable[[], None] | None = None
        self._limit = limit
        self._on_lag = on_lag
        self._waiting: list[Event] | None = None  # a list each would be a third of what an idle watcher holds
        self._bytes = 0
        self._lagging = False
        self._ended = False

    def put(self, events: Sequence[Event]) -> bool:
        """Leave events for the client; False when it has fallen too far behind to get them."""
        # What came before decides: one large batch does not make a watcher slow.
        if self._bytes > self._limit:
            self._waiting = None
            self._bytes = 0
            self._lagging = True
        else:
            if self._waiting is None:
                self._waiting = list(events)
            else:
                self._waiting += events
            self._bytes += sum(len(each.data) for each in events)
        self._ready()
        return not self._lagging

    def begin(self, events: Sequence[Event]) -> None:
        """Leave a snapshot, however large: it is made only when the client is there to take it."""
        self._waiting = list(events)
        self._bytes = 0
        self._ready()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._ready()

    def take(self) -> list[Event]:
        """All that waits, which may be nothing; raises Ended."""
        if self._ended:
            raise Ended
        if self._lagging:
            self._lagging = False
            self._on_lag(self)
        events, self._waiting, self._bytes = self._waiting or [], None, 0
        if self.inside:
            return events
        return [each._replace(data=each.outside) if each.outside else each for each in events]

    def _ready(self) -> None:
        if self.on_ready is not None:
            self.on_ready()


class Watchers:
    """Those of this process that follow something else than chats."""

    def __init__(self) -> None:
        self._there: set[Watcher] = set()
        self._stopped = False

    @contextmanager
    def having(self, watcher: Watcher) -> Iterator[None]:
        """It is one of them while the block lasts."""
        self._there.add(watcher)
        if self._stopped:
            watcher.end()
        try:
            yield
        finally:
            self._there.discard(watcher)

    def stop(self) -> None:
        """End all of them, and those that come from now on."""
        self._stopped = True
        for watcher in self._there:
            watcher.end()
