"""A handler's arguments, found by a plan that is made once: FastAPI reads the signatures, we follow them in haste.

The readings and the complaints are FastAPI's own; left out is what it works out anew for each request and no handler
here uses: exit stacks, background tasks, forms, overrides, answers made of models.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

ABSENT: Any = object()
"""The body of a request that came without one."""


class Plan:
    """How the arguments of one function are found; its dependencies have plans of their own."""

    def __init__(self, dependant: Dependant) -> None:
        assert dependant.call is not None
        self.call: Callable[..., Awaitable[Any]] = dependant.call
        self.name = dependant.name
        self._dependencies = [Plan(each) for each in dependant.dependencies]
        self._path = dependant.path_params
        self._query = dependant.query_params
        self._headers = dependant.header_params
        self._body = dependant.body_params[0] if dependant.body_params else None
        self._request = dependant.request_param_name or dependant.http_connection_param_name
        self._header_names = {field.alias.lower().encode() for field in self._headers}
        # What holds when the request names none of them. A required one is missing then, and its complaint is kept too.
        self._no_query = request_params_to_args(self._query, QueryParams(""))
        self._no_headers = request_params_to_args(self._headers, {})

    async def arguments(self, request: Request, body: Any) -> dict[str, Any]:
        """The arguments by name; raises RequestValidationError with all that is wrong, and what dependencies raise."""
        values, errors = await self.find(request, body, {})
        if errors:
            raise RequestValidationError(errors, body=None if body is ABSENT else body)
        return values

    async def find(self, request: Request, body: Any, known: dict[Any, Any]) -> tuple[dict[str, Any], list[Any]]:
        """The arguments, and what is wrong; `known` is what dependencies have given in this request."""
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for each in self._dependencies:
            if each.call not in known:
                given, wrong = await each.find(request, body, known)
                if wrong:
                    errors += wrong
                    continue
                known[each.call] = await each.call(**given)
            if each.name is not None:
                values[each.name] = known[each.call]
        scope = request.scope
        for field in self._path:
            text = scope["path_params"][field.alias]
            value, wrong = field.validate(text, values, loc=("path", field.alias))
            _note(values, errors, field.name, value, wrong)
        if self._query:
            asked = (
                request_params_to_args(self._query, request.query_params) if scope["query_string"] else self._no_query
            )
            values.update(asked[0])
            errors += asked[1]
        if self._headers:
            named = any(name in self._header_names for name, _ in scope["headers"])
            told = request_params_to_args(self._headers, request.headers) if named else self._no_headers
            values.update(told[0])
            errors += told[1]
        if self._body is not None:
            value, wrong = self._read(body, values)
            _note(values, errors, self._body.name, value, wrong)
        if self._request is not None:
            values[self._request] = request
        return values, errors

    def _read(self, body: Any, values: dict[str, Any]) -> tuple[Any, list[Any]]:
        field = self._body
        assert field is not None
        if body is not ABSENT:
            return field.validate(body, values, loc=("body",))
        if field.field_info.is_required():
            return None, [{"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}]
        return field.get_default(), []


def _note(values: dict[str, Any], errors: list[Any], name: str, value: Any, wrong: list[Any]) -> None:
    if wrong:
        errors += wrong
    else:
        values[name] = value


def simple(dependant: Dependant, embeds: bool) -> bool:
    """Can a Plan find all that this handler wants, and is a finished Response what it gives?"""
    call = inspect.unwrap(dependant.call) if dependant.call is not None else None
    answers = inspect.signature(call).return_annotation if call is not None else None
    return isinstance(answers, type) and issubclass(answers, Response) and not embeds and _plain(dependant)


def _plain(dependant: Dependant) -> bool:
    unknown = (
        dependant.cookie_params,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
        dependant.own_oauth_scopes,
        dependant.concurrency,
        len(dependant.body_params) > 1,
        not dependant.use_cache,
        not inspect.iscoroutinefunction(dependant.call),
    )
    return not any(unknown) and all(map(_plain, dependant.dependencies))
