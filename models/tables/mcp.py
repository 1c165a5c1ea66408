"""MCP servers: tools that live elsewhere, and what people may show there."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from models.tables.rows import identity, moment, now

TRANSPORTS = ("streamable_http", "sse")
AUTH_TYPES = ("none", "oauth2", "api_key", "custom_headers", "user_oidc")
AVAILABILITIES = ("force_on", "default_on", "default_off")


def _empty(description: str | None = None) -> Any:
    return Field(default="", description=description, sa_column_kwargs={"server_default": ""})


def _off() -> Any:
    return Field(default=False, sa_column_kwargs={"server_default": text("false")})


def _names() -> Any:
    return Field(default_factory=list, sa_type=ARRAY(String), sa_column_kwargs={"server_default": text("'{}'")})


class McpServerConfig(SQLModel, table=True):
    """A server whose tools chats may use. `oauth2_client_secret`, `api_key_value` and `custom_headers` are encrypted.

    `oauth2_resource` is what tokens are asked for (RFC 8707), where discovery told it.
    """

    __tablename__ = "mcp_server_configs"
    __table_args__ = (
        CheckConstraint(f"transport IN {TRANSPORTS}", name="transport"),
        CheckConstraint(f"auth_type IN {AUTH_TYPES}", name="auth_type"),
        CheckConstraint(f"availability IN {AVAILABILITIES}", name="availability"),
        UniqueConstraint("slug"),
    )

    id: UUID = identity()
    display_name: str
    slug: str
    description: str = _empty()
    icon_url: str = _empty()
    transport: str
    url: str
    auth_type: str
    oauth2_client_id: str = _empty()
    oauth2_client_secret: str = _empty("encrypted")
    oauth2_auth_url: str = _empty()
    oauth2_token_url: str = _empty()
    oauth2_scopes: str = _empty()
    oauth2_resource: str = _empty()
    api_key_header: str = _empty()
    api_key_value: str = _empty("encrypted")
    custom_headers: str = _empty("encrypted")
    tool_allow_list: list[str] = _names()
    tool_deny_list: list[str] = _names()
    availability: str
    enabled: bool = _off()
    model_intent: bool = _off()
    allow_in_plan_mode: bool = _off()
    forward_coder_headers: bool = _off()
    trust_annotations: bool = _off()
    created_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    updated_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = now()
    updated_at: datetime = now()


class McpServerUserToken(SQLModel, table=True):
    """What a person may show an OAuth2 server; the tokens are encrypted."""

    __tablename__ = "mcp_server_user_tokens"
    __table_args__ = (
        UniqueConstraint("mcp_server_config_id", "user_id"),
        Index("ix_mcp_server_user_tokens_user_id", "user_id"),
    )

    id: UUID = identity()
    mcp_server_config_id: UUID = Field(foreign_key="mcp_server_configs.id", ondelete="CASCADE")
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    access_token: str = Field(description="encrypted")
    refresh_token: str = _empty("encrypted")
    token_type: str = _empty()
    expiry: datetime | None = moment()
    created_at: datetime = now()
    updated_at: datetime = now()
