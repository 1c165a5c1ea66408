"""What follows from a turn and must not hold it up: its chat gets a title as it begins, and a label once it rests."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID

from activities import small_models
from models.rules import summaries
from models.settings import Settings
from models.steps import Naming, TitleRequest
from models.store import titles
from models.store.database import Database
from workflows.client import Temporal

log = logging.getLogger(__name__)

QUIET = 2.0  # seconds that a chat rests before its turn is labelled: a talk that goes on is not labelled at each turn


class Aside:
    """Starts detached searches for words. One that is lost with its process leaves a plain title, or a plain label."""

    def __init__(self, settings: Settings, database: Database, temporal: Temporal) -> None:
        self._settings = settings
        self._database = database
        self._temporal = temporal
        self._errands: set[asyncio.Task[None]] = set()
        self._resting: dict[UUID, asyncio.TimerHandle] = {}

    def untitled(self, chat_id: UUID, owner_id: UUID) -> None:
        """The chat's first turn is being answered and nobody named the chat: have a title sought."""
        if self._settings.automatic_titles:
            self._start(self._seek(TitleRequest(chat_id, Naming.AUTOMATIC), owner_id))

    def rests(self, chat_id: UUID) -> None:
        """The chat's turn has ended: if nothing follows for a while, have a label sought."""
        if self._settings.turn_summaries == "plain":
            return
        if (earlier := self._resting.get(chat_id)) is not None:
            earlier.cancel()
        self._resting[chat_id] = asyncio.get_running_loop().call_later(QUIET, self._label, chat_id)

    async def close(self) -> None:
        """Start nothing more."""
        for waiting in self._resting.values():
            waiting.cancel()
        self._resting.clear()
        for errand in tuple(self._errands):
            errand.cancel()
            with suppress(asyncio.CancelledError):
                await errand

    def _label(self, chat_id: UUID) -> None:
        self._resting.pop(chat_id, None)
        self._start(self._seek_label(chat_id))

    async def _seek_label(self, chat_id: UUID) -> None:
        async with self._database.read() as session:
            chat = await titles.resting(session, chat_id, summaries.FINISHED)
        if chat is None:
            return
        choice = await small_models.for_labels(self._settings, self._database, chat["last_model_config_id"])
        if choice.models:
            await self._seek(TitleRequest(chat_id, Naming.LABEL), chat["owner_id"])

    async def _seek(self, request: TitleRequest, owner_id: UUID) -> None:
        await self._temporal.start_title(request, owner_id)

    def _start(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._errands.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.warning("words for a chat were not sought: %s", failure)
