"""Titles that are asked for, and which model is asked."""

from pydantic import BaseModel, ConfigDict, Field

from api.requests import Body


class ProposedTitle(BaseModel):
    """A title that a model would give; nothing is stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Fix flaky login test"}]})

    title: str = Field(description="Empty if the chat has no messages.")


class ModelOverride(BaseModel):
    """Which model a purpose uses, whatever would be chosen otherwise."""

    context: str
    model_config_id: str = Field(description="Empty if none is set.")
    is_malformed: bool = Field(description="What is stored is no id, and counts as unset.")


class SetModelOverride(Body):
    model_config_id: str = Field(default="", description="An enabled model of an enabled provider; empty unsets it.")
