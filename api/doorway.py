"""What every request passes first: an id, the rate limit, and an answer even where our code fails."""

import logging
import re
from datetime import timedelta
from time import monotonic
from uuid import uuid4

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import cookies
from api.caller import SAFE_METHODS, credentials
from api.errors import envelope, respond
from api.ratelimit import network
from api.resources import Resources
from models.errors import Exhausted, TurnstoneError

log = logging.getLogger(__name__)

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
# Asked by load balancers and Prometheus, which carry no token and must always get an answer.
_UNLIMITED = frozenset({"/healthz", "/readyz", "/metrics"})
_ENVELOPES = frozenset({"/mcp"})  # a POST that writes nothing itself: what is asked in it passes here too


class Doorway:
    """Pure ASGI, so that streams pass through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = scope["state"]["request_id"] = _request_id(scope)
        begun = False
        came = monotonic()
        meters = scope["state"]["resources"].meters

        async def named(message: Message) -> None:
            nonlocal begun
            if message["type"] in _STARTS:
                begun = True
                if scope["type"] == "http":
                    meters.answered(scope, message["status"], monotonic() - came)
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    *cookies.guards(scope, message),
                ]
            await send(message)

        # `/chats/` is `/chats`.
        if scope["path"].endswith("/") and len(scope["path"]) > 1:
            scope["path"] = scope["path"].rstrip("/") or "/"
        try:
            refused = _over_limit(scope)
            if refused is not None:
                await _say(refused, scope, receive, named)
                return
            await self._app(scope, receive, named)
        except ClientDisconnect:
            log.debug("the client left", extra={"request_id": request_id})
        except Exception:
            log.exception("request failed", extra={"request_id": request_id, "path": scope["path"]})
            if begun:
                raise
            failure = envelope(500, TurnstoneError.default_message, f"Request id: {request_id}")
            await _say(failure, scope, receive, named)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex


def _over_limit(scope: Scope) -> Response | None:
    """The refusal for a user who asks too often, with whichever token. Strangers share the bucket of their address."""
    resources: Resources = scope["state"]["resources"]
    if scope["path"] in _UNLIMITED:
        return None
    digest = credentials(scope).digest
    key = resources.principals.whose(digest) if digest is not None else None
    if key is None:
        key = network(scope["client"][0]) if scope.get("client") else ""
    wait = resources.rate_limit.take(key)
    writes = scope["type"] == "http" and scope["method"] not in SAFE_METHODS and scope["path"] not in _ENVELOPES
    if not wait and writes:
        wait = resources.writes.take(key)
    return respond(Exhausted(retry_after=timedelta(seconds=wait))) if wait else None


async def _say(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer HTTP, or refuse a WebSocket before the upgrade."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1011})
        return
    await response(scope, receive, send)
