"""Models that people choose for themselves (wire-api.md 6)."""

from pydantic import BaseModel, Field

from api.requests import Body
from api.schemas.titles import ModelOverride


class PersonalModelOverrides(BaseModel):
    """May people choose models for themselves?"""

    allow_users: bool


class SetPersonalModelOverrides(Body):
    """Let people's choices count, or not."""

    allow_users: bool = Field(default=False, examples=[True])


class PersonalModelOverride(BaseModel):
    """What a person chose for a purpose."""

    context: str = Field(description="root, general or explore", examples=["root"])
    mode: str = Field(description="deployment_default, chat_default or model", examples=["chat_default"])
    model_config_id: str = Field(description="Empty unless the mode is model.")
    is_set: bool = Field(description="False: nothing is chosen, and the mode is what holds then.")
    is_malformed: bool = Field(description="What is stored makes no sense, and counts as unset.")


class DeploymentDefaults(BaseModel):
    """What administrators chose for sub-agents."""

    general: ModelOverride
    explore: ModelOverride


class UserPersonalModelOverrides(BaseModel):
    """One's own choices. `root` is the model of new chats; the others wait for sub-agents."""

    enabled: bool = Field(description="False: they are kept, but do not count.")
    root: PersonalModelOverride
    general: PersonalModelOverride
    explore: PersonalModelOverride
    deployment_defaults: DeploymentDefaults


class SetPersonalModelOverride(Body):
    """Choose a model, or what to use instead of one."""

    mode: str = Field(
        default="", description="deployment_default (not for root), chat_default or model", examples=["model"]
    )
    model_config_id: str = Field(default="", description="An enabled model; for the mode model only.")
