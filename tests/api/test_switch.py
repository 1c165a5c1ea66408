"""The switch finds the route that trying all of them in turn would find, and leaves the rest to them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute

from api.app import create_app
from api.errors import METHODS
from api.switch import Switch
from models.settings import Settings

CHAT = "0199c0de-7a3b-7c11-9d2f-5b8f2a6f0c01"


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


def scopes(path: str) -> Iterator[dict[str, Any]]:
    for method in METHODS:
        yield {"type": "http", "method": method, "path": path, "headers": []}
    yield {"type": "websocket", "path": path, "headers": []}


def in_turn(routes: list[BaseRoute], scope: dict[str, Any]) -> tuple[Any, Any]:
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return route, child
    return None, {}


def test_each_path_and_method_leads_where_trying_all_routes_leads(app: FastAPI) -> None:
    switch, *routes = app.router.routes
    assert isinstance(switch, Switch)
    templates = {route.path for route in routes if isinstance(route, Route | WebSocketRoute)}
    paths = {re.sub(r"{[\w:]+}", filler, path) for path in templates for filler in (CHAT, "files")}
    odd = {re.sub(r"{[\w:]+}", CHAT, path) + end for path in templates for end in ("/", "\n", "/more")} | {
        "",
        "/",
        "//",
    }
    asked = [scope for path in sorted(paths) for scope in scopes(path)]
    asked += [{"type": "http", "method": "GET", "path": path, "headers": []} for path in sorted(odd)]
    found = 0
    for scope in asked:
        match, child = switch.matches(scope)
        wanted, seen = in_turn(routes, scope)
        if match is Match.NONE:  # what the switch leaves to the routes: nothing, and patterns that are not of words
            assert wanted is None or ":path}" in wanted.path or scope["path"].endswith("\n"), scope
            continue
        assert child.pop("turnstone.route") is wanted, scope
        assert child == seen
        found += 1
    assert found > len(routes)


def test_below_another_root_path_the_switch_stands_aside(app: FastAPI) -> None:
    scope = {"type": "http", "method": "GET", "path": "/healthz", "headers": [], "root_path": "/below"}
    assert app.router.routes[0].matches(scope)[0] is Match.NONE
