"""Pins are numbered 1, 2, 3 … for each owner, whatever is pinned, moved or put away, and by how many at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Invalid
from models.rules.states import State
from models.store import moves, pins
from models.store.database import Database, fetch
from models.tables.people import User
from tests.models.store.chats import born, chat_in
from tests.models.store.families import child_of, row_of, until_somebody_waits
from tests.seeds import World, insert


async def pin(session: Any, chat_id: UUID, place: int) -> None:
    await pins.hold(session, chat_id)
    await pins.pin(session, await moves.lock(session, chat_id), place)


async def pinned(database: Database, chat_id: UUID, place: int = 1) -> None:
    async with database.begin() as session:
        await pin(session, chat_id, place)


async def order(database: Database) -> list[tuple[UUID, int]]:
    async with database.read() as session:
        rows = await fetch(session, "SELECT id, pin_order FROM chats WHERE pin_order > 0 ORDER BY pin_order, id")
    return [(row["id"], row["pin_order"]) for row in rows]


def numbered(chats: Sequence[UUID]) -> list[tuple[UUID, int]]:
    return [(chat_id, number) for number, chat_id in enumerate(chats, start=1)]


async def some(database: Database, world: World, count: int) -> list[UUID]:
    return [await born(database, world) for _ in range(count)]


@given(chats=st.lists(st.uuids(), unique=True, min_size=1, max_size=8), place=st.integers(0, 10), data=st.data())
def test_places_are_always_without_a_gap_and_keep_the_others_in_order(
    chats: list[UUID], place: int, data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from([*chats, uuid4()]))
    placed = pins.places(chats, target, place)
    standing = sorted((order, chat) for chat, order in placed.items() if order)
    assert [order for order, _ in standing] == list(range(1, len(standing) + 1))
    others = [chat for chat in chats if chat != target]
    assert [chat for _, chat in standing if chat != target] == others
    assert (placed[target] > 0) == (place > 0)
    if place and target in chats:
        assert placed[target] == min(place, len(chats))
    if place and target not in chats:
        assert placed[target] == len(chats) + 1


async def test_a_chat_is_pinned_at_the_end_whatever_the_place(database: Database, seed: World) -> None:
    first, second, third = await some(database, seed, 3)
    for chat_id, place in ((first, 9), (second, 1), (third, 2)):
        await pinned(database, chat_id, place)
    assert await order(database) == numbered([first, second, third])


async def test_a_pinned_chat_moves_and_the_others_make_way(database: Database, seed: World) -> None:
    a, b, c, d = await some(database, seed, 4)
    for chat_id in (a, b, c, d):
        await pinned(database, chat_id)
    for place, expected in ((1, [d, a, b, c]), (3, [a, b, d, c]), (99, [a, b, c, d]), (0, [a, b, c])):
        await pinned(database, d, place)
        assert await order(database) == numbered(expected)


async def test_gaps_that_archiving_left_are_closed_with_the_next_pin(database: Database, seed: World) -> None:
    a, b, c, d = await some(database, seed, 4)
    for chat_id in (a, b, c):
        await pinned(database, chat_id)
    async with database.begin() as session:
        await moves.archive(session, b)
    assert await order(database) == [(a, 1), (c, 3)]
    await pinned(database, d)
    assert await order(database) == numbered([a, c, d])


async def test_a_pin_touches_neither_time_nor_versions(database: Database, seed: World) -> None:
    a, b = await some(database, seed, 2)
    before = {each: await row_of(database, each) for each in (a, b)}
    await pinned(database, a)
    await pinned(database, b)
    await pinned(database, b, 1)
    for each, place in ((b, 1), (a, 2)):
        assert await row_of(database, each) == before[each] | {"pin_order": place}


async def test_archived_chats_and_children_cannot_be_pinned_but_unpinned(database: Database, seed: World) -> None:
    root = await chat_in(database, seed, State.XW)
    child = await child_of(database, seed, await chat_in(database, seed, State.W))
    for chat_id, place, message in (
        (root, 1, "Cannot pin an archived chat."),
        (child, 1, "Cannot pin a child chat."),
        (child, -1, "Pin order must be non-negative."),
    ):
        with pytest.raises(Invalid) as refused:
            await pinned(database, chat_id, place)
        assert refused.value.message == message
    await pinned(database, root, 0)
    await pinned(database, child, 0)
    assert await order(database) == []


async def test_owners_are_numbered_apart(database: Database, seed: World) -> None:
    [mine] = await some(database, seed, 1)
    async with database.begin() as session:
        other = User(username="bob", email="bob@example.com")
        await insert(session, other)
    theirs = await born(database, World(other.id, seed.organization_id, seed.provider_id, seed.model_config_id))
    await pinned(database, mine)
    await pinned(database, theirs)
    assert [place for _, place in await order(database)] == [1, 1]


async def test_pins_of_many_at_once_never_collide(database: Database, seed: World) -> None:
    chats = await some(database, seed, 12)
    await asyncio.gather(*(pinned(database, chat_id) for chat_id in chats))
    assert [place for _, place in await order(database)] == list(range(1, 13))
    await asyncio.gather(*(pinned(database, chat_id, number % 4) for number, chat_id in enumerate(chats)))
    assert [place for _, place in await order(database)] == list(range(1, 10))


async def test_a_chat_that_is_archived_while_others_are_pinned_stays_without_a_pin(
    database: Database, seed: World
) -> None:
    a, b, c = await some(database, seed, 3)
    for chat_id in (a, b):
        await pinned(database, chat_id)
    async with database.begin() as session:
        await moves.archive(session, a)
        waiting = asyncio.ensure_future(pinned(database, b, 1))  # would move `a` to the second place
        await until_somebody_waits(database)
    await waiting
    assert await order(database) == [(b, 1)]
    await pinned(database, c)
    assert await order(database) == numbered([b, c])


async def test_pinning_and_archiving_of_many_at_once_neither_deadlock_nor_pin_an_archived_chat(
    database: Database, seed: World
) -> None:
    chats = await some(database, seed, 6)

    async def archive(chat_id: UUID) -> None:
        async with database.begin() as session:
            await moves.archive(session, chat_id)

    async def unarchive(chat_id: UUID) -> None:
        async with database.begin() as session:
            await moves.unarchive(session, chat_id)

    async def one(act: Callable[..., Awaitable[None]], chat_id: UUID, *arguments: int) -> None:
        with suppress(Invalid):
            await act(chat_id, *arguments)

    acts = [
        act
        for chat_id in chats
        for place in (1, 2, 5)
        for act in (one(archive, chat_id), one(unarchive, chat_id), one(partial(pinned, database), chat_id, place))
    ]
    random.Random(17).shuffle(acts)
    await asyncio.gather(*acts)
    for chat_id in chats:
        row = await row_of(database, chat_id)
        assert not (row["archived"] and row["pin_order"])
    for chat_id in chats:
        await pinned(database, chat_id, 0)
    assert await order(database) == []
