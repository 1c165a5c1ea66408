"""Every route keeps the house rules: what is not yours is not there, and strangers are nobody.

The routes are found by walking ROUTES, so a route that is added is held to them as well.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute

from api.openapi import PUBLIC
from api.routes import ROUTES
from tests.api.conftest import Api, Person, api, member, settings
from tests.api.talk import Talk

__all__ = ["api", "member", "settings"]

# Both transports of a stream are asked for: one that takes the wrong one would answer before it looks.
EVENTS = {"Accept": "text/event-stream"}
AGENTS = {"connect_agent", "bring_desktop"}  # an agent's token is in no browser


def routes() -> Iterator[tuple[str, str, str]]:
    """(method, path, name) of everything that is served; WEBSOCKET is a method here."""
    for prefix, router in ROUTES:
        for route in router.routes:
            if isinstance(route, APIWebSocketRoute):
                yield "WEBSOCKET", prefix + route.path, route.name
            else:
                assert isinstance(route, APIRoute), route
                for method in sorted(route.methods):
                    yield method, prefix + route.path, route.name


def filled(path: str, **known: object) -> str:
    """The path with its parameters: known ones, and 1 for the rest."""
    return re.sub(r"{(\w+)(?::\w+)?}", lambda found: str(known.get(found[1], 1)), path)


async def ask(api: Api, token: str, method: str, path: str) -> int:
    """The status that a caller gets; a WebSocket's is that of its refusal, or 101."""
    if method == "WEBSOCKET":
        return await _handshake(api, token, path)
    async with asyncio.timeout(60), api.client(token) as client:
        response = await client.request(method, path, content=b"{}", headers=EVENTS)
    return response.status_code


async def _handshake(api: Api, token: str, path: str, *more: tuple[bytes, bytes]) -> int:
    headers = [(b"host", b"turnstone.test"), *more]
    if token:
        headers.append((b"coder-session-token", token.encode()))
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "subprotocols": [],
        "scheme": "ws",
        "server": ("turnstone.test", 80),
        "client": ("127.0.0.1", 40000),
        "extensions": {"websocket.http.response": {}},
    }
    said: list[dict[str, Any]] = []
    came = iter([{"type": "websocket.connect"}])

    async def receive() -> dict[str, Any]:
        return next(came, {"type": "websocket.disconnect", "code": 1001})

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await api(scope, receive, send)
    return 101 if said[0]["type"] == "websocket.accept" else int(said[0]["status"])


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def test_a_chat_that_is_not_yours_is_not_there_on_every_route(talk: Talk) -> None:
    other = await talk.api.person("other", org_roles=("agents-access",))
    elsewhere = await talk.api.person("elsewhere", org_roles=None)
    chat = await talk.start()
    queued = (await talk.say(chat, "queued"))["queued_message"]["id"]
    before = await talk.get(chat), await talk.history(chat)
    walked = 0
    for method, path, _ in routes():
        if "{chat}" in path:
            walked += 1
            address = filled(path, chat=chat, queued_message=queued, message=before[1]["messages"][0]["id"])
            for caller in (other, elsewhere):
                assert await ask(talk.api, caller.token, method, address) == 404, f"{method} {path}"
    assert walked >= 20
    assert (await talk.get(chat), await talk.history(chat)) == before


async def test_strangers_are_refused_on_every_route_that_is_not_public(talk: Talk) -> None:
    chat = await talk.start()
    for method, path, name in routes():
        address = filled(path, chat=chat)
        for token in ("", "ts_token_nobody"):
            status = await ask(talk.api, token, method, address)
            assert (status == 401) == (name not in PUBLIC), f"{method} {path} answered {status}"


async def test_no_websocket_opens_to_another_sites_page_with_a_persons_cookie(talk: Talk) -> None:
    chat = await talk.start()
    cookie = (b"cookie", f"coder_session_token={talk.person.token}".encode())
    walked = 0
    for method, path, name in routes():
        if method == "WEBSOCKET" and name not in AGENTS:
            walked += 1
            for origin in (b"https://evil.test", b"https://turnstone.test.evil.test", b"null"):
                status = await _handshake(talk.api, "", filled(path, chat=chat), cookie, (b"origin", origin))
                assert status in (400, 403), f"{path} answered {status} to {origin!r}"
    assert walked >= 8


async def test_every_chat_route_is_served_under_both_prefixes() -> None:
    served = {(method, path) for method, path, _ in routes()}
    for method, path in served:
        if path.startswith("/api/v2/chats"):
            assert (method, path.replace("/api/v2/", "/api/experimental/", 1)) in served
