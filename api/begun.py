"""Whether a worker began at a message by itself: then the run is started from there, and the API need not."""

import asyncio
from collections import OrderedDict
from uuid import UUID

from models.store.notices import ChatNotice, WorkerNotice
from models.store.peers import Peers

PATIENCE = 0.3  # seconds that a worker with room has to begin
REMEMBERED = 4096  # chats: their last notices may come before anybody asks


class Begun:
    """What the notices said of workers, and of the attempts that began lately."""

    def __init__(self) -> None:
        self._peers = Peers()
        self._heard: OrderedDict[UUID, tuple[int, bool]] = OrderedDict()
        self._waiting: dict[UUID, asyncio.Event] = {}

    def hear_worker(self, payload: str) -> None:
        """A worker is there, or gone."""
        self._peers.hear(WorkerNotice.decode(payload))

    def hear_chat(self, notice: ChatNotice) -> None:
        """A chat is at this version now."""
        news = (notice.history_version, notice.generation_attempt > 0)
        self._heard[notice.chat_id] = max(news, self._heard.get(notice.chat_id, news))  # they may overtake each other
        self._heard.move_to_end(notice.chat_id)
        if len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)
        if waiting := self._waiting.get(notice.chat_id):
            waiting.set()

    async def at(self, chat_id: UUID, history_version: int) -> bool:
        """Has a worker begun at this history, or does one within its time? At once False where none has room."""
        if self._has_begun(chat_id, history_version):
            return True
        if not self._peers.with_room():
            return False
        waiting = self._waiting.setdefault(chat_id, asyncio.Event())
        try:
            async with asyncio.timeout(PATIENCE):
                while not self._has_begun(chat_id, history_version):
                    waiting.clear()
                    await waiting.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(chat_id, None)
        return True

    def _has_begun(self, chat_id: UUID, history_version: int) -> bool:
        version, attempted = self._heard.get(chat_id, (0, False))
        return version > history_version or (version == history_version and attempted)
