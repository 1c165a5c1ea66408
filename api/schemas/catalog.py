"""Providers and models as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from api.requests import Body
from api.schemas.call_config import CallConfig, Int64, ModelCost
from models.rules import suggestions
from models.rules.suggestions import Table
from models.store.database import Row

Text = Annotated[str, AfterValidator(lambda value: value.replace("\x00", "").strip())]


class ProviderKeyView(BaseModel):
    """A key that is set, unreadable but recognisable."""

    id: UUID
    masked: str
    created_at: datetime


class ProviderSettings(Body):
    """What a provider needs besides address and key. Secrets go in and never come out."""

    kind: Text | None = Field(default=None, alias="_type", description="the provider's type")
    version: int | None = Field(default=None, alias="_version")
    region: Text | None = Field(default=None, description="bedrock", examples=["us-east-1"])
    access_key: Text | None = Field(default=None, description="bedrock; kept when absent")
    access_key_secret: Text | None = Field(default=None, description="bedrock; kept when absent")
    session_token: Text | None = Field(default=None, description="bedrock; kept when absent")
    api_version: Text | None = Field(default=None, description="azure", examples=["2025-04-01-preview"])


class ProviderSettingsView(BaseModel):
    kind: str = Field(alias="_type")
    version: int = Field(alias="_version")
    region: str | None = None
    api_version: str | None = None


class ProviderView(BaseModel):
    """A source of models."""

    id: UUID
    type: str
    name: str
    display_name: str
    enabled: bool
    base_url: str
    api_keys: list[ProviderKeyView]
    settings: ProviderSettingsView | None
    central_api_key_enabled: bool
    allow_user_api_key: bool
    allow_central_api_key_fallback: bool
    created_at: datetime
    updated_at: datetime


class CreateProvider(Body):
    """A new provider. `enabled` is false unless it is sent."""

    type: Text = Field(default="", examples=["openai-compat"])
    name: Text = Field(default="", examples=["local"])
    display_name: Text = Field(default="", max_length=256, examples=["Local models"])
    enabled: bool = Field(default=False, examples=[True])
    base_url: Text = Field(default="", examples=["http://127.0.0.1:8000/v1"])
    api_keys: list[str] = Field(default_factory=list, max_length=50, examples=[["sk-secret"]])
    settings: ProviderSettings | None = None
    central_api_key_enabled: bool = Field(
        default=True, description="whether chats may use the provider's keys, or the server's where none are needed"
    )
    allow_user_api_key: bool = Field(default=True, description="whether people may bring keys of their own")
    allow_central_api_key_fallback: bool | None = Field(
        default=None,
        description="whether those without a key of their own use the provider's; absent: where both are allowed",
    )


class ChangedKey(Body):
    """`id` keeps a key, `api_key` adds one; keys that are not named are deleted."""

    id: UUID | None = None
    api_key: str | None = None


class UpdateProvider(Body):
    """What to change; at least one field."""

    display_name: Text | None = Field(default=None, max_length=256)
    enabled: bool | None = None
    base_url: Text | None = None
    api_keys: list[ChangedKey] | None = Field(default=None, max_length=50)
    settings: ProviderSettings | None = None
    central_api_key_enabled: bool | None = None
    allow_user_api_key: bool | None = None
    allow_central_api_key_fallback: bool | None = Field(
        default=None, description="absent: as it was, as long as both kinds of keys are allowed"
    )


class ProviderTest(BaseModel):
    """What came of asking a provider for its models, with the address and the key that turns use."""

    ok: bool
    failed: Literal["secret", "key", "address", "tls", "timeout", "credentials", "answer"] | None = Field(
        default=None,
        description="where it ended: the stored secret cannot be read; there is no key to ask with; the address cannot "
        "be reached, or not securely, or not in time; the credentials were refused; the answer makes no sense",
        examples=["credentials"],
    )
    message: str = Field(description="what happened, for people; never a key", examples=["It refused the credentials."])
    status_code: int | None = Field(default=None, description="of the provider's answer", examples=[401])
    latency_ms: int
    model_count: int


class DiscoveredModel(BaseModel):
    """A model that the provider lists. What it does not tell is absent."""

    id: str = Field(description="the `model` of a model configuration", examples=["gpt-5-mini"])
    display_name: str | None = None
    context_limit: int | None = None
    max_output_tokens: int | None = None
    configured: bool = Field(description="whether a model configuration of this provider names it")


class DiscoveredModels(ProviderTest):
    models: list[DiscoveredModel]


class ModelConfigView(BaseModel):
    """A model that chats can use."""

    id: UUID
    provider: str
    ai_provider_id: UUID
    model: str
    display_name: str
    enabled: bool
    is_default: bool
    context_limit: int
    compression_threshold: int
    call_config: CallConfig | None = Field(default=None, alias="model_config")
    suggested_cost: ModelCost | None = Field(
        default=None, description="for a model without prices: those of a public table; never used by itself"
    )
    created_at: datetime
    updated_at: datetime


class CreateModelConfig(Body):
    """A new model. `provider` is ignored: the AI provider's type counts."""

    ai_provider_id: UUID | None = Field(default=None, examples=["0199c0de-22bb-7c11-9d2f-5b8f2a6f0c01"])
    provider: str | None = None
    model: Text = Field(default="", max_length=512, examples=["gpt-5-mini"])
    display_name: Text = Field(default="", max_length=256)
    enabled: bool = True
    is_default: bool = False
    context_limit: Int64 | None = Field(default=None, examples=[128000])
    compression_threshold: Int64 | None = Field(default=None, examples=[70])
    call_config: CallConfig | None = Field(default=None, alias="model_config")


class UpdateModelConfig(Body):
    """What to change. An empty `model` or `display_name` keeps the old one; `model_config` is replaced whole."""

    ai_provider_id: UUID | None = None
    provider: str | None = None
    model: Text | None = Field(default=None, max_length=512)
    display_name: Text | None = Field(default=None, max_length=256)
    enabled: bool | None = None
    is_default: bool | None = None
    context_limit: Int64 | None = None
    compression_threshold: Int64 | None = None
    call_config: CallConfig | None = Field(default=None, alias="model_config")


class CatalogModel(BaseModel):
    id: str = Field(description="provider:model", examples=["openai:gpt-5-mini"])
    provider: str
    model: str
    display_name: str


class CatalogProvider(BaseModel):
    """A type of provider, and whether its models can be used."""

    provider: str
    available: bool
    unavailable_reason: str | None = Field(
        default=None,
        description="`user_api_key_required`: the caller can bring one; `missing_api_key`: only administrators can.",
        examples=["user_api_key_required"],
    )
    models: list[CatalogModel]


class Catalog(BaseModel):
    providers: list[CatalogProvider]


def model_config(row: Row, prices: Table | None = None) -> dict[str, Any]:
    """ModelConfigView of a row of `catalog.get`; with `prices`, also what an unpriced model probably costs."""
    shown = {key: value for key, value in row.items() if key != "options"}
    if row["options"]:
        shown["model_config"] = row["options"]
    if prices and not row["options"].get("cost"):
        suggested = suggestions.suggest(prices, row["provider"], row["model"])
        if suggested is not None:
            shown["suggested_cost"] = suggested
    return shown
