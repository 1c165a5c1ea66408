"""What a tool of `/mcp` is: arguments that describe themselves, rights that it needs, and a function."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from api.mcp_server.inside import Inside
from api.resources import Resources
from models.principal import Principal
from models.principal import Scope as Use

Progress = Callable[[float, float, str], Awaitable[None]]
"""Says how far a call has come, of how much, in words; nobody hears it who did not ask."""

Key = Annotated[
    str,
    Field(
        default="",
        max_length=255,
        description="Any unique text. A call that is repeated under the same key is carried out once.",
    ),
]
Id = Annotated[int, Field(default=0, ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls a tool, and what it may use."""

    inside: Inside
    caller: Principal
    digest: bytes
    resources: Resources
    key: str  # idempotency key of the call, given beside its arguments
    progress: Progress


class _Untitled(GenerateJsonSchema):
    """Titles repeat names, and every model that is shown a tool reads them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("title", None)
        made.pop("description", None)
        return made


class Arguments(BaseModel):
    """A tool's arguments: unknown ones are refused, as a model should hear of its mistake; `null` means absent."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: each for name, each in value.items() if each is not None}
        return value


@dataclass(frozen=True)
class Tool:
    """One tool. `run` gives the document that is answered; it raises Refused, or an error of ours."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Any, Call], Awaitable[dict[str, Any]]]
    needs: tuple[Use, ...]
    reads: bool = False
    destroys: bool = False
    repeats: bool = False  # a second call with the same arguments changes nothing more

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return self.arguments.model_json_schema(schema_generator=_Untitled)

    def open_to(self, caller: Principal) -> bool:
        """Does the caller's token reach so far?"""
        return all(caller.has_scope(each) for each in self.needs)
