"""Wakes chats that wait for a slot once one is free: a turn's end is heard by every worker, and one of them looks."""

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from activities.ahead import HeadStarts
from activities.patience import AWAY
from models.rules.capacity import Limits
from models.rules.states import Status
from models.settings import Settings
from models.store import capacity
from models.store.database import Database
from models.store.notices import ChatNotice
from workflows.client import Temporal

log = logging.getLogger(__name__)

_HOLD_OR_WAIT = (f'"{Status.RUNNING}"', f'"{Status.PENDING}"')


class Capacity:
    """The limits of running turns, and whoever looks for the next ones. What it misses the sweep finds."""

    def __init__(self, settings: Settings, database: Database, temporal: Temporal, ahead: HeadStarts) -> None:
        self.limits = Limits(settings.turns_per_user, settings.turns_per_organization)
        self._database = database
        self._temporal = temporal
        self._ahead = ahead
        self._beside: set[UUID] = set()
        self._looking: asyncio.Task[None] | None = None

    def hear_chat(self, payload: str) -> None:
        """A chat changed. If it may have left a slot, and this worker is the one to care: look who is next."""
        if not self.limits or any(status in payload for status in _HOLD_OR_WAIT):
            return
        notice = ChatNotice.decode(payload)
        if self._ahead.cares_for(notice.chat_id):
            self.look(notice.chat_id)

    def look(self, chat_id: UUID) -> None:
        """Wake the chats of this one's organization that may begin now. Looks that come together are one."""
        self._beside.add(chat_id)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="capacity")

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        while self._beside:
            beside, self._beside = self._beside, set()
            try:
                async with self._database.read() as session:
                    due = await capacity.due(session, self.limits, beside=beside)
            except AWAY as away:
                log.warning("nobody was called to a free slot; the sweep will do it: %s", away)
                continue
            # Without a version: the chat is as its run has seen it, and a run that is just ending must look once more.
            await asyncio.gather(*(self._temporal.nudge(each["id"], each["owner_id"], 0) for each in due))
