"""wire-api.md section 1: transport, sign-in, the error envelope, JSON typing, paging."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.api.talk import said
from tests.contracts.test_routes import ask as knock
from tests.contracts.wire.world import BAD_JSON, BAD_QUERY, NOWHERE, World, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGNED_OUT = "You are signed out or your session has expired. Please sign in again to continue."
PREFIXES = ("/api/v2/chats", "/api/experimental/chats")


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_1_1_a_token_is_taken_from_header_cookie_and_query(world: World, prefix: str) -> None:
    token = world.member.token
    ways: tuple[dict[str, Any], ...] = (
        {"headers": {"Coder-Session-Token": token}},
        {"headers": {"Cookie": f"coder_session_token={token}"}},
        {"params": {"coder_session_token": token}},
    )
    for way in ways:
        assert (await world.api.stranger.get(prefix, **way)).status_code == 200, way


@pytest.mark.parametrize("token", ["", "nonsense", "ts_token_0000"])
async def test_1_1_without_a_good_token_every_answer_is_401_with_a_detail(world: World, token: str) -> None:
    for path in ("/api/v2/chats", f"/api/v2/chats/{uuid4()}/messages", "/api/v2/chats/watch"):
        response = await world.api.stranger.get(path, headers={"Coder-Session-Token": token})
        refused(response, 401, SIGNED_OUT, "*")


async def test_1_1_a_websocket_without_a_token_is_refused_before_the_upgrade(world: World) -> None:
    chat = await world.talk.start()
    for path in (f"/{chat}/stream", "/watch"):
        assert await knock(world.api, "", "WEBSOCKET", PREFIXES[0] + path) == 401


async def test_1_1_unknown_fields_of_a_body_are_ignored(world: World) -> None:
    made = await world.ask("POST", "", world.new(colour="blue", content=[{"type": "text", "text": "a", "x": 1}]))
    assert made.status_code == 201


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"nope", b'"text"', b"[]", b"{} {}"])
async def test_1_1_a_body_that_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    chat = await world.talk.start()
    for method, path in (("POST", ""), ("POST", f"/{chat}/messages"), ("PATCH", f"/{chat}")):
        refused(await world.ask(method, path, content=body), 400, BAD_JSON, "*")


async def test_1_1_html_is_escaped_and_an_answer_ends_with_a_newline(world: World) -> None:
    chat = await world.talk.start("<b>&\u2028\u2029.")
    made = await world.ask("GET", f"/{chat}/messages")
    assert rb"\u003cb\u003e\u0026\u2028\u2029." in made.content
    assert made.json()["messages"][0]["content"] == said("<b>&\u2028\u2029.")
    assert made.headers["content-type"] == "application/json; charset=utf-8"
    assert made.content.endswith(b"}\n")
    assert made.content.count(b"\n") == 1


async def test_1_1_what_has_nothing_to_say_is_204_without_a_body(world: World) -> None:
    chat = await world.talk.start()
    changed = await world.ask("PATCH", f"/{chat}", {"title": "named"})
    assert (changed.status_code, changed.content) == (204, b"")


async def test_1_1_an_unknown_path_and_a_wrong_method(world: World) -> None:
    for path in ("/api/v2/nothing", "/api/nothing/else", f"/api/v2/chats/{uuid4()}/nothing"):
        refused(await world.ask("GET", path), 404, "Route not found.")
    assert (await world.ask("DELETE", f"/{uuid4()}")).status_code == 405
    assert (await world.ask("PUT", "")).status_code == 405


async def test_1_1_a_body_over_its_cap_is_bad_json(world: World) -> None:
    cap = world.api.resources.settings.max_body_bytes
    padded = json.dumps(world.new(content=said("a"))).encode() + b" " * cap
    refused(await world.ask("POST", "", content=padded), 400, BAD_JSON, "http: request body too large")


async def test_1_2_a_missing_field_is_named_with_the_tag_it_fails(world: World) -> None:
    response = await world.ask("POST", "/api/v2/users/login", {}, by=world.member)
    body = response.json()
    assert (response.status_code, body["message"]) == (400, "Validation failed.")
    assert {"field": "email", "detail": 'Validation failed for tag "required" with value: ""'} in body["validations"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("GET", "/messages"),
        ("POST", "/messages"),
        ("PATCH", "/messages/1"),
        ("GET", "/prompts"),
        ("POST", "/interrupt"),
        ("POST", "/tool-results"),
        ("POST", "/title/regenerate"),
        ("POST", "/title/propose"),
        ("DELETE", "/queue/1"),
        ("POST", "/queue/1/promote"),
        ("GET", "/cost"),
        ("GET", "/stream"),
        ("GET", "/debug/runs"),
    ],
)
async def test_1_2_a_chat_route_reads_the_id_first_and_then_loads_the_chat(
    world: World, method: str, path: str
) -> None:
    body = {} if method in ("POST", "PATCH") else None
    refused(await world.ask(method, f"/nonsense{path}", body), 400, 'Invalid UUID "chat".', "*")
    not_found(await world.ask(method, f"/{NOWHERE}{path}", body))
    not_found(await world.ask(method, f"/{await world.talk.start()}{path}", body, by=world.other))


async def test_1_3_message_and_queue_ids_grow_over_all_chats(world: World) -> None:
    one, two = await world.talk.start(), await world.talk.start()
    queued = [(await world.talk.say(chat, "more"))["queued_message"]["id"] for chat in (one, two, one)]
    assert queued == sorted(set(queued))
    first, second = [(await world.talk.history(chat))["messages"][0]["id"] for chat in (one, two)]
    assert first < second


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ("limit=x", "limit", 'Query param "limit" must be a valid integer ('),
        ("limit=-1", "limit", 'Query param "limit" must be a valid integer ('),
        ("offset=-1", "offset", 'Query param "offset" must be a valid integer ('),
        ("offset=1.5", "offset", 'Query param "offset" must be a valid integer ('),
        ("after_id=5", "after_id", 'Query param "after_id" must be a valid uuid'),
    ],
)
async def test_1_4_bad_paging_of_the_list_is_named(world: World, query: str, field: str, detail: str) -> None:
    response = await world.ask("GET", f"?{query}")
    assert (response.status_code, response.json()["message"]) == (400, BAD_QUERY)
    [validation] = response.json()["validations"]
    assert validation["field"] == field
    assert validation["detail"].startswith(detail)


async def test_1_4_an_empty_value_equals_none_and_zero_is_the_default(world: World) -> None:
    for query in ("?limit=&offset=&after_id=", "?limit=0", "?limit=100000"):
        assert (await world.ask("GET", query)).status_code == 200, query
