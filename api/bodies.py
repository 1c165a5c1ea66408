"""Bodies that are judged when the handler asks: who may not see a chat gets 404, whatever they sent."""

from typing import Any, Generic, TypeVar, get_args

from fastapi import Body
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from api.requests import Malformed

T = TypeVar("T", bound=BaseModel)


class Unread(Generic[T]):
    """A request's body, documented as T."""

    def __init__(self, model: type[T], given: Any) -> None:
        self._model = model
        self._given = given

    def read(self) -> T:
        """The body; raises RequestValidationError, which is answered with 400."""
        if isinstance(self._given, Malformed):
            raise _refused([{"type": "json_invalid", "loc": (), "msg": self._given.reason}], self._given)
        try:
            return self._model.model_validate(self._given)
        except ValidationError as wrong:
            raise _refused(wrong.errors(include_url=False, include_context=False), self._given) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        [model] = get_args(source)

        def keep(given: Any, _: core_schema.ValidatorFunctionWrapHandler) -> "Unread[T]":
            return cls(model, given)

        # The model's schema is there for the documentation alone.
        return core_schema.no_info_wrap_validator_function(keep, handler.generate_schema(model))


def body(model: type[BaseModel]) -> Any:
    """The parameter marker of an Unread body; without a body at all, it is read as an empty document."""
    return Body(default_factory=lambda: Unread(model, Malformed("EOF")))


REQUIRED: dict[str, Any] = {"requestBody": {"required": True}}
"""`openapi_extra` of a route whose body must be there."""


def _refused(errors: Any, given: object) -> RequestValidationError:
    return RequestValidationError([{**error, "loc": ("body", *error["loc"])} for error in errors], body=given)
