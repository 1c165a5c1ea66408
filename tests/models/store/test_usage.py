"""Reports and running totals, read where they are kept."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from alembic import command

from models.parts import text
from models.principal import Principal
from models.store import limits, moves, usage
from models.store.database import Database, fetch
from models.store.migrate import config, upgrade
from models.store.moves import StepRow
from tests.models.store.chats import born
from tests.seeds import World

MOST = 2**63 - 1
EARLIER = datetime(2020, 1, 1, tzinfo=UTC)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


async def answered(database: Database, chat_id: UUID, *rows: StepRow) -> None:
    """A worker's step in a chat that is to run."""
    async with database.begin() as session:
        opened = await moves.open_attempt(session, chat_id, max_attempts=25, max_steps=100)
    async with database.begin() as session:
        await moves.commit_step(session, opened.fence, list(rows))


def costing(micros: int | None, **columns: Any) -> StepRow:
    return StepRow("assistant", [text("indeed")], total_cost_micros=micros, **columns)


async def spend_and_sum(database: Database) -> tuple[int, int]:
    """The running totals, and the messages' costs that they stand for."""
    async with database.read() as session:
        [row] = await fetch(
            session,
            "SELECT (SELECT coalesce(sum(spent_micros), 0) FROM chat_spend) AS kept, "
            "(SELECT coalesce(sum(total_cost_micros), 0) FROM chat_messages) AS stored",
        )
    return int(row["kept"]), int(row["stored"])


async def test_the_running_total_is_the_sum_of_the_messages_costs(database: Database, seed: World) -> None:
    chats = [await born(database, seed) for _ in range(6)]
    rows = (costing(3), costing(None), costing(0), costing(10**12), costing(1), costing(7))
    await asyncio.gather(*(answered(database, chat, row) for chat, row in zip(chats, rows, strict=True)))
    kept, stored = await spend_and_sum(database)
    assert kept == stored == 10**12 + 11


async def test_what_is_free_or_unpriced_leaves_no_total(database: Database, seed: World) -> None:
    for micros in (None, 0):
        await answered(database, await born(database, seed), costing(micros))
    async with database.read() as session:
        assert await fetch(session, "SELECT * FROM chat_spend") == []


async def test_an_edited_chat_has_paid_for_both_answers(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    await answered(database, chat_id, costing(5))
    async with database.begin() as session:
        locked = await moves.lock(session, chat_id)
        [question] = await fetch(session, "SELECT id FROM chat_messages WHERE role = 'user'")
        await moves.edit(session, locked, question["id"], content=[text("rather")], editor_id=seed.owner_id)
    await answered(database, chat_id, costing(6))
    assert await spend_and_sum(database) == (11, 11)
    async with database.read() as session:
        assert (await usage.of_chat(session, chat_id))["total_cost_micros"] == 11


async def test_an_attempt_that_lost_its_fence_adds_nothing(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    async with database.begin() as session:
        stale = await moves.open_attempt(session, chat_id, max_attempts=25, max_steps=100)
    async with database.begin() as session:
        await moves.open_attempt(session, chat_id, max_attempts=25, max_steps=100)
    with pytest.raises(Exception, match="no longer the current one"):
        async with database.begin() as session:
            await moves.commit_step(session, stale.fence, [costing(5)])
    assert await spend_and_sum(database) == (0, 0)


async def test_nonsense_counts_cost_neither_the_answer_nor_the_report(database: Database, seed: World) -> None:
    counts = {"input_tokens": 2**70, "output_tokens": MOST}
    for _ in range(2):
        row = costing(MOST, usage=counts, runtime_ms=MOST, model_config_id=seed.model_config_id)
        await answered(database, await born(database, seed), row)
    async with database.read() as session:
        report = await usage.of_person(session, seed.owner_id, EARLIER, later())
        people, count = await usage.of_everybody(session, EARLIER, later(), usage.Page())
        [total] = await fetch(session, "SELECT spent_micros FROM chat_spend")
    assert total["spent_micros"] == MOST
    assert count == 1
    for totals in (report, report["by_model"][0], people[0]):
        assert totals["total_cost_micros"] == totals["total_input_tokens"] == totals["total_runtime_ms"] == MOST


async def test_an_answer_without_a_model_counts_in_the_total_and_in_no_models_line(
    database: Database, seed: World
) -> None:
    await answered(database, await born(database, seed), costing(5, usage={"total_tokens": 9}))
    async with database.read() as session:
        report = await usage.of_person(session, seed.owner_id, EARLIER, later())
    assert (report["total_cost_micros"], report["by_model"], len(report["by_chat"])) == (5, [], 1)


async def test_a_chat_whose_root_is_gone_is_its_own_family(database: Database, seed: World) -> None:
    root, child = await born(database, seed), await born(database, seed)
    await answered(database, child, costing(5))
    async with database.begin() as session:
        adopt = "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(child)s"
        await fetch(session, adopt, {"root": root, "child": child})
        await fetch(session, "DELETE FROM chats WHERE id = %(root)s", {"root": root})
    async with database.read() as session:
        report = await usage.of_person(session, seed.owner_id, EARLIER, later())
    assert [each["root_chat_id"] for each in report["by_chat"]] == [child]


async def test_who_spends_freely_is_not_looked_up(database: Database, seed: World) -> None:
    async with database.begin() as session:
        await fetch(session, "DROP TABLE chat_spend")
        await limits.require(session, Principal(seed.owner_id, "ada"), seed.organization_id)
        await limits.require(session, Principal(seed.owner_id, "ada", spends_freely=False), seed.organization_id)
        assert await fetch(session, "SELECT 1 AS still") == [{"still": 1}]


def test_organizations_that_were_there_before_have_their_everyone(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        command.upgrade(config(database_url), "0002")
        connection.execute("INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), 'old')")
        upgrade(database_url)
        found = connection.execute(
            "SELECT g.name FROM groups g JOIN organizations o ON o.id = g.id AND o.id = g.organization_id"
        ).fetchall()
    assert found == [("Everyone",)]
