"""The laws of keeping and forgetting: what is over goes, what is in use stays, whoever else is at work."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.rules.states import State
from models.store import debug, moves, preferences, retention
from models.store.database import Database, fetch
from models.tables.files import File, FileLink
from tests.models.store.chats import born, chat_in, send
from tests.seeds import World, insert

NOW = datetime.now(UTC)
TICK = NOW.isoformat()


async def run(database: Database, statement: Any, **params: Any) -> list[dict[str, Any]]:
    async with database.begin() as session:
        return await fetch(session, statement, params)


async def archived_since(database: Database, world: World, age: timedelta, state: State = State.XW) -> UUID:
    chat_id = await chat_in(database, world, state)
    await run(database, "UPDATE chats SET archived_at = now() - %(age)s WHERE id = %(id)s", age=age, id=chat_id)
    return chat_id


async def idle_since(database: Database, world: World, age: timedelta, state: State = State.W) -> UUID:
    """A chat whose every message is so old."""
    chat_id = await chat_in(database, world, state)
    await grow_old(database, chat_id, age)
    return chat_id


async def grow_old(database: Database, chat_id: UUID, age: timedelta) -> None:
    for table, column in (("chats", "id"), ("chat_messages", "chat_id")):
        await run(
            database,
            f"UPDATE {table} SET created_at = now() - %(age)s WHERE {column} = %(id)s",
            age=age,
            id=chat_id,
        )


async def child_of(database: Database, world: World, root: UUID, age: timedelta) -> UUID:
    chat_id = await idle_since(database, world, age)
    await run(
        database, "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(id)s",
        root=root, id=chat_id,
    )  # fmt: skip
    return chat_id


async def remaining(database: Database) -> set[UUID]:
    return {row["id"] for row in await run(database, "SELECT id FROM chats")}


async def archived(database: Database) -> set[UUID]:
    return {row["id"] for row in await run(database, "SELECT id FROM chats WHERE archived")}


async def idle(database: Database, days: int) -> list[UUID]:
    async with database.read() as session:
        return await retention.idle_roots(session, NOW - timedelta(days=days), 100)


async def archive(database: Database, root: UUID, days: int, tick: str = TICK) -> int:
    async with database.begin() as session:
        return await retention.archive_idle(session, root, NOW - timedelta(days=days), tick)


# --- retention ---


async def test_archived_chats_go_when_their_time_is_over_oldest_first(database: Database, seed: World) -> None:
    ages = [timedelta(days=days) for days in (40, 50, 10)]
    middle, oldest, young = [await archived_since(database, seed, age) for age in ages]
    old_but_in_use = await idle_since(database, seed, timedelta(days=400))
    for gone in ({oldest}, {oldest, middle}, {oldest, middle}):
        async with database.begin() as session:
            await retention.delete_archived(session, NOW - timedelta(days=30), 1)
        assert await remaining(database) == {oldest, middle, young, old_but_in_use} - gone
    [left] = await run(
        database, "SELECT count(*) AS n FROM chat_messages WHERE chat_id = ANY(%(i)s)", i=[oldest, middle]
    )
    assert left["n"] == 0, "messages go with their chat"


async def test_an_archived_chat_that_is_still_being_stopped_is_kept(database: Database, seed: World) -> None:
    stopping = await archived_since(database, seed, timedelta(days=99), State.XI0)
    async with database.begin() as session:
        assert await retention.delete_archived(session, NOW, 10) == 0
    assert await remaining(database) == {stopping}


async def test_a_chat_that_is_just_being_brought_back_is_not_deleted(database: Database, seed: World) -> None:
    chat_id = await archived_since(database, seed, timedelta(days=99))
    async with database.begin() as session:
        await moves.unarchive(session, chat_id)
        async with database.begin() as other:
            assert await retention.delete_archived(other, NOW, 10) == 0
    assert await remaining(database) == {chat_id}


async def test_two_workers_share_the_work_and_never_wait_for_each_other(database: Database, seed: World) -> None:
    chats = {await archived_since(database, seed, timedelta(days=40 + number)) for number in range(6)}
    async with database.begin() as one, database.begin() as two:
        first = await retention.delete_archived(one, NOW, 4)
        second = await asyncio.wait_for(retention.delete_archived(two, NOW, 4), 60)
    assert (first, second) == (4, 2)
    assert not await remaining(database) & chats


async def test_files_that_no_chat_uses_go_when_they_are_old(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)

    async def file(age: int) -> UUID:
        async with database.begin() as session:
            made = File(
                owner_id=seed.owner_id, organization_id=seed.organization_id, mimetype="text/plain", size=1, data=b"x"
            )
            await insert(session, made)
            identity = made.id
        await run(
            database, "UPDATE chat_files SET created_at = now() - %(age)s WHERE id = %(id)s",
            age=timedelta(days=age), id=identity,
        )  # fmt: skip
        return identity

    used, orphan, young = await file(90), await file(90), await file(1)
    async with database.begin() as session:
        await insert(session, FileLink(chat_id=chat_id, file_id=used))
    async with database.begin() as session:
        assert await retention.delete_orphan_files(session, NOW - timedelta(days=30), 10) == 1
    assert {row["id"] for row in await run(database, "SELECT id FROM chat_files")} == {used, young} - {orphan}


# --- auto-archive ---


async def test_idle_is_who_said_nothing_for_so_long_and_is_neither_pinned_nor_at_work(
    database: Database, seed: World
) -> None:
    old = timedelta(days=100)
    oldest = await idle_since(database, seed, timedelta(days=200))
    plain = await idle_since(database, seed, old)
    failed = await idle_since(database, seed, old, State.E0)
    pinned = await idle_since(database, seed, old)
    await run(database, "UPDATE chats SET pin_order = 1 WHERE id = %(id)s", id=pinned)
    for state in (State.R0, State.I0, State.A0, State.XW):
        await idle_since(database, seed, old, state)
    await idle_since(database, seed, timedelta(days=80))
    spoken = await idle_since(database, seed, old)
    await send(database, seed, spoken, "again")
    assert (await idle(database, 90))[0] == oldest
    assert set(await idle(database, 90)) == {oldest, plain, failed}


async def test_a_word_in_a_childs_chat_keeps_the_family(database: Database, seed: World) -> None:
    root = await idle_since(database, seed, timedelta(days=100))
    child = await child_of(database, seed, root, timedelta(days=10))
    assert await idle(database, 90) == []
    await grow_old(database, child, timedelta(days=95))
    assert await idle(database, 90) == [root]


async def test_what_was_edited_away_is_no_activity(database: Database, seed: World) -> None:
    chat_id = await idle_since(database, seed, timedelta(days=100))
    await send(database, seed, chat_id, "again")
    await run(database, "UPDATE chat_messages SET deleted = true WHERE created_at > now() - interval '1 day'")
    await run(database, "UPDATE chats SET status = 'waiting'")
    assert await idle(database, 90) == [chat_id]


async def test_a_family_is_archived_together_with_one_audit_entry(database: Database, seed: World) -> None:
    root = await idle_since(database, seed, timedelta(days=100))
    child = await child_of(database, seed, root, timedelta(days=100))
    assert await archive(database, root, 90) == 2
    assert await archived(database) == {root, child}
    [entry] = await run(database, "SELECT * FROM audit_logs")
    assert (entry["action"], entry["resource_type"], entry["resource_id"]) == ("write", "chat", root)
    assert (entry["user_id"], entry["organization_id"]) == (seed.owner_id, seed.organization_id)
    assert (entry["resource_target"], entry["status_code"]) == (str(root)[:8], 200)
    assert entry["diff"] == {"archived": {"old": False, "new": True, "secret": False}}
    assert entry["details"]["automatic_subsystem"] == "chat_auto_archive"


async def test_a_chat_is_judged_again_under_its_lock(database: Database, seed: World) -> None:
    chat_id = await idle_since(database, seed, timedelta(days=100))
    assert await idle(database, 90) == [chat_id]
    await send(database, seed, chat_id, "wait, I am back")
    assert await archive(database, chat_id, 90) == 0
    assert await archived(database) == set()
    assert await run(database, "SELECT 1 FROM audit_logs") == []


@pytest.mark.parametrize("member", ["root", "child"])
async def test_a_family_that_somebody_holds_is_left_for_the_next_round(
    database: Database, seed: World, member: str
) -> None:
    root = await idle_since(database, seed, timedelta(days=100))
    child = await child_of(database, seed, root, timedelta(days=100))
    async with database.begin() as session:
        await moves.lock(session, root if member == "root" else child)
        assert await asyncio.wait_for(archive(database, root, 90), 60) == 0
    assert await archive(database, root, 90) == 2


async def test_two_workers_archive_a_family_once(database: Database, seed: World) -> None:
    roots = [await idle_since(database, seed, timedelta(days=100)) for _ in range(8)]
    counts = await asyncio.gather(*(archive(database, root, 90) for root in roots * 2))
    assert sorted(counts) == [0] * 8 + [1] * 8
    [entries] = await run(database, "SELECT count(*) AS n, count(DISTINCT resource_id) AS roots FROM audit_logs")
    assert (entries["n"], entries["roots"]) == (8, 8)


async def test_a_round_is_known_by_its_audit_entries(database: Database, seed: World) -> None:
    ages = (100, 120, 110)
    roots = [await idle_since(database, seed, timedelta(days=age)) for age in ages]
    for root in roots:
        await run(database, "UPDATE chats SET title = %(t)s WHERE id = %(id)s", t=f"chat {root}", id=root)
        await archive(database, root, 90)
    async with database.read() as session:
        rows = await retention.archived_in(session, TICK, 2)
        other = await retention.archived_in(session, "another round", 2)
    assert [row["title"] for row in rows] == [f"chat {roots[1]}", f"chat {roots[2]}"], "oldest first"
    assert {row["total"] for row in rows} == {3}
    assert round((NOW - rows[0]["last_activity"]) / timedelta(days=1)) == 120
    assert other == []


def test_what_is_last_of_one_date_is_over_together() -> None:
    late = datetime(2026, 3, 10, 23, 59, tzinfo=UTC)
    early = datetime(2026, 3, 11, 0, 1, tzinfo=UTC)
    assert retention.midnight_before(late, 2) == datetime(2026, 3, 8, tzinfo=UTC)
    assert retention.midnight_before(early, 2) == datetime(2026, 3, 9, tzinfo=UTC)


@pytest.mark.parametrize("stored", ["-1", "3651", "ten", "1.5", ""])
async def test_a_setting_that_makes_no_sense_is_said_and_not_guessed(
    database: Database, seed: World, stored: str
) -> None:
    async with database.begin() as session:
        await preferences.put_site(session, {retention.RETENTION: stored})
        with pytest.raises(ValueError, match="is no number of days"):
            await retention.days(session, retention.RETENTION)
        assert await retention.days(session, retention.AUTO_ARCHIVE) == 0


# --- debug runs ---


async def recorded(database: Database, chat_id: UUID, age: timedelta, *, ended: bool = True) -> UUID:
    async with database.begin() as session:
        [tip] = await fetch(session, "SELECT max(id) AS id FROM chat_messages WHERE chat_id = %(id)s", {"id": chat_id})
        place = await debug.begin(session, debug.Begun(chat_id, "quickgen", "generate", {}, tip["id"], uuid4()))
        assert place is not None
        if ended:
            await debug.end(session, place, debug.Ended("completed", "completed"))
        await fetch(
            session, "UPDATE chat_debug_runs SET updated_at = now() - %(age)s WHERE id = %(id)s",
            {"age": age, "id": place.run_id},
        )  # fmt: skip
    return place.run_id


async def debug_runs(database: Database) -> dict[UUID, str]:
    return {row["id"]: row["status"] for row in await run(database, "SELECT id, status FROM chat_debug_runs")}


async def test_debug_runs_go_when_they_are_old_also_unfinished_ones(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    await recorded(database, chat_id, timedelta(days=31))
    await recorded(database, chat_id, timedelta(days=31), ended=False)
    young = await recorded(database, chat_id, timedelta(days=29))
    async with database.begin() as session:
        assert await retention.forget_debug_before(session, NOW - timedelta(days=30), 10) == 2
    assert set(await debug_runs(database)) == {young}
    assert len(await run(database, "SELECT run_id FROM chat_debug_steps")) == 1


async def test_debug_runs_of_what_is_gone_go_after_a_moment(database: Database, seed: World) -> None:
    kept, edited, put_away = [await chat_in(database, seed, State.W) for _ in range(3)]
    minute, now = timedelta(minutes=1), timedelta()
    runs = {chat: await recorded(database, chat, minute) for chat in (kept, edited, put_away)}
    fresh = await recorded(database, put_away, now)
    await run(database, "UPDATE chat_messages SET deleted = true WHERE chat_id = %(id)s", id=edited)
    async with database.begin() as session:
        await moves.archive(session, put_away)
    async with database.begin() as session:
        assert await retention.forget_debug_of_the_gone(session, 10) == 2
    assert set(await debug_runs(database)) == {runs[kept], fresh}, "somebody may still be writing the fresh one"


async def test_a_run_that_nobody_ended_is_ended_when_its_chat_rests(database: Database, seed: World) -> None:
    hour = timedelta(hours=1)
    resting, working = await chat_in(database, seed, State.W), await chat_in(database, seed, State.R0)
    left = await recorded(database, resting, hour, ended=False)
    at_work = await recorded(database, working, hour, ended=False)
    lost = await recorded(database, working, timedelta(days=2), ended=False)
    fresh = await recorded(database, resting, timedelta(minutes=1), ended=False)
    whole = await recorded(database, resting, hour)
    await run(
        database, "UPDATE chat_debug_runs SET status = 'in_progress', finished_at = NULL WHERE id = %(id)s", id=whole
    )
    async with database.begin() as session:
        assert await retention.close_stale_debug(session, 10) == 3
    assert await debug_runs(database) == {
        left: "interrupted",
        lost: "interrupted",
        whole: "completed",
        at_work: "in_progress",
        fresh: "in_progress",
    }
    statuses = await run(database, "SELECT status FROM chat_debug_steps WHERE run_id = %(id)s", id=left)
    assert statuses == [{"status": "interrupted"}], "steps end together with their run"
