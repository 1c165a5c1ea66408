"""How a request is read: first who asks, then JSON, whatever its content type claims, up to a size."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, model_validator
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.arguments import ABSENT, Plan, simple
from api.audited import AUDITED, CHANGING_GETS
from api.caller import SAFE_METHODS, authenticate
from models.store import deeds
from models.store.deeds import Deed, Kind

TOO_LARGE = "http: request body too large"
LONGEST_AGENT = 256  # characters


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
    """A request whose body is JSON by decree: `parsed`, or ABSENT without one; `body()` still gives the bytes."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes, parsed: Any) -> None:
        super().__init__(scope, receive)
        self._body = body
        self.parsed = ABSENT if not body else {} if parsed is None else parsed


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
    return JsonRequest(request.scope, request.receive, b"!", Malformed(TOO_LARGE))  # not empty: it is not absent


def _asks_who(dependant: Dependant) -> bool:
    return dependant.call is authenticate or any(_asks_who(each) for each in dependant.dependencies)


class Route(APIRoute):
    """A route that refuses strangers before it reads a byte of their body, and goes straight to its handler.

    FastAPI's own way there is made for more than any handler here asks for, and costs more than most of them.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if not simple(self.dependant, self._embed_body_fields):
            raise TypeError(f"{path}: a handler is a coroutine that gives a Response and takes what a Plan can find")
        serve = _straight(Plan(self.dependant), asks=_asks_who(self.dependant), reads=self.body_field is not None)
        changes = bool(set(self.methods or ()) - SAFE_METHODS) or endpoint.__name__ in CHANGING_GETS
        self.app = _told(serve, AUDITED.get(endpoint.__name__), self.status_code or 200) if changes else serve


def _told(serve: ASGIApp, kind: Kind | None, status_code: int) -> ASGIApp:
    """The route, with what it does known to the audit log."""

    async def tell(scope: Scope, receive: Receive, send: Send) -> None:
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        deed = Deed(
            request_id=scope["state"]["request_id"],
            ip=scope["client"][0] if scope.get("client") else "",
            user_agent=agent.decode("latin-1")[:LONGEST_AGENT],
            kind=kind,
            status_code=status_code,
            path=scope["path_params"],
        )
        with deeds.doing(deed):
            await serve(scope, receive, send)

    return tell


def _straight(plan: Plan, *, asks: bool, reads: bool) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        request, body = Request(scope, receive), ABSENT
        deed = deeds.current()
        if asks:
            deeds.by((await authenticate(request)).user_id)
        if reads:
            request = read = await _read(request, scope["state"]["resources"].settings.max_body_bytes)
            body = read.parsed
            if deed.kind is not None and isinstance(body, dict):
                deed.body = body
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
