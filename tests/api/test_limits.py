"""The laws of limits at the door: whose they are, that processes share them, and what a refusal says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from api.gossip import Gossip
from api.heads import BoundedProtocol
from api.live.delta import NOTHING, Told
from api.live.watcher import Watcher
from api.ratelimit import RateLimit, network
from models.events import Event
from models.rules.capacity import Limits
from models.settings import Settings
from models.store import live, moves, secrets
from models.store.database import Database
from models.store.live import Floor
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.api.test_files import upload

ME = "/api/v2/users/me"
PATIENCE = 60.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"streams_per_user": 2, "upload_bytes_per_day": 100})


def set_limit(api: Api, name: str, burst: int) -> None:
    object.__setattr__(api.resources, name, RateLimit(6, burst, clock=lambda: 0.0))


async def test_all_tokens_of_a_user_share_one_limit(api: Api, member: Person) -> None:
    again = await api.sign_in(member.id, "member")
    for person in (member, again):
        assert (await person.client.get(ME)).status_code == 200  # now both tokens are known
    set_limit(api, "rate_limit", 4)
    statuses = [(await person.client.get(ME)).status_code for _ in range(4) for person in (member, again)]
    assert statuses == [200] * 4 + [429] * 4


async def test_who_writes_too_often_may_still_read(api: Api, member: Person) -> None:
    talk = Talk(api, member)
    chat = await talk.start()
    set_limit(api, "writes", 1)
    assert (await member.client.patch(f"{CHATS}/{chat}", json={"title": "one"})).status_code == 204
    await talk.get(chat)  # whose token is not known (any more) is a stranger, and counted as one
    refused = await member.client.patch(f"{CHATS}/{chat}", json={"title": "two"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert refused.json()["message"] == "Too many requests."
    assert (await talk.get(chat))["title"] == "one"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb::2", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("::1", "::2", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_strangers_of_one_subscriber_share_a_limit(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same


def test_two_processes_together_let_a_caller_pass_hardly_more_often_than_one() -> None:
    now, passed = [0.0], 0
    limits = [RateLimit(60, 10, clock=lambda: now[0]) for _ in range(2)]
    for second in range(600):
        now[0] = float(second)
        for limit in limits:
            while not limit.take("a"):
                passed += 1
        told = [limit.told() for limit in limits]
        for hearer, said in zip(limits, reversed(told), strict=True):
            for key, taken in said.items():
                hearer.heard(key, taken)
    assert 500 <= passed <= 600 + 2 * 10
    now[0] = 10_000.0
    assert [limit.take("a") for limit in limits for _ in range(10)] == [0.0] * 20, "a debt is paid off"


async def test_processes_tell_each_other_through_the_database(database: Database) -> None:
    here, there = RateLimit(1, 20), RateLimit(1, 20)
    tells, hears = Gossip(database, {"requests": here}), Gossip(database, {"requests": there})
    listening = asyncio.create_task(hears.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while True:  # a notice before it listens is lost, as any may be
                here.heard("somebody", -20)
                while not here.take("somebody"):
                    pass
                await tells.tell()
                await asyncio.sleep(0.05)
                if there.take("somebody"):
                    break
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert not there.take("somebody else")


async def test_a_user_has_so_many_streams_open_and_no_more(api: Api, member: Person, owner: Person) -> None:
    chat = await Talk(api, member).start()
    events = {"Accept": "text/event-stream"}
    guests, principal = api.resources.guests, await api.resources.principals.find(secrets.digest(member.token))
    assert principal is not None
    with ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(guests.admitted(guests.arrive(principal, b""), Watcher(1000, lambda _: None)))
        for path in (f"{CHATS}/{chat}/stream", f"{CHATS}/watch"):
            refused = await member.client.get(path, headers=events)
            assert (refused.status_code, refused.json()["message"]) == (429, "Too many open streams.")
            assert refused.headers["retry-after"] == "10"
        assert (await owner.client.get(f"{CHATS}/watch")).status_code == 426
    assert (await member.client.get(f"{CHATS}/watch")).status_code == 426


async def test_a_person_uploads_so_many_bytes_a_day_and_no_more(api: Api, member: Person, owner: Person) -> None:
    talk = Talk(api, member)
    assert (await upload(talk, b"x" * 60)).status_code == 201
    refused = await upload(talk, b"y" * 41)
    assert (refused.status_code, refused.json()["message"]) == (429, "Upload limit exceeded.")
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert (await upload(talk, b"y" * 40)).status_code == 201
    assert (await upload(talk, b"z" * 60, client=owner.client)).status_code == 201


async def test_a_chat_that_is_queued_for_capacity_says_so(api: Api, member: Person) -> None:
    talk = Talk(api, member)
    running, waiting = await talk.start(), await talk.start()
    await talk.begin(running)
    assert "queued_for_capacity" not in await talk.get(waiting)
    async with api.resources.database.begin() as session:
        asked = await moves.open_attempt(session, waiting, max_attempts=25, max_steps=9, limits=Limits(per_user=1))
    assert asked.queued
    shown = await talk.get(waiting)
    listed = {each["id"]: each for each in (await member.client.get(CHATS)).json()}
    for each in (shown, listed[str(waiting)]):
        assert (each["status"], each["queued_for_capacity"]) == ("pending", True)
    assert "queued_for_capacity" not in listed[str(running)]
    explained = (await member.client.get(f"{CHATS}/{waiting}/explain")).json()
    assert explained["waits_for"] == "A turn of its owner, or of its organization, to end: as many run as may."
    assert explained["queued_for_capacity_at"]
    async with api.resources.database.read() as session:
        queued = (await live.read(session, {waiting: Floor()}))[waiting]
    told, seen = Told(queued).changes(NOTHING)
    assert statuses(told) == [{"status": "pending", "queued_for_capacity": True}]
    await talk.begin(waiting)
    async with api.resources.database.read() as session:
        begun = (await live.read(session, {waiting: Floor(seen.cursor)}))[waiting]
    assert statuses(Told(begun).changes(seen)[0]) == [{"status": "running"}]


def statuses(told: list[Event]) -> list[dict[str, Any]]:
    return [orjson.loads(each.data)["status"] for each in told if each.type == "status"]


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Hasty(BoundedProtocol):
    largest = 2000
    patience = 0.2


@asynccontextmanager
async def server(protocol: type[BoundedProtocol]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that speaks by this protocol."""
    config = uvicorn.Config(answers, log_config=None)
    made = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
    )
    async with made:
        reader, writer = await asyncio.open_connection(*made.sockets[0].getsockname()[:2])
        try:
            yield reader, writer
        finally:
            writer.close()


@pytest.mark.parametrize("endless", [b"GET /%s", b"GET / HTTP/1.1\r\nX-Long: %s", b"GET / HTTP/1.1\r\n%s"])
async def test_a_head_that_does_not_end_is_refused(endless: bytes) -> None:
    filler = b"X-A: b\r\n" if endless.endswith(b"\n%s") else b"a" * 8
    async with server(BoundedProtocol) as (reader, writer), asyncio.timeout(PATIENCE):
        writer.write(endless.replace(b"%s", b""))
        with suppress(ConnectionError):
            for _ in range(400):
                writer.write(filler * 128)
                await writer.drain()
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 431 ")


async def test_whoever_takes_too_long_to_ask_is_hung_up_on_and_who_asks_again_is_not() -> None:
    async with server(Hasty) as (reader, writer), asyncio.timeout(PATIENCE):
        body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"b" * 5000
        for _ in range(3):  # a body is no head, and each request has a head of its own
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        writer.write(b"GET / HTTP/1.1\r\nHost: ")
        assert await reader.read() == b""
