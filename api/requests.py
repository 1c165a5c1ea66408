"""How a request is read: first who asks, then JSON, whatever its content type claims, up to a size."""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, model_validator
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.arguments import ABSENT, Plan, simple
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
        self.given = bool(body)
        self.parsed = {} if parsed is None else parsed
        # FastAPI would hand bytes to the model under any other content type.
        others = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
        self._headers = Headers(raw=[*others, (b"content-type", b"application/json")])

    async def json(self) -> Any:
        return self.parsed


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

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if simple(self.dependant, self._embed_body_fields):
            # FastAPI's own way there is made for more, and costs more, than any handler here asks for.
            self.app = self._straight()

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

    def _straight(self) -> ASGIApp:
        plan = Plan(self.dependant)
        asks, reads = _asks_who(self.dependant), self.body_field is not None

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            request, body = Request(scope, receive), ABSENT
            if asks:
                await authenticate(request)
            if reads:
                request = read = await _read(request, scope["state"]["resources"].settings.max_body_bytes)
                body = read.parsed if read.given else ABSENT
            response = await plan.call(**await plan.arguments(request, body))
            await response(scope, receive, send)

        return serve


class Router(APIRouter):
    """The router that every resource uses. Do not set operation ids: they come from function names and the prefix."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, redirect_slashes=False, **options)
        self._declared: list[Callable[[APIRouter, str], None]] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().add_api_route(path, endpoint, **options)
        tags = [*self.tags, *(options.pop("tags", None) or ())]
        options = {name: value for name, value in options.items() if not isinstance(value, DefaultPlaceholder)}

        def declare(where: APIRouter, prefix: str) -> None:
            where.add_api_route(prefix + path, endpoint, **options, tags=tags, route_class_override=Route)

        self._declared.append(declare)

    def add_api_websocket_route(self, path: str, endpoint: Callable[..., Any], *given: Any, **options: Any) -> None:
        super().add_api_websocket_route(path, endpoint, *given, **options)
        self._declared.append(
            lambda where, prefix: where.add_api_websocket_route(prefix + path, endpoint, *given, **options)
        )

    def declare(self, where: APIRouter, prefix: str) -> None:
        """Put the routes into another router, each with its whole path: what FastAPI includes, it searches twice."""
        for declare in self._declared:
            declare(where, prefix)
