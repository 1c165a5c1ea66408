"""Between a watcher and its client: something runs only while there is something to tell, so an idle client costs none.

One task follows each client, and it waits for the client alone. What there is to tell wakes a second one that lives as
long as it takes to tell it; keep-alive is one timer for all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from api.live.watcher import Watcher
from models.events import Event

T = TypeVar("T")
TICKS = 100  # in which a pulse's interval is told; who is due within one is pinged together


class Teller:
    """Sends one client what its watcher gets."""

    __slots__ = ("_due", "_failure", "_over", "_ping", "_send", "_task", "_watcher")

    def __init__(
        self,
        watcher: Watcher,
        send: Callable[[list[Event]], Awaitable[None]],
        ping: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._watcher = watcher
        self._send = send
        self._ping = ping
        self._due = False
        self._over = asyncio.timeout(None)
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def until(self, done: Awaitable[T]) -> T:
        """Tell until the client is done, and return its word; raises Ended, or what telling raised."""
        try:
            async with self._over:
                self._watcher.on_ready = self._wake
                self._wake()
                return await done
        except TimeoutError:
            if self._failure is None:
                raise
            raise self._failure from None
        finally:
            self._watcher.on_ready = None
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    def ping(self) -> None:
        """Let the client hear that we are there."""
        self._due = True
        self._wake()

    def _wake(self) -> None:
        if self._task is None and self._failure is None:
            self._task = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        try:
            while True:
                if events := self._watcher.take():
                    await self._send(events)
                elif self._due and self._ping is not None:
                    self._due = False
                    await self._ping()
                else:
                    break
        except Exception as failure:  # raised again where the client is waited for
            self._failure = failure
            self._over.reschedule(0)  # at once
        finally:
            self._task = None


class Pulse:
    """One timer for all clients that must hear from us every so often."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due: dict[Teller, float] = {}  # in the order in which they are due
        self._timer: asyncio.TimerHandle | None = None

    def join(self, teller: Teller) -> None:
        """Ping it from now on, once an interval."""
        loop = asyncio.get_running_loop()
        self._due[teller] = loop.time() + self._interval
        if self._timer is None:
            self._timer = loop.call_later(self._interval, self._beat)

    def leave(self, teller: Teller) -> None:
        """Ping it no more."""
        self._due.pop(teller, None)

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        now, tick = loop.time(), self._interval / TICKS
        while self._due:
            teller, due = next(iter(self._due.items()))
            if due > now + tick:
                self._timer = loop.call_at(due, self._beat)
                return
            del self._due[teller]
            self._due[teller] = now + self._interval
            teller.ping()
        self._timer = None
