"""Our own routes, asked from inside in a caller's name: what a tool does is judged and told as any request is."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import orjson
from starlette.types import ASGIApp, Message, Scope

from api.idempotency import HEADER
from models.errors import NotFound

_CARRIED = frozenset({b"authorization", b"coder-session-token", b"host", b"user-agent"})
_SAME = ("type", "asgi", "http_version", "scheme", "server", "client")


class Refused(Exception):
    """A request was refused: with this status, for what its envelope says."""

    def __init__(self, status: int, message: str, detail: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.status = status
        self.envelope: dict[str, Any] = {"message": message, **({"detail": detail} if detail else {}), **facts}


class Inside:
    """Asks in the name of whoever made the request of this scope."""

    def __init__(self, scope: Scope) -> None:
        self._app: ASGIApp = scope["app"]
        self._outer = scope

    async def get(self, path: str, **query: Any) -> Any:
        """The document at this path; raises Refused."""
        return await self._ask("GET", path, query, None, "")

    async def change(self, method: str, path: str, body: Mapping[str, Any], key: str = "") -> Any:
        """What changing something is answered; under the same idempotency key it is done once. Raises Refused."""
        # Whoever hangs up in the middle leaves nothing half done: neither does a client of the route itself.
        with anyio.CancelScope(shield=True):
            return await self._ask(method, path, {}, body, key)

    async def _ask(
        self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any] | None, key: str
    ) -> Any:
        asked = b"" if body is None else orjson.dumps(body)
        received = iter([{"type": "http.request", "body": asked, "more_body": False}])
        status, headers, pieces = 500, dict[bytes, bytes](), list[bytes]()

        async def receive() -> Message:
            return next(received, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], dict(message["headers"])
            elif message["type"] == "http.response.body":
                pieces.append(message.get("body", b""))

        await self._app(self._scope(method, path, query, key), receive, send)
        said = b"".join(pieces)
        document = orjson.loads(said) if said else None
        if status >= 400:
            raise _refusal(status, document, headers)
        return document

    def _scope(self, method: str, path: str, query: Mapping[str, Any], key: str) -> Scope:
        given = {name: value for name, value in query.items() if value not in (None, "", 0, [])}
        headers = [each for each in self._outer["headers"] if each[0] in _CARRIED]
        headers += [
            (b"content-type", b"application/json"),
            (b"x-request-id", self._outer["state"]["request_id"].encode()),
        ]
        if key:
            headers.append((HEADER.lower().encode(), key.encode("utf-8", "replace")))
        return {
            **{name: self._outer[name] for name in _SAME if name in self._outer},
            "method": method,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": urlencode(given, doseq=True).encode(),
            "headers": headers,
            "state": dict(self._outer["state"]),
        }


def step(word: str) -> str:
    """A name as one step of a path; raises Refused for what cannot be one."""
    if not word or "/" in word or "\n" in word:
        raise Refused(404, NotFound.default_message, f'There is nothing of the name "{word[:100]}".')
    return word


def _refusal(status: int, document: Any, headers: Mapping[bytes, bytes]) -> Refused:
    envelope = dict(document) if isinstance(document, dict) else {}
    if b"retry-after" in headers:
        envelope["retry_after_seconds"] = int(headers[b"retry-after"])
    return Refused(status, **{"message": "The request was refused.", **envelope})
