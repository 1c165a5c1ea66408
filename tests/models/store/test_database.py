"""The door to Postgres."""

import asyncio

import psycopg
import pytest

from models.store.database import Database, fetch


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
