"""The laws of sending events on their way: begun when committed, by one of many, and left due if not taken."""

import asyncio
from uuid import UUID

import pytest

from models.settings import Settings
from models.steps import DeliveryRequest
from models.store import courier as couriers
from models.store import metadata, moves, webhooks
from models.store.courier import Courier
from models.store.database import Database, fetch
from models.store.moves import StepRow
from models.store.webhooks import Holder
from tests.api.trips import trips
from tests.models.store.chats import born, opened, send
from tests.seeds import World

SAID = [{"type": "text", "text": "said"}]


class Temporal:
    """The far end: keeps what it is asked to begin, and takes it or not."""

    def __init__(self) -> None:
        self.asked: list[DeliveryRequest] = []
        self.is_there = True

    async def begin(self, request: DeliveryRequest) -> bool:
        self.asked.append(request)
        await asyncio.sleep(0)
        return self.is_there


async def endpoint(database: Database, world: World, *events: str) -> UUID:
    async with database.begin() as session:
        row = await webhooks.create(
            session,
            Holder(user_id=world.owner_id),
            url="https://example.com/hook",
            description="",
            events=list(events),
            secret="x",
            by=world.owner_id,
        )
    endpoint_id: UUID = row["id"]
    return endpoint_id


async def log(database: Database, endpoint_id: UUID) -> list[str]:
    async with database.read() as session:
        rows = await webhooks.deliveries(session, endpoint_id, before=None, limit=200)
    return [row["event"] for row in reversed(rows)]


async def due(database: Database) -> int:
    async with database.read() as session:
        query = "SELECT count(*) AS n FROM webhook_deliveries WHERE status = 'pending' AND due_at <= now()"
        [row] = await fetch(session, query)
    found: int = row["n"]
    return found


@pytest.fixture
def rung(database: Database) -> list[int]:
    """How often the bell rang."""
    heard: list[int] = []
    database.bell = lambda: heard.append(1)
    return heard


async def test_every_way_to_write_an_event_rings_where_somebody_hears_of_it(
    database: Database, seed: World, rung: list[int]
) -> None:
    quiet = await born(database, seed)
    await send(database, seed, quiet, "again")
    assert rung == []
    await endpoint(database, seed, "chat.created", "chat.title_change", "chat.turn_finished")
    chat_id = await born(database, seed)
    assert len(rung) == 1
    fence = (await opened(database, chat_id)).fence
    assert len(rung) == 1, "nobody wants to hear of a change of status"
    async with database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", SAID)])
    assert len(rung) == 2
    async with database.begin() as session:
        await metadata.rename(session, await moves.lock(session, chat_id), "Named")
    assert len(rung) == 3


async def test_to_be_heard_costs_a_turn_no_round_trip(database: Database, seed: World) -> None:
    async def turn() -> int:
        with trips(database) as counted:
            chat_id = await born(database, seed)
            fence = (await opened(database, chat_id)).fence
            async with database.begin() as session:
                await moves.commit_step(session, fence, [StepRow("assistant", SAID)])
        return counted.count

    unheard = await turn()
    endpoint_id = await endpoint(database, seed)
    assert await turn() == unheard
    assert "chat.turn_finished" in await log(database, endpoint_id)


async def test_what_is_committed_is_begun_without_a_sweep(database: Database, seed: World) -> None:
    temporal = Temporal()
    courier = Courier(database, temporal.begin)
    database.bell = courier.ring
    endpoint_id = await endpoint(database, seed)
    for _ in range(3):
        await born(database, seed)
    while len(temporal.asked) < 3:
        await asyncio.sleep(0)
    await courier.close()
    assert {each.endpoint_id for each in temporal.asked} == {endpoint_id}
    assert await due(database) == 0
    await born(database, seed)
    assert (len(temporal.asked), await due(database)) == (3, 1), "after its end it leaves all to the sweep"


async def test_several_processes_begin_each_event_once(database: Database, seed: World, settings: Settings) -> None:
    endpoint_id = await endpoint(database, seed)
    databases = [Database(settings.database_url, 4) for _ in range(3)]
    temporal = Temporal()
    opened_couriers = [Courier(each, temporal.begin) for each in databases]
    for each, courier in zip(databases, opened_couriers, strict=True):
        each.bell = courier.ring
    await asyncio.gather(*(born(databases[number % 3], seed) for number in range(60)))
    for courier in opened_couriers:
        await courier.close()
    for each in databases:
        await each.close()
    assert len(await log(database, endpoint_id)) == 60
    assert len(temporal.asked) == 60
    assert len(set(temporal.asked)) == 60


async def test_what_is_not_taken_is_due_for_the_sweep_and_nobody_insists(database: Database, seed: World) -> None:
    temporal = Temporal()
    courier = Courier(database, temporal.begin, pause=3600)
    await endpoint(database, seed)
    for _ in range(couriers.TOGETHER + 5):
        await born(database, seed)
    database.bell = courier.ring
    temporal.is_there = False
    assert await courier.begin_due() == 0
    assert len(temporal.asked) == couriers.TOGETHER
    await born(database, seed)
    await courier.close()
    assert len(temporal.asked) == couriers.TOGETHER
    assert await due(database) == couriers.TOGETHER + 6
    temporal.is_there = True
    assert await courier.begin_due() == couriers.TOGETHER + 6
    assert await due(database) == 0


async def test_who_begins_while_the_database_is_away_leaves_it_to_the_sweep(
    database: Database, seed: World, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Database("postgresql://nobody@127.0.0.1:9/nothing", 1)
    courier = Courier(elsewhere, Temporal().begin)
    database.bell = courier.ring
    await endpoint(database, seed)
    await born(database, seed)
    await courier.close()
    await elsewhere.close()
    assert "events were not sent on their way" in caplog.text
    assert await due(database) == 1


async def test_an_endpoint_hears_of_the_moves_that_begin_once_it_is_there(database: Database, seed: World) -> None:
    before, after = await born(database, seed), await born(database, seed)
    async with database.begin() as session:
        locked = await moves.lock(session, before)
        late = await endpoint(database, seed)  # committed while the move has its chat's lock
        await moves.interrupt(session, locked)
    assert await log(database, late) == [], "that move began before it"
    async with database.begin() as session:
        await moves.interrupt(session, await moves.lock(session, after))
    assert await log(database, late) == ["chat.status_change"]


async def test_of_a_move_that_began_before_it_an_endpoint_hears_all_or_nothing(database: Database, seed: World) -> None:
    early = await endpoint(database, seed)
    chat_id = await born(database, seed)
    async with database.begin() as session:
        locked = await moves.lock(session, chat_id)
        late = await endpoint(database, seed)
        await moves.interrupt(session, locked)
    told = (await log(database, early))[-1:]
    assert told == ["chat.status_change"]
    assert await log(database, late) == told
