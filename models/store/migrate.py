"""Bring a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

HERE = Path(__file__).parent / "migrations"


def config(database_url: str) -> Config:
    """Alembic's configuration for this database."""
    made = Config()
    made.set_main_option("script_location", str(HERE))
    made.attributes["database_url"] = database_url
    return made


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate; processes that race wait for each other under an advisory lock (migrations/env.py)."""
    command.upgrade(config(database_url), revision)


def head() -> str:
    """The revision that this code needs."""
    found = ScriptDirectory(str(HERE)).get_current_head()
    assert found is not None
    return found
