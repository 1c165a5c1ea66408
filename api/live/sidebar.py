"""The events of a person's chats, for the list at their screen's side: no snapshot, no replay (wire-api.md 4.2)."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import orjson

from api.live.watcher import Watcher
from models.events import Event, tool_calls
from models.parts import wire
from models.principal import Principal
from models.store import chats, diffs, live
from models.store.database import Database
from models.store.notices import BudgetNotice, ChatNotice

BACKLOG = 10_000  # notices that wait to be told
DIFF = "diff_status_change"

log = logging.getLogger(__name__)


class Sidebars:
    """Who watches whose chats; each notice's chat is read once for all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[UUID, dict[Watcher, Principal]] = defaultdict(dict)
        self._notices: asyncio.Queue[ChatNotice | BudgetNotice] = asyncio.Queue(BACKLOG)

    @contextmanager
    def watch(self, owner: Principal, buffer: int) -> Iterator[Watcher]:
        """A watcher of this person's chats. One that falls behind is ended: it lists again, and connects."""
        watcher = Watcher(buffer, Watcher.end)
        self._watchers[owner.user_id][watcher] = owner
        try:
            yield watcher
        finally:
            del self._watchers[owner.user_id][watcher]
            if not self._watchers[owner.user_id]:
                del self._watchers[owner.user_id]

    def note(self, notice: ChatNotice | BudgetNotice) -> None:
        """Something happened: tell it if anybody watches."""
        if notice.owner_id not in self._watchers:
            return
        try:
            self._notices.put_nowait(notice)
        except asyncio.QueueFull:
            self.lost()

    def lost(self) -> None:
        """Events were lost: end all, so that they list again."""
        self.end()

    def end(self) -> None:
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    async def run(self) -> None:
        """Tell notices in the order in which they came, for ever."""
        while True:
            notice = await self._notices.get()
            try:
                await self._tell(notice)
            except Exception as failure:
                log.warning("chat %s could not be read for its sidebar: %s", notice.chat_id, failure)
                for watcher in self._watchers.get(notice.owner_id, ()):
                    watcher.end()

    async def _tell(self, notice: ChatNotice | BudgetNotice) -> None:
        watchers = self._watchers.get(notice.owner_id)
        if not watchers:
            return
        async with self._database.read() as session:
            found = await live.light(session, notice.chat_id)
            diff = await diffs.get(session, notice.chat_id) if DIFF in notice.watch else None
        if found is None:
            return
        chat, calls = found
        more = {} if diff is None else {"diff_status": diffs.view(notice.chat_id, diff)}
        somebody = next(iter(watchers.values()))  # whether anything is shared is the same for all
        shown = orjson.Fragment(orjson.dumps(chats.as_seen(somebody, chats.view(chat, **more))))
        for kind in notice.watch:
            body: dict[str, object] = {"kind": kind, "chat": shown}
            if kind == "action_required":
                if not calls:
                    continue  # they have been answered meanwhile
                body["tool_calls"] = tool_calls(wire(calls))
            if isinstance(notice, BudgetNotice):
                body["budget"] = notice.budget
            told = Event(kind, orjson.dumps(body))
            for watcher, owner in watchers.items():
                if chats.may_see(owner, chat):
                    watcher.put([told])
