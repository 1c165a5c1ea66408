"""Prompts that people and administrators set (wire-api.md 6)."""

from pydantic import BaseModel, Field

from api.requests import Body


class SystemPrompt(BaseModel):
    """What new chats begin with: the default prompt, if it is included, and the deployment's own."""

    system_prompt: str
    include_default_system_prompt: bool
    default_system_prompt: str


class SetSystemPrompt(Body):
    system_prompt: str = Field(default="", description="At most 131,072 bytes.")
    include_default_system_prompt: bool | None = Field(default=None, description="Absent keeps what is set.")


class PlanModeInstructions(BaseModel):
    plan_mode_instructions: str


class SetPlanModeInstructions(Body):
    plan_mode_instructions: str = Field(default="", description="At most 131,072 bytes.")


class UserPrompt(BaseModel):
    """What a person tells the models of all their chats."""

    custom_prompt: str


class SetUserPrompt(Body):
    custom_prompt: str = Field(default="", description="At most 131,072 bytes.")
