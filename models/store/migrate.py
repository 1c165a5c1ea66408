"""Bring a database to the newest schema."""

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from alembic.config import Config

HERE = Path(__file__).parent / "migrations"


def config(database_url: str) -> "Config":
    """Alembic's configuration for this database."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(HERE))
    made.attributes["database_url"] = database_url
    return made


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate; processes that race wait for each other under an advisory lock (migrations/env.py)."""
    # Most starts find nothing to do: loading Alembic and the tables would be half of their work.
    if revision == "head" and current(database_url) == head():
        return
    from alembic import command

    command.upgrade(config(database_url), revision)


def current(database_url: str) -> str | None:
    """The revision that the database is at; None for one that was never migrated."""
    url = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(url, autocommit=True, options="-c lock_timeout=4s") as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return found[0] if found else None


def head() -> str:
    """The revision that this code needs: the number of the last migration, which its file's name begins with."""
    return max(file.name.partition("_")[0] for file in (HERE / "versions").glob("[0-9]*_*.py"))
