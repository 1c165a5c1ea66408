"""MCP servers as clients send and see them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.requests import Body

ADMINS = ("oauth2_client_id", "oauth2_auth_url", "oauth2_token_url", "oauth2_scopes", "api_key_header")
"""Fields that only those see who run the deployment; empty ones are left out."""


class McpServer(BaseModel):
    """A server whose tools chats may use."""

    id: UUID
    display_name: str
    slug: str
    description: str
    icon_url: str
    transport: str = Field(examples=["streamable_http"])
    url: str
    auth_type: str = Field(examples=["oauth2"])
    oauth2_client_id: str | None = Field(default=None, description="for admins")
    oauth2_auth_url: str | None = Field(default=None, description="for admins")
    oauth2_token_url: str | None = Field(default=None, description="for admins")
    oauth2_scopes: str | None = Field(default=None, description="for admins")
    api_key_header: str | None = Field(default=None, description="for admins")
    has_oauth2_secret: bool
    has_api_key: bool
    has_custom_headers: bool
    tool_allow_list: list[str]
    tool_deny_list: list[str]
    availability: str = Field(examples=["default_on"])
    enabled: bool
    model_intent: bool
    allow_in_plan_mode: bool
    forward_coder_headers: bool
    trust_annotations: bool = Field(description="Calls of tools that say they only read are run again after a crash.")
    created_at: datetime
    updated_at: datetime
    auth_connected: bool = Field(description="The caller has a token, or needs none.")


class _Fields(Body):
    description: str = Field(default="", max_length=4096)
    icon_url: str = Field(default="", max_length=2048)
    oauth2_client_id: str = Field(default="", max_length=1024)
    oauth2_client_secret: str = Field(default="", max_length=8192)
    oauth2_auth_url: str = Field(default="", max_length=2048)
    oauth2_token_url: str = Field(default="", max_length=2048)
    oauth2_scopes: str = Field(default="", max_length=4096)
    api_key_header: str = Field(default="", max_length=256)
    api_key_value: str = Field(default="", max_length=8192)
    custom_headers: dict[str, str] = Field(default_factory=dict)
    tool_allow_list: list[str] = Field(default_factory=list)
    tool_deny_list: list[str] = Field(default_factory=list)
    enabled: bool = False
    model_intent: bool = False
    allow_in_plan_mode: bool = False
    forward_coder_headers: bool = False
    trust_annotations: bool = False


class CreateMcpServer(_Fields):
    """A new server. With `oauth2` either all of client id, auth URL and token URL are given, or they are found out."""

    display_name: str = Field(default="", max_length=256, examples=["Issue tracker"])
    slug: str = Field(default="", max_length=256, examples=["tracker"])
    transport: str = Field(default="", examples=["streamable_http"])
    url: str = Field(default="", examples=["https://tracker.example/mcp"])
    auth_type: str = Field(default="", examples=["none"])
    availability: str = Field(default="", examples=["default_off"])


class UpdateMcpServer(_Fields):
    """What to change. A new `auth_type` clears what belongs to the old one."""

    display_name: str = Field(default="", max_length=256)
    slug: str = Field(default="", max_length=256)
    transport: str = ""
    url: str = ""
    auth_type: str = ""
    availability: str = ""


def shown(row: Mapping[str, Any], *, admin: bool) -> dict[str, Any]:
    """McpServer of a row; secrets never."""
    made = {name: row[name] for name in McpServer.model_fields if name in row and name not in ADMINS}
    if admin:
        made |= {name: row[name] for name in ADMINS if row[name]}
    return made | {
        "has_oauth2_secret": bool(row["oauth2_client_secret"]),
        "has_api_key": bool(row["api_key_value"]),
        "has_custom_headers": bool(row["custom_headers"]),
    }
