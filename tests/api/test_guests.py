"""Laws of showing people out: whoever is in doubt is looked at again, also when the look failed or they just came."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import uuid4

import pytest

from api.live.guests import Guests
from api.live.watcher import Ended, Watcher
from models.principal import Principal
from models.store.database import Database

ME = Principal(uuid4(), "me", token_id="mine")
PATIENCE = 60  # seconds

Answer = Principal | None | Exception


class Front:
    """A door whose keeper knows in advance what people are each time they are looked at."""

    def __init__(self, database: Database, answers: Iterable[Answer]) -> None:
        self.guests = Guests(database, self._find)
        self.looks = 0
        self._answers: Iterator[Answer] = iter(answers)
        self._looked = asyncio.Condition()

    async def _find(self, digest: bytes) -> Principal | None:
        answer = next(self._answers)
        async with self._looked:
            self.looks += 1
            self._looked.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def looked(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE), self._looked:
            await self._looked.wait_for(lambda: self.looks >= times)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Front"]:
        task = asyncio.create_task(self.guests.run())
        yield self
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def watcher() -> tuple[Watcher, asyncio.Event]:
    made, ready = Watcher(1000, lambda _: None), asyncio.Event()
    made.on_ready = ready.set
    return made, ready


def over(one: Watcher) -> bool:
    try:
        one.take()
    except Ended:
        return True
    return False


async def test_who_was_at_the_door_when_something_changed_is_looked_at_when_they_are_in(database: Database) -> None:
    async with Front(database, [None]).open() as front:
        mine, ready = watcher()
        guest = front.guests.arrive(ME, b"")
        front.guests.doubt(str(ME.user_id))
        with front.guests.admitted(guest, mine):
            async with asyncio.timeout(PATIENCE):
                await ready.wait()
            assert over(mine)


async def test_a_look_that_failed_is_taken_again(database: Database) -> None:
    async with Front(database, [OSError("away"), None]).open() as front:
        mine, ready = watcher()
        with front.guests.admitted(front.guests.arrive(ME, b""), mine):
            front.guests.doubt("*")
            async with asyncio.timeout(PATIENCE):
                await ready.wait()
            assert over(mine)
            assert front.looks == 2


CHANGES: list[tuple[str, Callable[[Principal], Principal], bool]] = [
    ("nothing", lambda me: me, False),
    ("another group", lambda me: replace(me, groups=frozenset({uuid4()})), False),
    ("a limit on what they spend", lambda me: replace(me, spends_freely=False), False),
    ("a role of the deployment", lambda me: replace(me, site_roles=frozenset({"owner"})), True),
    ("a role in an organization", lambda me: replace(me, organizations={uuid4(): frozenset({"agents-access"})}), True),
    ("what the token is for", lambda me: replace(me, scopes=frozenset({"chat:update"})), True),
]


@pytest.mark.parametrize(("change", "ends"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES])
async def test_a_list_begins_anew_when_it_may_hold_other_chats(
    database: Database, change: Callable[[Principal], Principal], ends: bool
) -> None:
    async with Front(database, [change(ME), None]).open() as front:
        mine, _ = watcher()
        with front.guests.admitted(front.guests.arrive(ME, b""), mine):
            front.guests.doubt(ME.token_id)
            await front.looked(1)
            # The second look is for somebody else, and comes after all that the first one led to.
            other, ready = watcher()
            with front.guests.admitted(front.guests.arrive(replace(ME, token_id="other"), b""), other):
                front.guests.doubt("other")
                async with asyncio.timeout(PATIENCE):
                    await ready.wait()
            assert over(mine) == ends


async def test_nobody_else_is_looked_at_and_who_has_left_is_not_either(database: Database) -> None:
    async with Front(database, [None]).open() as front:
        mine, ready = watcher()
        with front.guests.admitted(front.guests.arrive(ME, b"gone"), watcher()[0]):
            front.guests.doubt(str(uuid4()))
            front.guests.doubt("another token")
            front.guests.doubt_readers(uuid4())
        front.guests.doubt("*")
        with front.guests.admitted(front.guests.arrive(ME, b""), mine):
            front.guests.doubt(ME.token_id)
            async with asyncio.timeout(PATIENCE):
                await ready.wait()
            assert front.looks == 1
