"""What waits for one client: bounded, so that a slow one costs nobody else anything."""

import asyncio
from collections.abc import Callable, Sequence

from models.events import Event


class Ended(Exception):
    """The stream is over; a client that wants more connects again."""


class Watcher:
    """The events that one client has yet to take. One that falls too far behind loses them, and starts anew."""

    def __init__(self, limit: int, on_lag: Callable[["Watcher"], None]) -> None:
        self._limit = limit
        self._on_lag = on_lag
        self._waiting: list[Event] = []
        self._bytes = 0
        self._ready = asyncio.Event()
        self._lagging = False
        self._ended = False

    def put(self, events: Sequence[Event]) -> bool:
        """Leave events for the client; False when it has fallen too far behind to get them."""
        # What came before decides: one large batch does not make a watcher slow.
        if self._bytes > self._limit:
            self._waiting.clear()
            self._bytes = 0
            self._lagging = True
        else:
            self._waiting += events
            self._bytes += sum(len(each.data) for each in events)
        self._ready.set()
        return not self._lagging

    def begin(self, events: Sequence[Event]) -> None:
        """Leave a snapshot, however large: it is made only when the client is there to take it."""
        self._waiting = list(events)
        self._bytes = 0
        self._ready.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._ready.set()

    async def take(self) -> list[Event]:
        """All that waits, as soon as something does; raises Ended."""
        while True:
            if self._ended:
                raise Ended
            if self._lagging:
                self._lagging = False
                self._on_lag(self)
                continue
            if self._waiting:
                events, self._waiting, self._bytes = self._waiting, [], 0
                return events
            self._ready.clear()
            await self._ready.wait()
