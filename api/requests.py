"""How a request is read: first who asks, then JSON, whatever its content type claims, up to a size."""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, model_validator
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from api.caller import authenticate

TOO_LARGE = "http: request body too large"


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a body that is not JSON, so that permissions are judged before it is."""

    reason: str


class Body(BaseModel):
    """What a request body is: unknown fields are ignored, `null` means absent."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, Malformed):  # else it would be read as an object without any of the fields
            raise ValueError(value.reason)  # noqa: TRY004 - pydantic would let a TypeError through
        if isinstance(value, dict) and None in value.values():
            return {key: each for key, each in value.items() if each is not None}
        return value


def _not_a_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _whole(value: Any) -> Any:
    """The value with each unpaired surrogate replaced, as UTF-8 cannot carry it."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {_whole(key): _whole(item) for key, item in value.items()}
    return value


def parse(body: bytes) -> Any:
    """The JSON document in `body`, or Malformed; unpaired surrogates become U+FFFD."""
    if not body.strip():
        return Malformed("EOF")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as wrong:
        reason = str(wrong)
    if b"\\ud" not in body.lower():
        return Malformed(reason)
    try:
        return _whole(json.loads(body, parse_constant=_not_a_number))
    except (ValueError, RecursionError):
        return Malformed(reason)


class JsonRequest(Request):
    """A request whose body is JSON by decree; `body()` still gives the bytes."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes, parsed: Any) -> None:
        super().__init__(scope, receive)
        self._body = body
        self._parsed = {} if parsed is None else parsed
        # FastAPI would hand bytes to the model under any other content type.
        others = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
        self._headers = Headers(raw=[*others, (b"content-type", b"application/json")])

    async def json(self) -> Any:
        return self._parsed


async def _read(request: Request, limit: int) -> JsonRequest:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        return _too_large(request)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            return _too_large(request)
        pieces.append(piece)
    body = b"".join(pieces)
    return JsonRequest(request.scope, request.receive, body, parse(body))


def _too_large(request: Request) -> JsonRequest:
    # Not empty, or FastAPI would take the body for absent.
    return JsonRequest(request.scope, request.receive, b"!", Malformed(TOO_LARGE))


def _asks_who(dependant: Dependant) -> bool:
    return dependant.call is authenticate or any(_asks_who(each) for each in dependant.dependencies)


class Route(APIRoute):
    """A route that refuses strangers before it reads a byte of their body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        asks, reads = _asks_who(self.dependant), self.body_field is not None

        async def handler(request: Request) -> Response:
            if asks:
                await authenticate(request)
            if reads:
                request = await _read(request, request.state.resources.settings.max_body_bytes)
            return await handle(request)

        return handler


class Router(APIRouter):
    """The router that every resource uses. Do not set operation ids: they come from function names and the prefix."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, redirect_slashes=False, **options)
