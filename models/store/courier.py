"""Sends events for webhooks and browsers on their way once they are committed; the sweep does it for what is lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from models.steps import DeliveryRequest
from models.store import push, webhooks
from models.store.database import Database

log = logging.getLogger(__name__)

TOGETHER = 20  # begun at once
MOST = 500  # begun in one go
PAUSE = 5.0  # seconds that nothing is begun after something was not taken
DRAIN = 2.0  # seconds that may pass when the process ends


class Courier:
    """Claims what is due and has it begun, beside the process's other work: whoever rings does not wait.

    Many rings are one claim. An event whose claimer dies is due again after a while (`webhooks.GRACE`).
    """

    def __init__(
        self, database: Database, begin: Callable[[DeliveryRequest], Awaitable[bool]], *, pause: float = PAUSE
    ) -> None:
        self._database = database
        self._begin = begin
        self._pause = pause
        self._rung = False
        self._is_closed = False
        self._round: asyncio.Task[None] | None = None
        self._rests_until = 0.0

    def ring(self) -> None:
        """Events were committed. Where nothing was taken a moment ago they are left to the sweep."""
        if self._is_closed or asyncio.get_running_loop().time() < self._rests_until:
            return
        self._rung = True
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._go(), name="courier")

    async def begin_due(self) -> int:
        """Have begun what is due; how many were. What is not taken is due at once."""
        begun = 0
        while begun < MOST:
            async with self._database.begin() as session:
                due = [*await webhooks.claim_due(session, TOGETHER), *await push.claim_due(session, TOGETHER)]
            taken = await asyncio.gather(*map(self._begin, due))
            begun += sum(taken)
            left = [request for request, is_taken in zip(due, taken, strict=True) if not is_taken]
            if left:
                self._rests_until = asyncio.get_running_loop().time() + self._pause
                async with self._database.begin() as session:
                    await webhooks.unclaim(session, [each for each in left if each.kind != push.PUSH])
                    await push.unclaim(session, [each for each in left if each.kind == push.PUSH])
            if left or len(due) < TOGETHER:
                break
        return begun

    async def close(self) -> None:
        """Finish what is going on, with patience, then without; what is committed later is the sweep's."""
        self._is_closed = True
        if self._round is None:
            return
        _, late = await asyncio.wait({self._round}, timeout=DRAIN)
        for task in late:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _go(self) -> None:
        while self._rung:
            self._rung = False
            try:
                await self.begin_due()
            except Exception:  # the sweep is behind it
                log.exception("events were not sent on their way")
