"""Our errors, and everybody else's, as HTTP answers in one envelope."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Match
from starlette.websockets import WebSocket, WebSocketState

from api.answers import answer
from api.requests import Malformed
from api.schemas.errors import Error
from models.errors import (
    BadGateway,
    Conflict,
    Exhausted,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Precondition,
    Stale,
    TooLarge,
    TurnstoneError,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    UsageLimited,
    Validation,
)

log = logging.getLogger(__name__)

# The nearest ancestor in this table decides.
STATUS: Mapping[type[TurnstoneError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Gone: 410,
    Precondition: 412,
    TooLarge: 413,
    Unprocessable: 422,
    Exhausted: 429,
    BadGateway: 502,
    Unavailable: 503,
    TurnstoneError: 500,
}
RETRY_AFTER = {429: 1, 503: 2}  # seconds, where nobody knows better
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BAD_JSON = "Request body must be valid JSON."
BAD_QUERY = "Query parameters have invalid values."


def status_of(kind: type[TurnstoneError]) -> int:
    """The HTTP status of an error: its own, or its nearest ancestor's."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def raises(*kinds: type[TurnstoneError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for the errors a handler documents."""
    documented: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        text = kind.default_message
        entry = documented.setdefault(status_of(kind), {"model": Error, "description": text})
        if text not in entry["description"]:
            entry["description"] += f" Or: {text}"
        if issubclass(kind, Stale):
            entry["headers"] = {"ETag": {"description": "What If-Match must name.", "schema": {"type": "string"}}}
    return documented


def envelope(
    status: int,
    message: str,
    detail: str = "",
    validations: Sequence[Validation] = (),
    headers: Mapping[str, str] | None = None,
    **facts: object,
) -> Response:
    """An error answer; empty keys are left out, `facts` are keys of their own."""
    body: dict[str, Any] = {"message": message}
    if detail:
        body["detail"] = detail
    if validations:
        body["validations"] = [{"field": each.field, "detail": each.detail} for each in validations]
    body |= facts
    if status in RETRY_AFTER and "Retry-After" not in (headers or {}):
        headers = {**(headers or {}), "Retry-After": str(RETRY_AFTER[status])}
    return answer(body, status, headers)


def respond(error: TurnstoneError) -> Response:
    """The answer for one of our errors."""
    status = status_of(type(error))
    headers: dict[str, str] = {}
    if isinstance(error, Exhausted) and error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    if isinstance(error, Stale):
        headers["ETag"] = error.tag
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    facts: dict[str, object] = {}
    if isinstance(error, UsageLimited):
        facts = {
            "spent_micros": error.spent_micros,
            "limit_micros": error.limit_micros,
            "resets_at": error.resets_at,
        }
    return envelope(status, error.message, error.detail, error.validations, headers, **facts)


def _field(location: Sequence[Any]) -> str:
    return ".".join(str(step) for step in location)


def _validations(errors: Sequence[Any]) -> list[Validation]:
    found = []
    for error in errors:
        location = error["loc"][1:]
        detail, kind = error["msg"], error["type"]
        if kind == "missing":
            detail = 'Validation failed for tag "required" with value: ""'
        elif error["loc"][0] == "query":
            detail = f'Query param "{_field(location)}" {_wanted(kind, detail)}'
        elif kind in _TAGS:
            detail = f'Validation failed for tag "{_TAGS[kind]}" with value: "{str(error["input"])[:LONGEST_VALUE]}"'
        found.append(Validation(_field(location), detail))
    return found


LONGEST_VALUE = 100  # characters of a wrong value that are told
_TAGS = {"greater_than_equal": "min", "less_than_equal": "max"}


def _wanted(kind: str, detail: str) -> str:
    """What a query parameter must be, in the reference's words where it has some."""
    if kind.startswith("uuid"):
        return "must be a valid uuid"
    if kind.startswith("int_") or kind in _TAGS:
        return f"must be a valid integer ({detail})"
    return f"is not valid: {detail}"


def respond_to_invalid(errors: Sequence[Any], body: object = None) -> Response:
    """The answer for parameters or a body that do not have the declared shape."""
    first = errors[0]
    place, location = first["loc"][0], first["loc"][1:]
    if place == "path":
        kind = "UUID" if first["type"].startswith("uuid") else "path parameter"
        return envelope(400, f'Invalid {kind} "{_field(location)}".', first["msg"])
    if place == "body" and isinstance(body, Malformed):
        return envelope(400, BAD_JSON, body.reason)
    if place == "body" and not location:
        return envelope(400, BAD_JSON, "EOF" if first["type"] == "missing" else first["msg"])
    if place in ("query", "header", "cookie"):
        return envelope(400, BAD_QUERY, validations=_validations(errors))
    return envelope(400, Invalid.default_message, validations=_validations(errors))


def allowed_methods(connection: HTTPConnection) -> str:
    """The methods that the application's routes take at this path, for `Allow`."""
    routes = connection.app.router.routes
    return ", ".join(
        method
        for method in METHODS
        if any(route.matches({**connection.scope, "method": method})[0] is Match.FULL for route in routes)
    )


def _from_http(connection: HTTPConnection, error: HTTPException) -> Response:
    """What Starlette and FastAPI raise by themselves."""
    if error.status_code == 404:
        return envelope(404, "Route not found.")
    if error.status_code == 405:
        return envelope(405, "Method not allowed.", headers={"Allow": allowed_methods(connection)})
    return envelope(error.status_code, str(error.detail), headers=error.headers)


def respond_to(connection: HTTPConnection, error: Exception) -> Response | None:
    """The answer for an expected error, or None for a bug."""
    match error:
        case TurnstoneError():
            # What no client should ever see (a lost fence, a provider's failure) got here by a bug.
            return respond(error) if status_of(type(error)) != 500 else None
        case RequestValidationError():
            return respond_to_invalid(error.errors(), error.body)
        case WebSocketRequestValidationError():
            return respond_to_invalid(error.errors())
        case HTTPException():
            return _from_http(connection, error)
        case psycopg.DataError():
            # A value that Postgres cannot hold (NUL in text, a number out of range) got past the schemas.
            return envelope(400, Invalid.default_message, "A value in the request cannot be stored or compared.")
        case psycopg.OperationalError():
            log.warning("the database is away: %s", str(error).splitlines()[0])
            return respond(_unavailable(connection))
    return None


def _unavailable(connection: HTTPConnection) -> Unavailable:
    """A commit whose answer was lost may have been made: who asked for a change is told so."""
    detail = "The database does not answer."
    if connection.scope.get("method", "GET") not in ("GET", "HEAD", "OPTIONS"):
        detail += " Whether the request was carried out is not known: repeat it under its Idempotency-Key, or look."
    return Unavailable(detail=detail)


async def _handle(connection: HTTPConnection, error: Exception) -> Response | None:
    response = respond_to(connection, error)
    if response is None:
        raise error
    if not isinstance(connection, WebSocket):
        return response
    if connection.application_state is WebSocketState.CONNECTING:
        await connection.send_denial_response(response)
    elif connection.application_state is WebSocketState.CONNECTED:
        await connection.close(1011)
    return None


def install(app: FastAPI) -> None:
    """Put the envelope around every error of the application."""
    kinds: tuple[type[Exception], ...] = (
        TurnstoneError,
        RequestValidationError,
        WebSocketRequestValidationError,
        HTTPException,
        psycopg.Error,
    )
    for kind in kinds:
        app.exception_handler(kind)(_handle)
