"""The laws of slots in the database: exact under concurrency, counted from where chats stand, given away in turns."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from models.parts import text
from models.rules.capacity import Limits, Waiter, first
from models.steps import Then
from models.store import capacity, moves, standing
from models.store.database import Database, fetch
from models.tables.people import User
from tests.models.store.chats import born, send
from tests.seeds import World, insert

ONE = Limits(per_organization=1)


async def begin(database: Database, chat_id: UUID, limits: Limits = ONE) -> moves.Opened:
    async with database.begin() as session:
        return await moves.open_attempt(session, chat_id, max_attempts=25, max_steps=99, limits=limits)


async def finish(database: Database, opened: moves.Opened) -> None:
    async with database.begin() as session:
        await moves.commit_step(session, opened.fence, [moves.StepRow("assistant", [text("done")])])


async def queued(database: Database, chat_id: UUID) -> bool:
    async with database.read() as session:
        [row] = await fetch(session, "SELECT status, capacity_queued_at FROM chats WHERE id = %(id)s", {"id": chat_id})
    assert row["capacity_queued_at"] is None or row["status"] == "pending"
    return row["capacity_queued_at"] is not None


async def due(database: Database, limits: Limits = ONE, beside: Sequence[UUID] | None = None) -> list[UUID]:
    async with database.read() as session:
        return [row["id"] for row in await capacity.due(session, limits, beside=beside)]


async def another(database: Database, world: World) -> World:
    async with database.begin() as session:
        user = User(username=uuid4().hex, email=f"{uuid4().hex}@example.com", name="Bob")
        await insert(session, user)
    return World(user.id, world.organization_id, world.provider_id, world.model_config_id)


async def test_a_turn_above_the_limit_stays_pending_and_says_so_until_another_ends(
    database: Database, seed: World
) -> None:
    first, second = await born(database, seed), await born(database, seed)
    running = await begin(database, first)
    waits = await begin(database, second)
    assert (waits.queued, waits.reply and waits.reply.then, await queued(database, second)) == (True, Then.REST, True)
    assert await due(database) == []
    again = await begin(database, second)
    assert again.chat["snapshot_version"] == waits.chat["snapshot_version"], "to ask again changes nothing"
    await finish(database, running)
    assert await due(database) == await due(database, beside=[first]) == [second]
    assert (await begin(database, second)).reply is None
    assert not await queued(database, second)


async def test_a_turn_that_holds_a_slot_takes_no_other_one_for_its_next_attempts(
    database: Database, seed: World
) -> None:
    chat_id = await born(database, seed)
    await begin(database, chat_id)
    taken_over = await begin(database, chat_id)
    assert (taken_over.reply, taken_over.taken_over) == (None, True), (
        "a dead worker's turn keeps its slot, and is gone on"
    )


@pytest.mark.parametrize("limits", [Limits(2, 0), Limits(0, 2), Limits(2, 3)])
async def test_however_many_ask_at_once_no_more_begin_than_may(database: Database, seed: World, limits: Limits) -> None:
    chats = [await born(database, seed) for _ in range(8)]
    opened = await asyncio.gather(*(begin(database, chat_id, limits) for chat_id in chats))
    assert sum(each.reply is None for each in opened) == 2
    assert sum([await queued(database, chat_id) for chat_id in chats]) == 6
    assert len(await due(database, Limits(4, 0))) == 2


async def test_who_comes_later_does_not_take_the_slot_of_who_waits(database: Database, seed: World) -> None:
    first, waiting, late = [await born(database, seed) for _ in range(3)]
    running = await begin(database, first)
    await begin(database, waiting)
    await finish(database, running)
    assert (await begin(database, late)).queued
    assert await due(database) == [waiting]


async def test_owners_take_turns_however_much_one_of_them_sends(database: Database, seed: World) -> None:
    other = await another(database, seed)
    mine = [await born(database, seed) for _ in range(4)]
    running = await begin(database, mine[0])
    for chat_id in mine[1:]:
        await begin(database, chat_id)
    theirs = [await born(database, other) for _ in range(2)]
    for chat_id in theirs:
        await begin(database, chat_id)
    order = []
    await finish(database, running)
    while able := await due(database):
        order.append(able[0])
        await finish(database, await begin(database, able[0]))
    assert order == [mine[1], theirs[0], mine[2], theirs[1], mine[3]]


@pytest.mark.parametrize("deed", ["interrupt", "archive"])
async def test_who_waits_can_be_stopped_and_holds_nobody_up(database: Database, seed: World, deed: str) -> None:
    first, stopped, after = [await born(database, seed) for _ in range(3)]
    running = await begin(database, first)
    await begin(database, stopped)
    await begin(database, after)
    async with database.begin() as session:
        if deed == "archive":
            await moves.archive(session, stopped)
        else:
            await moves.interrupt(session, await moves.lock(session, stopped))
    assert not await queued(database, stopped)
    await finish(database, running)
    assert await due(database) == [after]


async def test_an_edit_keeps_the_place_and_a_queued_message_waits_behind_it(database: Database, seed: World) -> None:
    first, waiting = await born(database, seed), await born(database, seed)
    running = await begin(database, first)
    await begin(database, waiting)
    async with database.begin() as session:
        locked = await moves.lock(session, waiting)
        [asked] = await fetch(session, "SELECT id FROM chat_messages WHERE chat_id = %(id)s", {"id": waiting})
        await moves.edit(session, locked, asked["id"], content=[text("again")], editor_id=seed.owner_id)
    await send(database, seed, waiting, "and this")
    assert await queued(database, waiting)
    await finish(database, running)
    ended = await begin(database, waiting)
    await finish(database, ended)  # the queue's head is promoted: another turn, which asks for its own slot
    assert not await queued(database, waiting)
    assert (await begin(database, waiting)).reply is None


async def test_a_part_of_a_root_s_turn_needs_no_slot_of_its_own(database: Database, seed: World) -> None:
    root, child = await born(database, seed), await born(database, seed)
    async with database.begin() as session:
        asked = {"root": root, "child": child}
        await fetch(session, "UPDATE chats SET parent_chat_id = %(root)s WHERE id = %(child)s", asked)
    await begin(database, root)
    assert (await begin(database, child)).reply is None


async def test_the_sweep_leaves_who_waits_to_whoever_frees_a_slot(database: Database, seed: World) -> None:
    first, waiting = await born(database, seed), await born(database, seed)
    await begin(database, first)
    await begin(database, waiting)
    async with database.read() as session:
        assert [each.id for each in await standing.undriven(session, [], limit=9)] == [first]
    assert await due(database, Limits()) == [waiting], "limits that are gone hold nobody"


@pytest.mark.parametrize(
    "limits", [Limits(0, 4), Limits(0, 7), Limits(2, 8), Limits(3, 9), Limits(2, 0), Limits(1, 30)], ids=str
)
async def test_those_who_are_found_are_those_whom_the_rule_would_choose_of_all(
    database: Database, seed: World, limits: Limits
) -> None:
    dice = random.Random(f"{limits}")
    owners = [seed, *[await another(database, seed) for _ in range(3)]]
    now = datetime.now(UTC)
    waits: dict[UUID, list[tuple[datetime, UUID]]] = {}
    running: Counter[UUID] = Counter()
    served = {}
    async with database.begin() as session:
        for _ in range(24):
            world = dice.choice(owners)
            chat_id, since = await born(database, world), now - timedelta(seconds=dice.randrange(1, 50))
            runs = dice.random() < 0.2
            values = {"id": chat_id, "status": "running" if runs else "pending", "since": None if runs else since}
            await fetch(
                session,
                "UPDATE chats SET status = %(status)s, capacity_queued_at = %(since)s WHERE id = %(id)s",
                values,
            )
            if runs:
                running[world.owner_id] += 1
            else:
                waits.setdefault(world.owner_id, []).append((since, chat_id))
        for world in owners[:2]:
            at = served[world.owner_id] = now - timedelta(seconds=dice.randrange(1, 50))
            values = {"organization": world.organization_id, "owner": world.owner_id, "at": at}
            await fetch(session, "INSERT INTO capacity_shares VALUES (%(organization)s, %(owner)s, %(at)s)", values)
    everybody = [
        Waiter(chat_id, owner, place, since, max(served.get(owner, now - timedelta(days=1)), min(each)[0]))
        for owner, each in waits.items()
        for place, (since, chat_id) in enumerate(sorted(each), 1)
    ]
    assert await due(database, limits) == first(everybody, running, limits)
