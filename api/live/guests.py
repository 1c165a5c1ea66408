"""Who follows what here, and is shown out once they may no longer: a stream outlives the check at its door."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from api.live.watcher import Watcher
from models.errors import Exhausted
from models.principal import Principal, Scope
from models.store import chats, live
from models.store.database import Database, Row

ANYBODY = "*"
DOORS_TOGETHER = 500
AGAIN_IN = timedelta(seconds=10)
AGAIN = 1.0  # seconds until a check that failed is made again

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Guest:
    """Somebody at the door, as they were when they came; a `watcher` is theirs once they are in."""

    principal: Principal
    digest: bytes
    since: int
    watcher: Watcher | None = None
    chat_id: UUID | None = None  # None: what they follow is the list of their own chats
    family: UUID | None = None


class Guests:
    """Those who follow a chat, or their list. A notice that concerns them has them checked again, and `run` does so."""

    def __init__(self, database: Database, find: Callable[[bytes], Awaitable[Principal | None]], most: int = 0) -> None:
        self._database = database
        self._find = find
        self._most = most
        self._open: dict[UUID, int] = {}
        self._guests: set[Guest] = set()
        self._doubted: set[Guest] = set()
        self._news = asyncio.Event()
        self._changes = 0

    def arrive(self, caller: Principal, digest: bytes) -> Guest:
        """Somebody comes; to be asked before their door is looked at, so that no change of it is missed.

        Raises Exhausted when they follow as much as one may.
        """
        if self._most and self._open.get(caller.user_id, 0) >= self._most:
            raise Exhausted(
                "Too many open streams.", f"Maximum {self._most} streams can be open.", retry_after=AGAIN_IN
            )
        return Guest(caller, digest, self._changes)

    @contextmanager
    def admitted(self, guest: Guest, watcher: Watcher, door: Row | None = None) -> Iterator[None]:
        """They follow the chat of this door, or their list. Their watcher is ended when they may no longer."""
        guest.watcher = watcher
        if door is not None:
            guest.chat_id, guest.family = door["id"], door["family"]
        self._guests.add(guest)
        user_id = guest.principal.user_id
        self._open[user_id] = self._open.get(user_id, 0) + 1
        if guest.since != self._changes:
            self._doubt([guest])
        try:
            yield
        finally:
            self._guests.discard(guest)
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]

    def doubt(self, whom: str) -> None:
        """A user, by id, or a token, or anybody, may have lost what they could do."""
        self._changes += 1
        self._doubt(
            guest for guest in self._guests if whom in (ANYBODY, str(guest.principal.user_id), guest.principal.token_id)
        )

    def doubt_readers(self, root: UUID | None) -> None:
        """Who may see this chat and those below it has changed; None: which ones was not heard."""
        self._changes += 1
        self._doubt(guest for guest in self._guests if root is None or guest.family == root)

    async def run(self) -> None:
        """Check those in doubt, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            doubted, self._doubted = self._doubted & self._guests, set()
            try:
                await self._check(doubted)
            except Exception as failure:  # until they are checked they stay, as those whose notice was lost do
                log.warning("who follows what could not be checked: %s", failure)
                await asyncio.sleep(AGAIN)
                self._doubt(doubted)

    def _doubt(self, guests: Iterable[Guest]) -> None:
        self._doubted.update(guests)
        if self._doubted:
            self._news.set()

    async def _check(self, doubted: Collection[Guest]) -> None:
        known = {digest: await self._find(digest) for digest in {guest.digest for guest in doubted}}
        doors: dict[UUID, Row] = {}
        followed = list({guest.chat_id for guest in doubted if guest.chat_id is not None})
        for place in range(0, len(followed), DOORS_TOGETHER):
            async with self._database.read() as session:
                doors |= await live.doors(session, followed[place : place + DOORS_TOGETHER])
        for guest in doubted:
            if guest.watcher is not None:
                _judge(guest, guest.watcher, known[guest.digest], doors)


def _judge(guest: Guest, watcher: Watcher, now: Principal | None, doors: dict[UUID, Row]) -> None:
    """Show them out, or tell them from now on what they still may know."""
    if now is None or not _may_stay(guest, now, doors):
        watcher.end()
    elif guest.chat_id is not None:
        door = doors[guest.chat_id]
        watcher.inside = now.may_read_budgets(door["owner_id"], door["organization_id"])


def _may_stay(guest: Guest, now: Principal, doors: dict[UUID, Row]) -> bool:
    if guest.chat_id is None:
        # What the list tells is judged by what they were when they came: a change of that begins a new list.
        return now.has_scope(Scope.CHAT_READ) and _standing(now) == _standing(guest.principal)
    door = doors.get(guest.chat_id)
    return door is not None and chats.may_see(now, door)


def _standing(principal: Principal) -> tuple[object, ...]:
    return principal.site_roles, principal.organizations, principal.grants, principal.scopes, principal.shares
