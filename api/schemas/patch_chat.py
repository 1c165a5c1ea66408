"""What may be changed of a chat that exists, and the prompts of one (wire-api.md 3.5, 3.9)."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.requests import Body

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]


class UpdateChat(Body):
    """Change what is given; what is absent or null stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "On mutexes"}, {"archived": True}, {"pin_order": 1}]}
    )

    title: str | None = Field(default=None, description="1 to 200 characters, trimmed.")
    labels: dict[str, str] | None = Field(default=None, description="Replaces all labels.", examples=[{"team": "sea"}])
    archived: bool | None = Field(default=None, description="For the chat and its sub-agent chats.")
    pin_order: Int32 | None = Field(
        default=None, description="0 unpins; else pins at the end, or moves a pinned chat to this place."
    )
    workspace_id: UUID | None = Field(
        default=None,
        description="Where it works from now on: one of the caller's, in its organization. The zero UUID unbinds.",
    )
    plan_mode: str | None = Field(default=None, json_schema_extra={"enum": ["plan", "", None]})


class Prompt(BaseModel):
    """What a user message said, its text parts in one."""

    id: int = Field(description="The message's id.")
    text: str


class Prompts(BaseModel):
    """What was asked in a chat, newest first."""

    prompts: list[Prompt]
