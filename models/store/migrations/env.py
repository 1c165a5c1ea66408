"""Alembic's environment: one transaction, short lock waits, one migrator at a time."""

from alembic import context
from sqlalchemy import create_engine, pool, text

import models.tables.agents
import models.tables.budgets
import models.tables.catalog
import models.tables.chats
import models.tables.debug
import models.tables.diffs
import models.tables.files
import models.tables.governance
import models.tables.identities
import models.tables.mcp
import models.tables.messages
import models.tables.people
import models.tables.push
import models.tables.requests
import models.tables.templates
import models.tables.tools
import models.tables.webhooks
import models.tables.words
import models.tables.workspaces  # noqa: F401
from models.tables.rows import metadata

MIGRATION_LOCK = 7_283_911_455  # any constant of our own


def run() -> None:
    url = context.config.attributes["database_url"].replace("postgresql+psycopg://", "postgresql://", 1)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=pool.NullPool)
    with engine.connect() as connection:
        # A migration that cannot get its lock must fail, not queue every reader behind it.
        connection.execute(text("SET lock_timeout = '4s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        try:
            context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
    engine.dispose()


run()
