"""The one shape of everything that is not a success."""

from datetime import datetime

from pydantic import BaseModel, Field


class FieldError(BaseModel):
    """One field that is wrong, and how."""

    field: str = Field(examples=["name"])
    detail: str = Field(examples=['Validation failed for tag "required" with value: ""'])


class Error(BaseModel):
    """What went wrong. `message` is for people; `detail` and `validations` are absent when empty."""

    message: str = Field(examples=["Resource not found or you do not have access to this resource"])
    detail: str | None = None
    validations: list[FieldError] | None = None
    spent_micros: int | None = Field(default=None, description="with a usage limit: spent in this period")
    limit_micros: int | None = Field(default=None, description="with a usage limit: what may be spent in it")
    resets_at: datetime | None = Field(default=None, description="with a usage limit: when the next period begins")
