"""A small world for tests: the least a chat needs to exist."""

from dataclasses import dataclass
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.catalog import AIProvider, ModelConfig
from models.tables.people import Member, Organization, User


@dataclass(frozen=True, slots=True)
class World:
    owner_id: UUID
    organization_id: UUID
    provider_id: UUID
    model_config_id: UUID


async def plant(session: AsyncSession, *, provider_type: str = "demo", model: str = "demo-fast") -> World:
    """An owner who may chat, their organization, one provider without a key, and its default model."""
    user = User(username="ada", email="ada@example.com", name="Ada", roles=["owner"])
    organization = Organization(name="acme", display_name="Acme", is_default=True)
    session.add_all([user, organization])
    await session.flush()
    session.add(Member(organization_id=organization.id, user_id=user.id, roles=["organization-admin", "agents-access"]))
    provider = AIProvider(type=provider_type, name="demo", enabled=True, base_url="http://127.0.0.1:1/v1")
    session.add(provider)
    await session.flush()
    config = ModelConfig(ai_provider_id=provider.id, model=model, is_default=True, context_limit=100_000, options={})
    session.add(config)
    await session.flush()
    return World(user.id, organization.id, provider.id, config.id)
