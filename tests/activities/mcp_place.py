"""A deployment with MCP servers for tests: rows of its configuration, and workers that may ask this machine."""

from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from models.settings import Settings
from models.store import mcp_servers
from models.store.database import Database
from models.store.secrets import Cipher
from tests.activities.stack import Stack

HERE = frozenset({"127.0.0.0/8"})


def allowing(settings: Settings) -> Settings:
    """Servers of tests are on this machine."""
    return settings.model_copy(update={"mcp_allowed_networks": HERE})


async def configured(database: Database, settings: Settings, owner_id: UUID, url: str, **fields: Any) -> UUID:
    """A server of this address, enabled, without sign-in and chosen by nobody unless `fields` say otherwise."""
    server_id = uuid7()
    chosen: dict[str, Any] = {
        "display_name": "Fake",
        "slug": "fake",
        "transport": "streamable_http",
        "url": url,
        "auth_type": "none",
        "availability": "default_off",
        "enabled": True,
        **fields,
    }
    async with database.begin() as session:
        cipher = Cipher(settings.secret_keys.get_secret_value())
        await mcp_servers.create(session, cipher, server_id, chosen, owner_id)
    return server_id


async def serve(stack: Stack, url: str, **fields: Any) -> UUID:
    """The same for the stack, whose workers may ask it from now on."""
    stack.settings = allowing(stack.settings)
    return await configured(stack.database, stack.settings, stack.world.owner_id, url, **fields)
