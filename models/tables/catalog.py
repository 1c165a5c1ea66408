"""The catalogue: AI providers, their keys, model configurations, and deployment settings."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from models.rules.profiles import PROVIDER_TYPES
from models.tables.rows import document, identity, moment, now


class AIProvider(SQLModel, table=True):
    __tablename__ = "ai_providers"
    __table_args__ = (
        CheckConstraint(f"type IN {PROVIDER_TYPES}", name="type"),
        CheckConstraint("central_api_key_enabled OR allow_user_api_key", name="policy"),
        CheckConstraint(
            "NOT allow_central_api_key_fallback OR (central_api_key_enabled AND allow_user_api_key)", name="fallback"
        ),
        Index("uq_ai_providers_name", "name", unique=True, postgresql_where=text("NOT deleted")),
    )

    id: UUID = identity()
    type: str
    name: str
    display_name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    enabled: bool
    deleted: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    base_url: str
    settings: str | None = Field(default=None, description="encrypted JSON")
    central_api_key_enabled: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    allow_user_api_key: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    allow_central_api_key_fallback: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    created_at: datetime = now()
    updated_at: datetime = now()


class AIProviderKey(SQLModel, table=True):
    __tablename__ = "ai_provider_keys"
    __table_args__ = (Index("ix_ai_provider_keys_provider_id", "provider_id"),)

    id: UUID = identity()
    provider_id: UUID = Field(foreign_key="ai_providers.id", ondelete="CASCADE")
    api_key: str = Field(description="encrypted")
    masked: str
    created_at: datetime = now()
    updated_at: datetime = now()


class UserAIProviderKey(SQLModel, table=True):
    """A person's own key of a provider, used for their chats before the provider's."""

    __tablename__ = "user_ai_provider_keys"
    __table_args__ = (Index("ix_user_ai_provider_keys_ai_provider_id", "ai_provider_id"),)

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    ai_provider_id: UUID = Field(foreign_key="ai_providers.id", ondelete="CASCADE", primary_key=True)
    api_key: str = Field(description="encrypted")
    created_at: datetime = now()
    updated_at: datetime = now()


class ModelConfig(SQLModel, table=True):
    __tablename__ = "chat_model_configs"
    __table_args__ = (
        CheckConstraint("context_limit > 0", name="context_limit"),
        CheckConstraint("compression_threshold BETWEEN 0 AND 100", name="compression_threshold"),
        Index(
            "uq_chat_model_configs_default",
            "is_default",
            unique=True,
            postgresql_where=text("is_default AND NOT deleted"),
        ),
        Index("ix_chat_model_configs_ai_provider_id", "ai_provider_id"),
    )

    id: UUID = identity()
    ai_provider_id: UUID = Field(foreign_key="ai_providers.id")
    model: str
    display_name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    enabled: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    is_default: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    context_limit: int = Field(sa_type=BigInteger)
    compression_threshold: int = Field(default=70, sa_column_kwargs={"server_default": "70"})
    options: dict[str, Any] = document("{}")
    created_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    updated_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    deleted: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    deleted_at: datetime | None = moment()
    created_at: datetime = now()
    updated_at: datetime = now()


class SiteConfig(SQLModel, table=True):
    __tablename__ = "site_configs"

    key: str = Field(primary_key=True)
    value: str
    updated_at: datetime = now()
