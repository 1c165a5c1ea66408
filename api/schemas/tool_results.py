"""What a client hands in for the tool calls that it answers itself (wire-api.md 2.19, 3.12)."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.requests import Body
from models.store.moves import NO_OUTPUT, ClientResult


class ToolResult(BaseModel):
    """What came of one call; `output` is any JSON value, `null` too, but it must be there."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"required": ["tool_call_id", "output"]})

    tool_call_id: str = Field(default="", description="Of a call that `action_required` named.")
    output: Any = Field(default=None, description="Any JSON value; the model reads it as it is.")
    is_error: bool = Field(default=False, description="The tool failed, and `output` says why.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent_but_as_output(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: each for key, each in value.items() if each is not None or key == "output"}
        return value

    def given(self) -> ClientResult:
        """The result as the move takes it."""
        output = self.output if "output" in self.model_fields_set else NO_OUTPUT
        return ClientResult(self.tool_call_id, output, self.is_error)


class SubmitToolResults(Body):
    """Answer all the calls that a chat waits for, in one request."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["results"],
            "examples": [
                {"results": [{"tool_call_id": "call_7f3a", "output": {"temperature": 21}}]},
                {"results": [{"tool_call_id": "call_7f3a", "output": "No such city.", "is_error": True}]},
            ],
        }
    )

    results: list[ToolResult] = Field(default_factory=list, json_schema_extra={"minItems": 1})
