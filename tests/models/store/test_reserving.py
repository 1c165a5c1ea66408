"""What is reserved and settled is within every limit, whatever happens to the calls."""

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import FenceLost
from models.parts import text
from models.rules import pricing
from models.rules.pricing import Prices
from models.rules.reserving import bound
from models.store import moves, reserving
from models.store.database import Database, Row, fetch
from models.store.moves import Fence, StepRow
from models.store.reserving import Call, Refused, Reserved
from tests.models.store.chats import born, opened, send
from tests.seeds import World, insert
from models.tables.budgets import Budget
from models.tables.people import Group, GroupMember

SENDS = int(os.environ.get("TURNSTONE_TEST_SENDS", "120"))
ALL = timedelta()


def costing(micros: int | None) -> StepRow:
    return StepRow("assistant", [text("indeed")], total_cost_micros=micros)


def call(chat_id: UUID, amount: int, fence: Fence | None = None, **more: Any) -> Call:
    made = Call(chat_id, "aside", amount, amount, amount // 2, Decimal(1))
    if fence is not None:
        made = replace(
            made, kind="step", history_version=fence.history_version, generation_attempt=fence.generation_attempt
        )
    return replace(made, **more)


async def set_budget(
    database: Database, world: World, scope: str, scope_id: UUID, limit: int, period: str = "total"
) -> UUID:
    budget = Budget(
        organization_id=world.organization_id,
        scope=scope,
        scope_id=scope_id,
        limit_micros=limit,
        period=period,
        warn_percents=[80, 95],
    )
    async with database.begin() as session:
        await insert(session, budget)
    return budget.id


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
            "SELECT b.scope, b.limit_micros AS limit, s.settled_micros AS settled, s.reserved_micros AS reserved, "
            "s.estimated_micros AS estimated, s.overrun_micros AS overrun, s.warned_percent AS warned "
            "FROM budgets b JOIN budget_periods s ON s.budget_id = b.id ORDER BY b.id",
        )


async def figures(database: Database) -> tuple[int, int]:
    """Of the one budget: what is settled, and what is reserved."""
    [row] = await periods(database)
    return row["settled"], row["reserved"]


async def test_what_is_reserved_is_settled_by_the_commit_with_what_was_paid(database: Database, seed: World) -> None:
    await set_budget(database, seed, "organization", seed.organization_id, 1000)
    chat = await born(database, seed)
    found = await opened(database, chat)
    assert found.chat["is_budgeted"]
    granted = await reserve(database, call(chat, 300, found.fence))
    assert isinstance(granted, Reserved)
    assert granted.micros == 300
    assert await figures(database) == (0, 300)
    async with database.begin() as session:
        await moves.commit_step(session, found.fence, [costing(120)])
    assert await figures(database) == (120, 0)
