"""What agents may use beside models: settings of features to come (wire-api.md 6)."""

from uuid import UUID

from pydantic import BaseModel, Field

from api.requests import Body
from api.schemas.call_config import Int64
from api.schemas.parts import NO_ID


class DesktopEnabled(BaseModel):
    enable_desktop: bool


class SetDesktopEnabled(Body):
    """Let agents use a virtual desktop, or not."""

    enable_desktop: bool = Field(default=False, examples=[True])


class ComputerUseProvider(BaseModel):
    """Whose models use the virtual desktop."""

    provider: str = Field(examples=["anthropic"])


class SetComputerUseProvider(Body):
    provider: str = Field(default="", description="anthropic or openai", examples=["openai"])


class Advisor(BaseModel):
    """How agents may ask a second model for advice."""

    enabled: bool
    max_uses_per_run: int = Field(description="0 is any number.")
    max_output_tokens: int = Field(description="0 is the default.")
    model_config_id: UUID = Field(description="The zero UUID is the chat's own model.")


class SetAdvisor(Body):
    """The whole setting: what is absent is off, unlimited, or the chat's own model."""

    enabled: bool = Field(default=False, examples=[True])
    max_uses_per_run: Int64 = Field(default=0, examples=[3])
    max_output_tokens: Int64 = Field(default=0, examples=[16384])
    model_config_id: UUID = Field(default=NO_ID, examples=[str(NO_ID)])


class WorkspaceTTL(BaseModel):
    """How long agents' workspaces live, in milliseconds."""

    workspace_ttl_ms: int = Field(description="0: no limit.")


class SetWorkspaceTTL(Body):
    workspace_ttl_ms: Int64 = Field(default=0, description="0, or a minute to 30 days.", examples=[3_600_000])


class TemplateAllowlist(BaseModel):
    """The templates that agents may make workspaces from."""

    template_ids: list[UUID] = Field(description="Empty: all.")


class SetTemplateAllowlist(Body):
    """Replaces the list."""

    template_ids: list[str] = Field(default_factory=list, max_length=1000, examples=[[]])
