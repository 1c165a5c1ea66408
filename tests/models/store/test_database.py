"""The door to Postgres."""

import asyncio
import contextlib

import psycopg
import pytest

from models.store.database import Database, fetch, fetch_together


async def test_a_block_that_raises_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        async with database.begin() as session:
            await fetch(session, "INSERT INTO site_configs (key, value) VALUES ('a', 'b')")
            raise RuntimeError("stop")
    async with database.read() as session:
        assert await fetch(session, "SELECT * FROM site_configs") == []


async def test_plain_statements_share_the_sessions_transaction(database: Database) -> None:
    async with database.begin() as session:
        await fetch(session, "INSERT INTO site_configs (key, value) VALUES (%(key)s, 'b')", {"key": "a"})
        async with database.read() as other:
            assert await fetch(other, "SELECT * FROM site_configs") == []
    async with database.read() as other:
        assert [row["key"] for row in await fetch(other, "SELECT key FROM site_configs")] == ["a"]


async def test_a_pooled_connection_that_the_server_hung_up_is_replaced(database: Database) -> None:
    async with database.read() as session:
        [row] = await fetch(session, "SELECT pg_backend_pid() AS pid")
    with psycopg.connect(database.url, autocommit=True) as killer:
        killer.execute("SELECT pg_terminate_backend(%s)", [row["pid"]])
    await asyncio.sleep(0.1)
    async with database.begin() as session:
        [again] = await fetch(session, "SELECT pg_backend_pid() AS pid")
    assert again["pid"] != row["pid"]


async def test_a_lost_listener_reconnects_and_says_so(database: Database) -> None:
    listening = database.listen(["x"])
    assert await anext(listening) is None
    with psycopg.connect(database.url, autocommit=True) as other:
        other.execute("NOTIFY x, 'one'")
        assert (await anext(listening)).payload == "one"  # type: ignore[union-attr]
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    assert await anext(listening) is None
    await listening.aclose()


async def test_a_trip_that_was_given_up_costs_its_connection_and_no_other(database: Database) -> None:
    async def slow() -> None:
        async with database.begin() as session:
            await fetch(session, "INSERT INTO site_configs (key, value) VALUES ('a', 'b')")
            await fetch(session, "SELECT pg_sleep(30)")

    for _ in range(12):  # more than the pool holds
        work = asyncio.create_task(slow())
        await asyncio.sleep(0.05)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    async with database.begin() as session:
        assert await fetch(session, "SELECT * FROM site_configs") == []


async def test_a_statement_that_fails_skips_the_rest_of_its_trip_and_the_commit(database: Database) -> None:
    for _ in range(6):  # before and after the statements are prepared
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with database.begin() as session:
                await fetch_together(
                    session,
                    [
                        ("INSERT INTO site_configs (key, value) VALUES ('a', 'b')", None),
                        ("SELECT 1 / %(none)s AS x", {"none": 0}),
                        ("INSERT INTO site_configs (key, value) VALUES ('c', 'd')", None),
                    ],
                )
        with pytest.raises(psycopg.errors.NotNullViolation):
            async with database.begin() as session:
                await fetch(session, "INSERT INTO site_configs (key, value) VALUES ('a', NULL)", last=True)
    async with database.read() as session:
        assert await fetch(session, "SELECT * FROM site_configs") == []


async def test_a_last_statement_is_committed_with_it_and_nothing_may_follow(database: Database) -> None:
    with pytest.raises(RuntimeError, match="over"):
        async with database.begin() as session:
            await fetch(session, "INSERT INTO site_configs (key, value) VALUES ('a', 'b')", last=True)
            await fetch(session, "SELECT 1")
    async with database.read() as session:
        assert [row["key"] for row in await fetch(session, "SELECT key FROM site_configs")] == ["a"]


async def test_a_failure_that_was_swallowed_is_told_by_the_commit(database: Database) -> None:
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        async with database.begin() as session:
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                await fetch(session, "SELECT * FROM nowhere")


async def test_a_savepoint_undoes_its_block_alone(database: Database) -> None:
    async with database.begin() as session:
        await fetch(session, "INSERT INTO site_configs (key, value) VALUES ('a', 'b')")
        with contextlib.suppress(psycopg.errors.UniqueViolation):
            async with session.begin_nested():
                await fetch(session, "INSERT INTO site_configs (key, value) VALUES ('c', 'd'), ('a', 'b')")
        async with session.begin_nested():
            await fetch(session, "INSERT INTO site_configs (key, value) VALUES ('e', 'f')")
    async with database.read() as session:
        found = await fetch(session, "SELECT key FROM site_configs ORDER BY key")
    assert [row["key"] for row in found] == ["a", "e"]


async def test_more_than_the_socket_takes_at_once_goes_both_ways(database: Database) -> None:
    words = "x" * 8_000_000
    async with database.begin() as session:
        rows = await fetch_together(session, [("SELECT %(words)s::text AS words", {"words": words})] * 3)
    assert all(found == [{"words": words}] for found in rows)


async def test_a_trip_whose_statements_fail_and_are_prepared_leaves_its_connection_whole(database: Database) -> None:
    async with database.begin() as session:
        await fetch(session, "SELECT 1")
        for _ in range(6):
            await fetch(session, "SAVEPOINT here")
            with pytest.raises(psycopg.errors.UndefinedColumn):
                await fetch_together(
                    session,
                    [("SELECT nothing_of_the_kind", None), ("RELEASE SAVEPOINT here", None), ("SELECT 3", None)],
                )
            await fetch(session, "ROLLBACK TO SAVEPOINT here")
        assert await fetch(session, "SELECT 2 AS found") == [{"found": 2}]


async def test_the_bell_rings_once_after_each_commit_that_asked_for_it(database: Database) -> None:
    rung: list[int] = []
    database.bell = lambda: rung.append(1)
    async with database.begin() as session:
        await fetch(session, "SELECT 1")
        session.ring()
        session.ring()
        assert rung == []
    assert len(rung) == 1
    async with database.begin() as session:
        await fetch(session, "SELECT 1", last=True)
        assert len(rung) == 1
        session.ring()
        assert len(rung) == 2
    async with database.begin() as session:
        session.ring()
        await fetch(session, "SELECT 1", last=True)
        assert len(rung) == 3
    async with database.begin() as session:
        await fetch(session, "SELECT 1")
    with contextlib.suppress(ArithmeticError):
        async with database.begin() as session:
            await fetch(session, "SELECT 1")
            session.ring()
            raise ArithmeticError
    assert len(rung) == 3


async def test_what_is_told_follows_the_commit_and_nothing_else(database: Database) -> None:
    heard: list[str] = []
    async with contextlib.aclosing(database.listen(["news"])) as notices:
        assert await anext(notices) is None
        async with database.begin() as session:
            with contextlib.suppress(ArithmeticError):
                async with session.begin_nested():
                    session.tell("news", "of what was undone")
                    raise ArithmeticError
            session.tell("news", "first")
            await fetch(session, "SELECT 1")
            session.tell("news", "second")
        with contextlib.suppress(ArithmeticError):
            async with database.begin() as session:
                session.tell("news", "of what was rolled back")
                await fetch(session, "SELECT 1")
                raise ArithmeticError
        async with database.begin() as session:
            session.tell("news", "with the last statement")
            await fetch(session, "SELECT 1", last=True)
        async with database.read() as session:  # the connection that was used last
            [shown] = await fetch(session, "SHOW synchronous_commit")
        async for notice in notices:
            assert notice is not None
            heard.append(notice.payload)
            if len(heard) == 3:
                break
    assert heard == ["first", "second", "with the last statement"]
    assert shown == {"synchronous_commit": "on"}
    with pytest.raises(RuntimeError):
        database.read().tell("news", "of nothing")


async def test_what_a_transaction_finishes_with_is_committed_with_it_or_nothing_is(database: Database) -> None:
    add = "INSERT INTO site_configs (key, value) VALUES (%(key)s, %(value)s)"
    async with database.begin() as session:
        with pytest.raises(RuntimeError, match="no transaction"):
            session.finish_with(add, {"key": "early", "value": "x"})
        await fetch(session, add, {"key": "a", "value": "x"})
        session.finish_with(add, {"key": "z", "value": "x"})
        with contextlib.suppress(ArithmeticError):
            async with session.begin_nested():
                await fetch(session, add, {"key": "undone", "value": "x"})
                session.finish_with(add, {"key": "undone with it", "value": "x"})
                raise ArithmeticError
        assert len(await fetch(session, "SELECT * FROM site_configs")) == 1
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with database.begin() as session:
            await fetch(session, add, {"key": "b", "value": "x"})
            session.finish_with(add, {"key": "a", "value": "y"})
    async with database.begin() as session:
        await fetch(session, "SELECT 1")
        session.finish_with(add, {"key": "c", "value": "x"})
        await fetch(session, "SELECT 1", last=True)
    async with database.read() as session:
        found = await fetch(session, "SELECT key FROM site_configs ORDER BY key")
    assert [row["key"] for row in found] == ["a", "c", "z"]
