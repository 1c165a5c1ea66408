"""Outbound webhooks as they are asked for and shown."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.requests import Body
from models.rules.webhooks import EVENTS

_URL = "https://example.com/hooks/turnstone"
_EVENT = "chat.turn_finished"


class CreateWebhook(Body):
    """Where events go."""

    model_config = ConfigDict(
        json_schema_extra={"required": ["url"], "examples": [{"url": _URL, "events": [_EVENT, "chat.turn_failed"]}]}
    )

    url: str = Field(default="", description="http or https; redirects are not followed.")
    events: list[str] = Field(
        default_factory=list,
        description="Empty means all of them.",
        json_schema_extra={"items": {"enum": list(EVENTS)}},
    )
    description: str = Field(default="", description="For people; at most 500 characters.")


class UpdateWebhook(Body):
    """What is absent stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}, {"events": []}]})

    url: str | None = None
    events: list[str] | None = Field(default=None, json_schema_extra={"items": {"enum": list(EVENTS)}})
    description: str | None = None
    enabled: bool | None = Field(default=None, description="Enabling forgets the failures before.")


class Webhook(BaseModel):
    """An endpoint; its secret is shown when it is made, and never again."""

    id: UUID
    organization_id: UUID | None = Field(default=None, description="Absent on a person's own.")
    url: str
    description: str
    events: list[str]
    enabled: bool
    disabled_reason: str = Field(description="Why it was disabled by itself; else empty.")
    failing_since: AwareDatetime | None = Field(default=None, description="It has taken nothing since then.")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class WebhookWithSecret(Webhook):
    """With the secret, this once."""

    secret: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"])


class WebhookDelivery(BaseModel):
    """An event, and what became of it."""

    id: int
    webhook_id: UUID
    message_id: str = Field(description="The `webhook-id` header: the same at every attempt.")
    event: str = Field(examples=[_EVENT])
    chat_id: UUID | None = None
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: AwareDatetime | None = Field(default=None, description="While it is pending.")
    status_code: int | None = Field(default=None, description="Of the latest answer.")
    error: str
    response: str = Field(description="The beginning of the latest answer.")
    payload: dict[str, Any] = Field(description="What is sent.")
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class WebhookDeliveries(BaseModel):
    """A page of the log, newest first."""

    deliveries: list[WebhookDelivery]
    has_more: bool
