"""Laws of several API processes on one database: whoever is asked, there is one truth, and one end of a permission."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from models.settings import Settings
from models.store.database import Database, fetch
from tests.api.live_stage import PREFIX, Stage, heard, people_beside, staged
from tests.api.talk import said

# Less than the time for which a process remembers a token without being told of a change (api.principals.LIFE).
PATIENCE = 8
GOING_AWAY = 1001


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    unlimited = {"rate_limit_per_minute": 0, "temporal_address": "127.0.0.1:9"}
    async with staged(database, settings.model_copy(update=unlimited)) as made:
        yield made


class Replicas:
    """A client whose requests go to one process and the other in turn."""

    def __init__(self, stage: Stage, token: str) -> None:
        self.token = token
        self._clients = [
            httpx.AsyncClient(base_url=f"http://{process.address}", headers={"Coder-Session-Token": token}, timeout=60)
            for process in (stage.one, stage.two)
        ]
        self._turn = itertools.cycle(self._clients)

    async def __aenter__(self) -> "Replicas":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await next(self._turn).request(method, path, json=body, headers=headers)

    async def both(self, path: str) -> list[Any]:
        """What each process answers."""
        answers = [await client.get(path) for client in self._clients]
        return [each.json() if each.status_code == 200 else each.status_code for each in answers]


async def test_what_one_process_accepts_the_other_shows_at_once(stage: Stage) -> None:
    async with Replicas(stage, stage.token) as client:
        content = {"organization_id": str(stage.organization_id), "content": said("hello")}
        for number in range(2):
            chat = (await client.ask("POST", PREFIX, content)).json()["id"]
            for path, field, value in (
                (f"{PREFIX}/{chat}", "title", f"name {number}"),
                (f"{PREFIX}/{chat}", "labels", {"number": str(number)}),
                (f"{PREFIX}/{chat}", "pin_order", 1),
                (f"{PREFIX}/{chat}", "archived", True),
                (f"{PREFIX}/{chat}", "archived", False),
            ):
                assert (await client.ask("PATCH", path, {field: value})).status_code == 204
                one, two = await client.both(path)
                assert one == two
                assert one[field] == value
            sent = await client.ask("POST", f"{PREFIX}/{chat}/messages", {"content": said("and then")})
            assert sent.status_code == 200
            one, two = await client.both(f"{PREFIX}/{chat}/messages")
            assert one == two
            assert len(one["messages"]) + len(one["queued_messages"]) == 2
            for role, shared in (("read", True), ("", False)):
                grant = {"group_roles": {str(stage.organization_id): role}}
                assert (await client.ask("PATCH", f"{PREFIX}/{chat}/acl", grant)).status_code == 204
                one, two = await client.both(f"{PREFIX}/{chat}/acl")
                assert one == two
                assert bool(one["groups"]) == shared
            one, two = await client.both(PREFIX)
            assert one == two
            assert len(one) == number + 2
            await client.ask("GET", PREFIX)  # so that the other one begins the next round


async def test_a_key_that_one_process_has_seen_the_other_knows(stage: Stage) -> None:
    async with Replicas(stage, stage.token) as client:
        path, body = f"{PREFIX}/{stage.drive.chat_id}/messages", {"content": said("once")}
        answers = [await client.ask("POST", path, body, **{"Idempotency-Key": "one-key"}) for _ in range(4)]
        assert len({each.content for each in answers}) == 1
        assert [each.headers.get("Idempotency-Replayed") for each in answers] == [None, "true", "true", "true"]
        other = await client.ask("POST", path, {"content": said("else")}, **{"Idempotency-Key": "one-key"})
        assert other.status_code == 422
        # Both at once: one does it, the other waits for it, is told so, or replays it.
        many = await asyncio.gather(
            *(client.ask("POST", path, body, **{"Idempotency-Key": "at-once"}) for _ in range(6))
        )
        assert {each.status_code for each in many} <= {200, 409}
        shown = (await client.both(f"{PREFIX}/{stage.drive.chat_id}/messages"))[0]
        texts = [each["content"][0]["text"] for each in shown["messages"] + shown["queued_messages"]]
        assert texts.count("once") == 2


async def test_what_happens_at_one_process_is_told_at_both(stage: Stage) -> None:
    async with (
        Replicas(stage, stage.token) as client,
        stage.socket(stage.one, "/watch") as one,
        stage.socket(stage.two, "/watch") as two,
    ):
        chat, titles = stage.drive.chat_id, [f"title {number}" for number in range(6)]
        for title in titles:
            assert (await client.ask("PATCH", f"{PREFIX}/{chat}", {"title": title})).status_code == 204
        for socket in (one, two):
            told = [orjson.loads(await asyncio.wait_for(socket.recv(), 60)) for _ in titles]
            assert [each["kind"] for each in told] == ["title_change"] * len(titles)
            assert told[-1]["chat"]["title"] == titles[-1]


Act = Callable[[Replicas], Awaitable[Any]]


LOSSES = ["share", "group", "membership", "token", "account", "role", "session", "password"]


@pytest.mark.parametrize("lost", LOSSES)
async def test_who_may_no_longer_read_is_shown_out_of_both_processes_at_once(stage: Stage, lost: str) -> None:
    _, friend, tokens = await people_beside(stage)
    chat, members = stage.drive.chat_id, "/api/v2/organizations/default/members"
    async with Replicas(stage, stage.token) as owner, Replicas(stage, tokens[friend]) as reader:
        group = (await owner.ask("POST", "/api/v2/organizations/default/groups", {"name": "crew"})).json()["id"]
        await owner.ask("PATCH", f"/api/v2/groups/{group}", {"add_users": [str(friend)]})
        by_group = {"group_roles": {group: "read"}}
        if lost == "role":
            reads = [{"resource_type": "chat", "action": "read"}]
            role = {"name": "reader", "organization_permissions": reads}
            assert (await owner.ask("POST", f"{members}/roles", role)).status_code == 200
            assert (await owner.ask("PUT", f"{members}/friend/roles", {"roles": ["reader"]})).status_code == 200
        else:
            grant = by_group if lost == "group" else {"user_roles": {str(friend): "read"}}
            assert (await owner.ask("PATCH", f"{PREFIX}/{chat}/acl", grant)).status_code == 204
        token_id = await _token_id(stage, friend, kind="session" if lost in ("session", "password") else "token")
        losses: dict[str, tuple[str, str, Any, int]] = {
            "share": ("PATCH", f"{PREFIX}/{chat}/acl", {"user_roles": {str(friend): ""}}, 404),
            "group": ("PATCH", f"/api/v2/groups/{group}", {"remove_users": [str(friend)]}, 404),
            "membership": ("DELETE", f"{members}/friend", None, 404),
            "token": ("DELETE", f"/api/v2/users/friend/keys/{token_id}", None, 401),
            "account": ("PUT", "/api/v2/users/friend/status/suspend", None, 401),
            "role": ("DELETE", f"{members}/roles/reader", None, 404),
            "session": ("DELETE", f"/api/v2/users/friend/sessions/{token_id}", None, 401),
            "password": ("PUT", "/api/v2/users/friend/password", {"password": "quite another phrase"}, 401),
        }
        async with (
            stage.socket(stage.one, token=reader.token) as first,
            stage.socket(stage.two, token=reader.token) as second,
            stage.socket(stage.one) as own,
            stage.socket(stage.two) as own_too,
        ):
            for socket in (first, second, own, own_too):
                await heard(socket)
            method, path, body, refusal = losses[lost]
            assert (await owner.ask(method, path, body)).status_code in (200, 204)
            for socket in (first, second):
                assert await _end(socket) == GOING_AWAY
            await _until(lambda: reader.both(f"{PREFIX}/{chat}"), [refusal, refusal])
            for process in (stage.one, stage.two):
                with pytest.raises(InvalidStatus) as refused:
                    async with stage.socket(process, token=reader.token):
                        pass
                assert refused.value.response.status_code == refusal
            # Whoever may, goes on.
            await stage.drive.open()
            for socket in (own, own_too):
                assert [each["type"] for each in await heard(socket)] == ["status"]


async def test_who_loses_the_role_loses_their_chats_and_their_list_at_both_until_it_returns(stage: Stage) -> None:
    _, friend, tokens = await people_beside(stage)
    roles = "/api/v2/organizations/default/members/friend/roles"
    async with Replicas(stage, stage.token) as owner, Replicas(stage, tokens[friend]) as theirs:
        content = {"organization_id": str(stage.organization_id), "content": said("mine")}
        chat = (await theirs.ask("POST", PREFIX, content)).json()["id"]
        assert [each["id"] for each in await theirs.both(f"{PREFIX}/{chat}")] == [chat, chat]
        async with (
            stage.socket(stage.one, f"/{chat}/stream", token=theirs.token) as stream,
            stage.sse(stage.two, "/watch", **{"Coder-Session-Token": theirs.token}) as watch,
        ):
            await heard(stream)
            assert (await owner.ask("PUT", roles, {"roles": []})).status_code == 200
            assert await _end(stream) == GOING_AWAY
            with pytest.raises(EOFError):
                await asyncio.wait_for(watch.take(), PATIENCE)
        await _until(lambda: theirs.both(f"{PREFIX}/{chat}"), [404, 404])
        assert await theirs.both(PREFIX) == [[], []]
        assert (await owner.ask("PUT", roles, {"roles": ["agents-access"]})).status_code == 200
        await _until(lambda: _ids(theirs.both(PREFIX)), [[chat], [chat]])


async def test_a_reader_of_a_sub_agent_chat_is_shown_out_with_the_family(stage: Stage) -> None:
    _, friend, tokens = await people_beside(stage)
    child = UUID(int=7)
    async with Replicas(stage, stage.token) as owner:
        async with stage.drive.database.begin() as session:
            await fetch(
                session,
                """INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, parent_chat_id,
                       root_chat_id)
                   SELECT %(child)s, owner_id, organization_id, last_model_config_id, id, id
                   FROM chats WHERE id = %(id)s""",
                {"child": child, "id": stage.drive.chat_id},
            )
        path = f"{PREFIX}/{stage.drive.chat_id}/acl"
        await owner.ask("PATCH", path, {"user_roles": {str(friend): "read"}})
        async with stage.socket(stage.one, f"/{child}/stream", token=tokens[friend]) as stream:
            await heard(stream)
            await owner.ask("PATCH", path, {"user_roles": {str(friend): ""}})
            assert await _end(stream) == GOING_AWAY


async def _token_id(stage: Stage, user: UUID, *, kind: str) -> str:
    """Of their one token, which is of this kind from now on."""
    async with stage.drive.database.begin() as session:
        [row] = await fetch(
            session,
            "UPDATE api_keys SET kind = %(kind)s WHERE user_id = %(user)s RETURNING id",
            {"user": user, "kind": kind},
        )
    found: str = row["id"]
    return found


async def _ids(lists: Awaitable[list[Any]]) -> list[list[str]]:
    return [[each["id"] for each in chats] for chats in await lists]


async def _end(socket: ClientConnection) -> int:
    """The code that the stream is closed with."""
    with pytest.raises(ConnectionClosed) as closed:
        async with asyncio.timeout(PATIENCE):
            while True:
                await socket.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def _until(look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Return once both processes have heard of it."""
    found = None
    try:
        async with asyncio.timeout(PATIENCE):
            while (found := await look()) != wanted:
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"still {found} instead of {wanted}")
