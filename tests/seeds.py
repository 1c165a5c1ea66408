"""A small world for tests: the least a chat needs to exist."""

from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import SQLModel

from models.store.database import Session, fetch
from models.tables.catalog import AIProvider, ModelConfig
from models.tables.people import Member, Organization, User


@dataclass(frozen=True, slots=True)
class World:
    owner_id: UUID
    organization_id: UUID
    provider_id: UUID
    model_config_id: UUID


async def insert(session: Session, *rows: SQLModel) -> None:
    """Store rows of our tables as they are; what is None and has a default gets it from the database."""
    for row in rows:
        table = SQLModel.metadata.tables[str(row.__tablename__)]
        values = {column.name: getattr(row, column.name) for column in table.columns}
        values = {name: value for name, value in values.items() if value is not None}
        for name in values:
            if isinstance(table.columns[name].type, JSONB):
                values[name] = orjson.dumps(values[name]).decode()
        marks = ", ".join(f"%({name})s" for name in values)
        await fetch(session, f"INSERT INTO {table.name} ({', '.join(values)}) VALUES ({marks})", values)


async def plant(session: Session, *, provider_type: str = "demo", model: str = "demo-fast") -> World:
    """An owner who may chat, their organization, one provider without a key, and its default model."""
    user = User(username="ada", email="ada@example.com", name="Ada", roles=["owner"])
    organization = Organization(name="acme", display_name="Acme", is_default=True)
    member = Member(organization_id=organization.id, user_id=user.id, roles=["organization-admin", "agents-access"])
    provider = AIProvider(type=provider_type, name="demo", enabled=True, base_url="http://127.0.0.1:1/v1")
    config = ModelConfig(ai_provider_id=provider.id, model=model, is_default=True, context_limit=100_000, options={})
    await insert(session, user, organization, member, provider, config)
    return World(user.id, organization.id, provider.id, config.id)
