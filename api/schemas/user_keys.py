"""People's own keys of AI providers on the wire (wire-api.md 5.5): they go in, and never come out."""

from uuid import UUID

from pydantic import BaseModel, Field

from api.requests import Body


class ProviderSummary(BaseModel):
    """A source of models, as everybody may know it."""

    id: UUID
    type: str
    name: str
    display_name: str = Field(description="Its name, if it has no other.")
    enabled: bool
    deleted: bool


class UserProviderKey(BaseModel):
    """Which keys there are for a provider."""

    provider: ProviderSummary
    has_user_api_key: bool = Field(description="A key of one's own, used for one's chats before the provider's.")
    has_provider_api_key: bool
    byok_enabled: bool = Field(description="False: keys of one's own are kept, but not used.")


class SetUserProviderKey(Body):
    """A key of one's own."""

    api_key: str = Field(
        default="", description="At most 10,240 bytes of printable ASCII.", examples=["sk-of-ones-own"]
    )
