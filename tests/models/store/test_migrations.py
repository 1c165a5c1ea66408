"""The migrations make what the tables say, from nothing and from each other."""

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from models.store.migrate import config, current, head, upgrade


def test_the_tables_and_the_migrations_agree(database_url: str) -> None:
    command.check(config(database_url))


def test_the_last_files_number_is_the_head(database_url: str) -> None:
    assert ScriptDirectory.from_config(config(database_url)).get_heads() == [head()]


def test_a_database_at_an_older_revision_is_migrated(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert current(database_url) is None
    upgrade(database_url)
    assert current(database_url) == head()


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(head(),)]


def test_a_migration_waits_no_longer_than_its_lock_timeout(database_url: str) -> None:
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Exception, match="lock timeout"):
            upgrade(database_url)


def test_the_stream_log_is_unlogged_and_ids_are_global_sequences(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT relpersistence FROM pg_class WHERE relname = 'stream_log'").fetchone() == (
            "u",
        )
        rows = connection.execute(
            "SELECT table_name FROM information_schema.columns WHERE is_identity = 'YES' ORDER BY 1"
        ).fetchall()
    assert [name for (name,) in rows] == [
        "agent_jobs",
        "chat_messages",
        "chat_queued_messages",
        "webhook_deliveries",
        "webpush_deliveries",
        "workspace_agent_logs",
        "workspace_build_logs",
    ]
