"""What is reserved and settled is within every limit, whatever happens to the calls."""

import asyncio
import os
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from models.errors import FenceLost
from models.parts import text
from models.rules.states import State
from models.store import moves, reserving
from models.store.database import Database, Row, fetch
from models.store.moves import Fence, StepRow
from models.store.reserving import Call, Refused, Reserved
from models.tables.budgets import Budget
from models.tables.people import Group, GroupMember
from tests.api.trips import trips
from tests.models.store.chats import born, chat_in, opened
from tests.models.store.families import child_of, until_somebody_waits
from tests.seeds import World, insert

SENDS = int(os.environ.get("TURNSTONE_TEST_SENDS", "120"))
AT_ONCE = 24
ALL = timedelta()
# Whoever writes a budget's row is checked as they write it; only a call that cost more than was reserved may exceed.
GUARD = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.settled_micros + new.reserved_micros - new.overrun_micros
            > (SELECT limit_micros FROM budgets WHERE id = new.budget_id)
    THEN RAISE 'over the limit'; END IF;
    RETURN new; END $$"""
GUARDED = "CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON budget_periods FOR EACH ROW EXECUTE FUNCTION guard()"
BELOW = "UPDATE chats SET root_chat_id = %(root)s, parent_chat_id = %(root)s WHERE id = %(id)s"

SOONEST = asyncio.FIRST_COMPLETED
HOLD_BOTH = "SELECT FROM budget_periods ORDER BY budget_id FOR NO KEY UPDATE"
STALE = """
INSERT INTO budget_reservations (id, chat_id, kind, history_version, generation_attempt, amount_micros, prompt_micros,
    output_price, budget_ids, starts_on, created_at)
VALUES (%(id)s, %(chat)s, 'step', 0, 1, 5, 5, 1, %(budgets)s::uuid[],
    array_fill('1970-01-01'::date, ARRAY[cardinality(%(budgets)s::uuid[])]), now() - %(age)s::interval)"""


def costing(micros: int | None) -> StepRow:
    return StepRow("assistant", [text("indeed")], total_cost_micros=micros)


def call(chat_id: UUID, amount: int, fence: Fence | None = None, **more: Any) -> Call:
    made = Call(chat_id, "aside", amount, amount, amount // 2, Decimal(1))
    if fence is not None:
        attempt = {"history_version": fence.history_version, "generation_attempt": fence.generation_attempt}
        made = replace(made, kind="step", **attempt)
    return replace(made, **more)


async def set_budget(database: Database, world: World, scope: str, scope_id: UUID, limit: int) -> None:
    budget = Budget(
        organization_id=world.organization_id, scope=scope, scope_id=scope_id, limit_micros=limit, period="total"
    )
    budget.warn_percents = [80, 95]
    async with database.begin() as session:
        await insert(session, budget)


async def reserve(database: Database, wanted: Call) -> Reserved | Refused | None:
    async with database.begin() as session:
        return await reserving.reserve(session, wanted)


async def release(database: Database) -> int:
    async with database.begin() as session:
        return await reserving.release(session, ALL)


async def periods(database: Database) -> list[Row]:
    async with database.read() as session:
        return await fetch(
            session,
            "SELECT b.scope, b.limit_micros, s.* FROM budgets b JOIN budget_periods s ON s.budget_id = b.id ORDER BY 3",
        )


async def figures(database: Database) -> tuple[int, int, int]:
    """Of the one budget: settled, estimated among that, and reserved."""
    [row] = await periods(database)
    return row["settled_micros"], row["estimated_micros"], row["reserved_micros"]


@dataclass
class Begun:
    """A chat with an attempt under way, for which 300 of the organization's 1000 are reserved."""

    database: Database
    world: World
    chat_id: UUID
    fence: Fence

    async def interrupt(self) -> None:
        async with self.database.begin() as session:
            await moves.interrupt(session, await moves.lock(session, self.chat_id))


@pytest.fixture
async def begun(database: Database, seed: World) -> Begun:
    await set_budget(database, seed, "organization", seed.organization_id, 1000)
    chat_id = await born(database, seed)
    found = await opened(database, chat_id)
    assert found.chat["is_budgeted"]
    granted = await reserve(database, call(chat_id, 300, found.fence))
    assert isinstance(granted, Reserved)
    assert granted.micros == 300
    assert await figures(database) == (0, 0, 300)
    return Begun(database, seed, chat_id, found.fence)


async def test_the_commit_settles_what_was_paid_and_gives_the_rest_back(begun: Begun) -> None:
    async with begun.database.begin() as session:
        await moves.commit_step(session, begun.fence, [costing(120)])
    assert await figures(begun.database) == (120, 0, 0)


async def test_a_provider_that_refused_is_paid_nothing(begun: Begun) -> None:
    async with begun.database.begin() as session:
        await moves.record_retry(session, begun.fence, {"attempt": 1, "error": "busy"}, 1.0, paid=0)
    assert await figures(begun.database) == (0, 0, 0)


async def test_what_nobody_can_tell_is_estimated_from_the_prompt_and_the_stream(begun: Begun) -> None:
    async with begun.database.begin() as session:
        params = {"chat": begun.chat_id, "history": begun.fence.history_version}
        await fetch(
            session,
            "INSERT INTO stream_log (chat_id, history_version, generation_attempt, seq, role, part) "
            """VALUES (%(chat)s, %(history)s, 1, 1, 'assistant', '{"type": "text", "text": "123456789"}')""",
            params,
        )
    async with begun.database.begin() as session:
        await moves.finish_error(session, begun.fence, {"message": "cut", "kind": "generic"})
    assert await figures(begun.database) == (153, 153, 0)  # half of 300 for the prompt, 9 bytes are 3 tokens at 1


async def test_whoever_takes_over_settles_what_the_dead_had_reserved(begun: Begun) -> None:
    found = await opened(begun.database, begun.chat_id)
    assert found.taken_over
    assert await figures(begun.database) == (150, 150, 0)
    with pytest.raises(FenceLost):
        await reserve(begun.database, call(begun.chat_id, 300, begun.fence))
    assert await figures(begun.database) == (150, 150, 0)


async def test_a_stop_keeps_the_reservation_until_the_partial_is_committed(begun: Begun) -> None:
    await begun.interrupt()
    assert await figures(begun.database) == (0, 0, 300)
    assert await release(begun.database) == 0
    episode = (begun.fence.history_version, begun.fence.generation_attempt)
    async with begun.database.begin() as session:
        await moves.finish_interruption(session, begun.chat_id, [costing(7)], episode=episode)
    assert await figures(begun.database) == (7, 0, 0)


async def test_the_sweep_releases_what_belongs_to_nobody_and_nothing_else(begun: Begun) -> None:
    assert await release(begun.database) == 0
    await reserve(begun.database, call(begun.chat_id, 100))
    async with begun.database.begin() as session:
        await fetch(session, "DELETE FROM chats WHERE id = %(id)s", {"id": begun.chat_id})
    assert await release(begun.database) == 2
    assert await figures(begun.database) == (200, 200, 0)


async def test_a_call_that_cost_more_is_settled_in_full_and_the_overrun_written_down(begun: Begun) -> None:
    async with begun.database.begin() as session:
        await moves.commit_step(session, begun.fence, [costing(1200)])
    [row] = await periods(begun.database)
    assert (row["settled_micros"], row["overrun_micros"], row["reserved_micros"]) == (1200, 900, 0)
    refused = await reserve(begun.database, call(begun.chat_id, 1))
    assert refused == Refused("organization", 1000, 1200, 0, is_spent=True)


async def test_less_is_granted_where_less_is_left_and_nothing_below_the_least(begun: Begun) -> None:
    granted = await reserve(begun.database, call(begun.chat_id, 900, least=500))
    assert isinstance(granted, Reserved)
    assert granted.micros == 700
    refused = await reserve(begun.database, call(begun.chat_id, 900, least=500))
    assert refused == Refused("organization", 1000, 0, 1000, is_spent=False)


async def test_a_chat_without_a_budget_asks_nothing_and_a_chats_own_budget_is_its_familys(
    database: Database, seed: World
) -> None:
    root, child, other = [await born(database, seed) for _ in range(3)]
    async with database.begin() as session:
        await fetch(session, BELOW, {"root": root, "id": child})
    await set_budget(database, seed, "chat", root, 500)
    assert [(await opened(database, chat)).chat["is_budgeted"] for chat in (root, child, other)] == [True, True, False]
    assert await reserve(database, call(other, 400)) is None
    assert isinstance(await reserve(database, call(child, 400)), Reserved)
    assert isinstance(await reserve(database, call(root, 400)), Refused)


async def test_opening_and_settling_take_the_same_round_trips_with_budgets_and_without(
    database: Database, seed: World
) -> None:
    counts = []
    for budgeted in (False, True):
        chat = await born(database, seed)
        if budgeted:
            await set_budget(database, seed, "chat", chat, 500)
        with trips(database) as to_open:
            found = await opened(database, chat)
        with trips(database) as to_reserve:
            await reserve(database, call(chat, 400, found.fence)) if budgeted else None
        with trips(database) as to_commit:
            async with database.begin() as session:
                await moves.commit_step(session, found.fence, [costing(3)])
        counts.append((to_open.count, to_reserve.count, to_commit.count))
    assert counts == [(2, 0, 2), (2, 1, 2)]


async def test_calls_that_race_against_nested_budgets_exceed_none_and_leave_nothing_reserved(
    database: Database, seed: World
) -> None:
    """Commits, failures, stops, crashes and late zombies, under four nested budgets: TURNSTONE_TEST_SENDS of them."""
    chance = random.Random(7)
    group = Group(organization_id=seed.organization_id, name="g")
    async with database.begin() as session:
        await fetch(session, GUARD)
        await fetch(session, GUARDED)
        await insert(session, group, GroupMember(group_id=group.id, user_id=seed.owner_id))
    chats = [await born(database, seed) for _ in range(SENDS)]
    roots = chats[: max(1, SENDS // 10)]
    async with database.begin() as session:
        for place, chat in enumerate(chats[len(roots) :]):
            await fetch(session, BELOW, {"root": roots[place % len(roots)], "id": chat})
    limits = {"organization": SENDS * 110, "group": SENDS * 100, "user": SENDS * 90}
    ids = {"organization": seed.organization_id, "group": group.id, "user": seed.owner_id}
    for scope, limit in limits.items():
        await set_budget(database, seed, scope, ids[scope], limit)
    for root in roots:
        await set_budget(database, seed, "chat", root, 1500)
    turns, paid, refusals = asyncio.Semaphore(AT_ONCE), [], []

    async def send(chat_id: UUID, fate: str, cost: int) -> None:
        async with turns:
            found = await opened(database, chat_id)
            granted = await reserve(database, call(chat_id, 200, found.fence, least=150))
            if isinstance(granted, Refused):
                refusals.append(chat_id)
                async with database.begin() as session:
                    await moves.finish_error(session, found.fence, {"message": "no", "kind": "usage_limit"}, paid=0)
                return
            assert granted is not None
            if fate == "taken over":
                await opened(database, chat_id)
                with pytest.raises(FenceLost):
                    async with database.begin() as session:
                        await moves.commit_step(session, found.fence, [costing(cost)])
            elif fate == "stopped":
                async with database.begin() as session:
                    await moves.interrupt(session, await moves.lock(session, chat_id))
                episode = (found.fence.history_version, found.fence.generation_attempt)
                async with database.begin() as session:
                    await moves.finish_interruption(session, chat_id, [costing(cost)], episode=episode)
                paid.append(cost)
            elif fate == "failed":
                async with database.begin() as session:
                    await moves.record_retry(session, found.fence, {"attempt": 1, "error": "busy"}, 1.0)
            elif fate == "answered":
                async with database.begin() as session:
                    await moves.commit_step(session, found.fence, [costing(cost)])
                paid.append(cost)

    fates = ("answered", "answered", "answered", "stopped", "failed", "taken over", "crashed")
    await asyncio.gather(*(send(chat, chance.choice(fates), chance.randint(0, 150)) for chat in chats))
    crashed = await left(database)
    for chat in crashed[::2]:
        await opened(database, chat)  # another worker takes over
    async with database.begin() as session:
        await fetch(session, "UPDATE chats SET status = 'waiting' WHERE id = ANY(%(ids)s)", {"ids": crashed[1::2]})
    await release(database)
    assert await left(database) == []
    found = await periods(database)
    assert all(row["reserved_micros"] == 0 and row["overrun_micros"] == 0 for row in found)
    assert all(row["settled_micros"] <= row["limit_micros"] for row in found)
    exact = {row["scope"]: row["settled_micros"] - row["estimated_micros"] for row in found if row["scope"] != "chat"}
    assert exact == dict.fromkeys(limits, sum(paid))
    assert sum(row["settled_micros"] - row["estimated_micros"] for row in found if row["scope"] == "chat") == sum(paid)
    assert refusals
    assert crashed


async def stale(database: Database, chat_id: UUID, budgets: list[UUID], age: timedelta = ALL) -> None:
    """What a dead attempt of this chat had reserved, when only these budgets were there."""
    async with database.begin() as session:
        await fetch(session, STALE, {"chat": chat_id, "budgets": budgets, "age": age, "id": uuid7()})
        await fetch(session, "UPDATE budget_periods SET reserved_micros = reserved_micros + 5", {})


async def two_families(database: Database, world: World) -> tuple[list[UUID], list[list[UUID]]]:
    """Two budgets, in the order of their ids, and two families of a root and a child."""
    await set_budget(database, world, "organization", world.organization_id, 1000)
    await set_budget(database, world, "user", world.owner_id, 1000)
    async with database.begin() as session:
        await fetch(session, "INSERT INTO budget_periods (budget_id, starts_on) SELECT id, '1970-01-01' FROM budgets")
    budgets = [row["budget_id"] for row in await periods(database)]
    families = []
    for _ in range(2):
        root = await chat_in(database, world, State.W)
        families.append([root, await child_of(database, world, root)])
    return sorted(budgets), families


async def archive(database: Database, chat_id: UUID) -> None:
    async with database.begin() as session:
        await moves.archive(session, chat_id)


async def test_two_families_that_owe_different_budgets_are_archived_at_once_and_neither_waits_for_the_other_for_ever(
    database: Database, seed: World
) -> None:
    [one, two], families = await two_families(database, seed)
    for (root, child), (first, second) in zip(families, ((two, one), (one, two)), strict=True):
        await stale(database, root, [first])
        await stale(database, child, [second])
    async with database.begin() as session:
        await fetch(session, HOLD_BOTH)
        archiving = []
        for waiters, (root, _) in enumerate(families, start=1):
            archiving.append(asyncio.create_task(archive(database, root)))
            await until_somebody_waits(database, waiters)
    await asyncio.gather(*archiving)
    assert await left(database) == []


async def test_the_sweep_and_who_archives_settle_the_same_family_and_neither_waits_for_the_other_for_ever(
    database: Database, seed: World
) -> None:
    [one, two], [[root, child], _] = await two_families(database, seed)
    await stale(database, root, [one], -timedelta(hours=1))  # too young for the sweep
    await stale(database, child, [one, two])
    async with database.begin() as session:
        await fetch(session, HOLD_BOTH)
        archiving = asyncio.create_task(archive(database, root))
        await until_somebody_waits(database)
        sweeping = asyncio.create_task(release(database))
        await asyncio.wait([sweeping, asyncio.create_task(until_somebody_waits(database, 2))], return_when=SOONEST)
    await asyncio.gather(archiving, sweeping)
    assert await left(database) == []


async def test_a_budget_that_is_deleted_as_a_call_reserves_holds_nobody_up_any_more(
    database: Database, seed: World
) -> None:
    await set_budget(database, seed, "organization", seed.organization_id, 1000)
    chat_id = await born(database, seed)
    async with database.begin() as session:
        await fetch(session, "DELETE FROM budgets")
        reserving_now = asyncio.create_task(reserve(database, call(chat_id, 5)))
        await until_somebody_waits(database)
    assert await reserving_now is None


async def left(database: Database) -> list[UUID]:
    async with database.read() as session:
        return [row["chat_id"] for row in await fetch(session, "SELECT chat_id FROM budget_reservations ORDER BY 1")]
