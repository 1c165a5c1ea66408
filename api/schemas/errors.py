"""The one shape of everything that is not a success."""

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
