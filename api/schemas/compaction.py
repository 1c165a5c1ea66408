"""A person's own compaction thresholds on the wire (wire-api.md 6)."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from api.requests import Body

Percent = Annotated[int, Field(ge=0, le=100, description="100 never summarises, 0 before every answer.")]


class SetThreshold(Body):
    """Replace a threshold."""

    threshold_percent: Percent


class Threshold(BaseModel):
    """How full the model's context may become before one's own chats are summarised."""

    model_config_id: UUID
    threshold_percent: Percent


class Thresholds(BaseModel):
    """One's own thresholds; a model that is not listed has its configuration's."""

    thresholds: list[Threshold]
