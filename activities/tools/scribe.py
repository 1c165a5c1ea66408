"""Writes what came of a batch's claims into the ledger at once; what ends during one write shares the next."""

import asyncio
from uuid import UUID

from activities.patience import patiently
from models.store import ledger
from models.store.database import Database
from models.store.ledger import Ending


class Scribe:
    """The ledger's pen of one batch."""

    def __init__(self, database: Database, chat_id: UUID, message_id: int) -> None:
        self._database = database
        self._chat_id = chat_id
        self._message_id = message_id
        self._waiting: list[Ending] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, ending: Ending) -> None:
        """Return when it is durable. It will be so even if the caller is stopped meanwhile: what is known is kept."""
        self._waiting.append(ending)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(self._writing)

    async def _write(self) -> None:
        while self._waiting:
            await self._write_batch(list(self._waiting))

    async def _write_batch(self, batch: list[Ending]) -> None:
        chat_id, message_id = self._chat_id, self._message_id
        await patiently(self._database, lambda session: ledger.finish(session, chat_id, message_id, batch))
        del self._waiting[: len(batch)]
