"""The door for agents that use this service as tools: MCP over streamable HTTP, with our tokens."""

from typing import Annotated, Any

import orjson
from fastapi import Body, Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answers import answer
from api.arguments import ABSENT
from api.caller import Caller, credentials, refuse_other_pages
from api.mcp_server.speaker import Speaker
from api.requests import TOO_LARGE, Malformed, Router
from api.resources import Opened
from models.errors import Unauthenticated
from models.principal import Principal

router = Router(tags=["mcp"])

# JSON-RPC's and MCP's own numbers.
PARSE_ERROR, INVALID_REQUEST = -32700, -32600


async def _agent(connection: HTTPConnection, caller: Caller) -> Principal:
    """Somebody with a token in a header: what a browser sends along by itself does not count here."""
    if credentials(connection.scope).via not in ("header", "bearer"):
        raise Unauthenticated(detail="A token is wanted in `Authorization: Bearer` or `Coder-Session-Token`.")
    refuse_other_pages(connection)
    return caller


class Spoken(Response):
    """What MCP's own machinery answers to a request with this body."""

    def __init__(self, speaker: Speaker, body: bytes) -> None:
        super().__init__()
        self._speaker = speaker
        self._said = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._speaker.speak(scope, receive, send, self._said)


@router.post("/mcp", include_in_schema=False, summary="Speak MCP")
async def speak_mcp(
    request: Request,
    _: Annotated[Principal, Depends(_agent)],
    resources: Opened,
    body: Annotated[Any, Body()] = ABSENT,
) -> Response:
    """One message of JSON-RPC, answered as JSON or, where its client hears them, as events. Nothing is kept."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return _refused(415, INVALID_REQUEST, "The content type must be application/json.")
    match body:
        case Malformed(reason=reason) if reason == TOO_LARGE:
            return _refused(413, INVALID_REQUEST, "The message is too large.")
        case {"id": identity} if not isinstance(identity, str | int):
            return _refused(400, INVALID_REQUEST, "The id of a message must be text or a whole number.")
        case dict():
            try:
                said = orjson.dumps(body)
            except orjson.JSONEncodeError:
                return _refused(400, PARSE_ERROR, "The message is nested too deep.")
            return Spoken(resources.speaker, said)
        case list():
            return _refused(400, INVALID_REQUEST, "Messages come one at a time.")
    return _refused(400, PARSE_ERROR, "The body must be a message of JSON-RPC.")


def _refused(status: int, code: int, message: str) -> Response:
    return answer({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}, status)
