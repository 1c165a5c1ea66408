"""Laws of many watchers: what arrives together asks together, what is idle costs nothing, what stops is told so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from api.live.hub import DOORS_TOGETHER, MARKS_TOGETHER, Hub
from api.live.teller import Pulse, Teller
from api.live.together import Together
from api.live.watcher import Ended, Watcher
from models.errors import NotFound
from models.events import Event
from models.principal import Principal, SiteRole
from models.settings import Settings
from models.store.database import Database, fetch
from tests.api.live_drive import Drive, publishing
from tests.api.live_hubs import hub_of, take
from tests.api.trips import trips
from tests.seeds import World

SOMETHING = Event("x", b"{}")


@pytest.fixture
async def drive(database: Database, settings: Settings, seed: World) -> AsyncIterator[Drive]:
    async with publishing(database, settings) as publisher:
        yield await Drive(database, publisher, seed.owner_id, seed.organization_id, seed.model_config_id).create()


@pytest.fixture
def owner(seed: World) -> Principal:
    return Principal(seed.owner_id, "ada", frozenset({SiteRole.OWNER}))


class Oracle:
    """Answers numbers with their doubles, when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = asyncio.Event()

    async def answer(self, questions: list[int]) -> list[int]:
        self.asked.append(questions)
        await self.open.wait()
        if 0 in questions:
            raise ValueError("nothing")
        return [2 * each for each in questions]

    async def heard(self, batches: int) -> None:
        async with asyncio.timeout(60):
            while len(self.asked) < batches:
                await asyncio.sleep(0)


async def test_what_is_asked_while_others_are_answered_is_asked_together() -> None:
    oracle = Oracle()
    together = Together(oracle.answer, at_once=1, most=3)
    first = asyncio.create_task(together.ask(1))
    await oracle.heard(1)
    later = [asyncio.create_task(together.ask(each)) for each in (2, 3, 4, 5)]
    await asyncio.sleep(0)
    oracle.open.set()
    assert await asyncio.gather(first, *later) == [2, 4, 6, 8, 10]
    assert oracle.asked == [[1], [2, 3, 4], [5]]


async def test_a_failure_is_told_to_those_who_asked_together_and_to_nobody_after_them() -> None:
    oracle = Oracle()
    together = Together(oracle.answer, at_once=1, most=2)
    asked = [asyncio.create_task(together.ask(each)) for each in (0, 1, 2)]
    oracle.open.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [ValueError, ValueError, int]


async def test_who_left_is_not_asked_for() -> None:
    oracle = Oracle()
    together = Together(oracle.answer, at_once=1, most=2)
    first, left, last = (asyncio.create_task(together.ask(each)) for each in (1, 2, 3))
    await oracle.heard(1)
    left.cancel()
    await asyncio.sleep(0)
    oracle.open.set()
    assert [await first, await last] == [2, 6]
    assert 2 not in [each for batch in oracle.asked[1:] for each in batch]


async def _opened(database: Database) -> None:
    """A connection of the pool is there; asked for at once, each call has one of its own."""
    async with database.read() as session:
        await fetch(session, "SELECT pg_sleep(0.1)")


async def test_a_storm_of_arrivals_is_few_statements(settings: Settings, drive: Drive, owner: Principal) -> None:
    arrivals = 300
    database = Database(settings.database_url, pool_size=2)
    hub = Hub(database, settings)
    await asyncio.gather(*(_opened(database) for _ in range(2)))
    with trips(database) as asked:
        rows = await asyncio.gather(*(hub.door(owner, drive.chat_id) for _ in range(arrivals)))
        await asyncio.gather(*(hub.mark_read(drive.chat_id) for _ in range(arrivals)))
    assert {row["owner_id"] for row in rows} == {owner.user_id}
    # The first who comes is asked for alone.
    assert asked.count <= arrivals / DOORS_TOGETHER + arrivals / MARKS_TOGETHER + 4
    await database.close()


async def test_a_door_is_shut_to_who_may_not_see_the_chat_and_where_there_is_none(
    settings: Settings, drive: Drive, owner: Principal
) -> None:
    async with hub_of(settings) as hub:
        for caller, chat_id in ((Principal(uuid4(), "mallory"), drive.chat_id), (owner, uuid4())):
            with pytest.raises(NotFound):
                await hub.door(caller, chat_id)
        assert (await hub.door(owner, drive.chat_id))["id"] == drive.chat_id


async def test_who_watches_what_is_quiet_holds_no_task(settings: Settings, drive: Drive) -> None:
    async with hub_of(settings) as hub, AsyncExitStack() as stack:
        before = len(asyncio.all_tasks())
        tellers: list[asyncio.Task[Any]] = []
        told: list[Event] = []
        gone = asyncio.Event()

        async def send(events: list[Event]) -> None:
            told.extend(events)

        for _ in range(20):
            watcher = stack.enter_context(hub.watch(drive.chat_id))
            tellers.append(asyncio.create_task(Teller(watcher, send).until(gone.wait())))
        async with asyncio.timeout(60):
            while len(told) < 20 or len(asyncio.all_tasks()) > before + len(tellers):
                await asyncio.sleep(0.01)
        gone.set()
        assert await asyncio.gather(*tellers) == [True] * 20


async def test_a_client_is_told_all_in_order_until_there_is_no_more() -> None:
    told: list[Event] = []

    async def send(events: list[Event]) -> None:
        await asyncio.sleep(0)  # what comes meanwhile is told with the next
        told.extend(events)

    watcher = Watcher(1000, Watcher.end)
    telling = asyncio.create_task(Teller(watcher, send).until(asyncio.Event().wait()))
    expected = [Event("x", b"%d" % number) for number in range(10)]
    for each in expected:
        watcher.put([each])
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        while told != expected:
            await asyncio.sleep(0)
    watcher.end()
    with pytest.raises(Ended):
        await telling


async def test_what_goes_wrong_while_telling_ends_the_stream() -> None:
    async def send(_: list[Event]) -> None:
        raise BrokenPipeError

    watcher = Watcher(1000, Watcher.end)
    telling = asyncio.create_task(Teller(watcher, send).until(asyncio.Event().wait()))
    await asyncio.sleep(0)
    watcher.put([SOMETHING])
    with pytest.raises(BrokenPipeError):
        await telling
    watcher.put([SOMETHING])  # nobody minds


async def test_all_who_joined_the_pulse_are_pinged_and_who_left_is_not() -> None:
    pinged: list[str] = []
    pulse, gone = Pulse(0.01), asyncio.Event()
    tellings, tellers = [], []
    for name in ("one", "two", "left"):

        async def ping(name: str = name) -> None:
            pinged.append(name)

        async def send(_: list[Event]) -> None:
            raise AssertionError("nothing happened")

        teller = Teller(Watcher(1000, Watcher.end), send, ping)
        tellers.append(teller)
        pulse.join(teller)
        tellings.append(asyncio.create_task(teller.until(gone.wait())))
    pulse.leave(tellers[2])
    async with asyncio.timeout(60):
        while min(pinged.count("one"), pinged.count("two")) < 3:
            await asyncio.sleep(0.01)
    assert "left" not in pinged
    for teller in tellers[:2]:
        pulse.leave(teller)
    gone.set()
    await asyncio.gather(*tellings)


async def test_who_comes_while_the_process_stops_is_ended_at_once(
    settings: Settings, drive: Drive, owner: Principal
) -> None:
    async with hub_of(settings) as hub:
        with hub.watch(drive.chat_id) as early:
            await take(early)
            hub.stop()
            with hub.watch(drive.chat_id) as late, hub.sidebar(owner) as sidebar:
                for watcher in (early, late, sidebar):
                    with pytest.raises(Ended):
                        watcher.take()
