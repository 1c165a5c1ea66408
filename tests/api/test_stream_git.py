"""The repositories of a workspace: seen by its agent, told to watchers of any process, and to its chats."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from models.settings import Settings
from models.store import organizations, people
from models.store.database import Database, fetch
from models.store.notices import CHATS, ChatNotice
from tests.api.conftest import Api, Person
from tests.api.live_stage import PREFIX, Process, Stage, people_beside, staged
from tests.api.talk import Talk
from tests.workplace import Workplace, furnish, rebuild, seat

DIFF = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-old\n+new\n+newer\n"
REMOTE = "https://github.com/acme/site.git"
SITE = {"repo_root": "/w/site", "branch": "mutex", "remote_origin": REMOTE, "unified_diff": DIFF, "removed": False}
TOOLS = {"repo_root": "/w/tools", "branch": "main", "remote_origin": "", "unified_diff": "", "removed": False}
AT = "2026-05-20T10:00:00Z"


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    unlimited = settings.model_copy(update={"rate_limit_per_minute": 0, "temporal_address": "127.0.0.1:9"})
    async with staged(database, unlimited) as made:
        yield made


@pytest.fixture
async def place(stage: Stage) -> Workplace:
    """Where the stage's chat works; its agent is away."""
    made = await furnish(stage.drive.database, stage.drive.owner_id, stage.organization_id)
    await seat(stage.drive.database, stage.drive.chat_id, made)
    return made


class Agent:
    """The agent's end of its connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def sees(self, *repositories: dict[str, Any], **more: Any) -> None:
        await self.say(type="git", scanned_at=AT, repositories=list(repositories), **more)

    async def say(self, **frame: Any) -> None:
        await self._socket.send(orjson.dumps(frame).decode())

    async def hears(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                frame: dict[str, Any] = orjson.loads(await self._socket.recv())
                if frame["type"] == kind:
                    return frame


@asynccontextmanager
async def agent(process: Process, place: Workplace) -> AsyncIterator[Agent]:
    address = f"ws://{process.address}/api/v2/workspaceagents/me/connect"
    async with connect(
        address, additional_headers={"Coder-Session-Token": place.token}, proxy=None, open_timeout=60
    ) as socket:
        made = Agent(socket)
        await made.say(type="hello", protocol=1)
        await made.hears("welcome")
        yield made


def path(stage: Stage) -> str:
    return f"/{stage.drive.chat_id}/stream/git"


async def told(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(60):
        event: dict[str, Any] = orjson.loads(await socket.recv())
    return event


def changes(*repositories: dict[str, Any]) -> dict[str, Any]:
    return {"type": "changes", "scanned_at": AT, "repositories": list(repositories)}


async def refusal(stage: Stage, token: str | None = None) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with stage.socket(stage.one, path(stage), token):
            pass
    return refused.value.response.status_code, orjson.loads(refused.value.response.body or b"")["message"]


async def write(stage: Stage, statement: Any, **params: Any) -> list[dict[str, Any]]:
    async with stage.drive.database.begin() as session:
        return await fetch(session, statement, params)


async def test_changes_reach_watchers_of_another_process_over_both_transports(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there:
        await there.sees(TOOLS, SITE)
        async with stage.socket(stage.two, path(stage)) as socket, stage.sse(stage.two, path(stage)) as records:
            assert await told(socket) == await records.take() == changes(SITE, TOOLS)
            newer = {**SITE, "branch": "spin"}
            await there.sees(newer)
            assert await told(socket) == await records.take() == changes(newer)
            await there.sees({**TOOLS, "removed": True}, error="git is broken")
            gone = {**TOOLS, "removed": True}
            assert await told(socket) == await records.take() == changes(gone)
            broken = {"type": "error", "message": "git is broken"}
            assert await told(socket) == await records.take() == broken


async def test_a_refresh_reaches_the_agent_wherever_it_is_and_nothing_else_is_understood(
    stage: Stage, place: Workplace
) -> None:
    async with agent(stage.one, place) as there, stage.socket(stage.two, path(stage)) as socket:
        for words in ("what", "[]", '{"type":"stop"}'):
            await socket.send(words)
            assert await told(socket) == {"type": "error", "message": "unknown message type"}
        await socket.send('{"type":"refresh"}')
        assert await there.hears("git_refresh") == {"type": "git_refresh"}


async def test_what_is_seen_before_a_new_connection_is_over_with_it(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there:
        await there.sees(TOOLS, SITE)
        async with stage.socket(stage.two, path(stage)) as socket:
            await told(socket)
    async with agent(stage.two, place) as again:
        await again.sees(error="not now")
        async with stage.socket(stage.two, path(stage)) as socket:
            assert await told(socket) == changes(SITE, TOOLS)
            assert await told(socket) == {"type": "error", "message": "not now"}
        await again.sees(SITE)
        await settled(stage, lambda chat: chat["seen"] == 1)


async def settled(stage: Stage, holds: Any) -> dict[str, Any]:
    """How many repositories are known, and the chat's diff status, once it holds."""
    async with asyncio.timeout(60):
        while True:
            [row] = await write(
                stage,
                """SELECT jsonb_array_length(a.git -> 'repositories') AS seen, d.* FROM workspace_agents a
                LEFT JOIN chat_diff_statuses d ON d.chat_id = %(chat)s""",
                chat=stage.drive.chat_id,
            )
            if row["seen"] is not None and holds(row):
                return row
            await asyncio.sleep(0.02)


async def test_the_chats_that_work_there_know_their_branch_and_are_told_of_changes_alone(
    stage: Stage, place: Workplace
) -> None:
    listening = stage.drive.database.listen([CHATS])
    assert await anext(listening) is None
    async with agent(stage.one, place) as there:
        await there.sees(SITE)
        await settled(stage, lambda row: row["git_branch"] == "mutex")
        await there.sees(SITE)
        await there.sees(TOOLS)
        row = await settled(stage, lambda row: row["seen"] == 2)
        assert (row["git_remote_origin"], row["additions"], row["deletions"], row["changed_files"]) == (REMOTE, 2, 1, 1)
        await there.sees({**SITE, "unified_diff": ""})
        await settled(stage, lambda row: row["additions"] == 0)
        await write(
            stage,
            "UPDATE chat_diff_statuses SET pull_request_state = 'open', url = 'https://x/pull/1', additions = 40",
        )
        await there.sees({**SITE, "branch": "spin"})
        row = await settled(stage, lambda row: row["git_branch"] == "spin")
        assert row["additions"] == 40  # a pull request's own
    await write(stage, "SELECT pg_notify(%(channel)s, 'done')", channel=CHATS)
    heard = []
    while (notice := await anext(listening)) is not None and notice.payload != "done":
        heard.append(ChatNotice.decode(notice.payload))
    await listening.aclose()
    assert [(each.chat_id, each.watch) for each in heard] == [(stage.drive.chat_id, ("diff_status_change",))] * 3


async def test_a_chat_that_comes_later_knows_what_was_seen_before(stage: Stage) -> None:
    place = await furnish(stage.drive.database, stage.drive.owner_id, stage.organization_id)
    async with agent(stage.one, place) as there:
        await there.sees(SITE)
        await settled(stage, lambda row: row["seen"] == 1)
    headers = {"Coder-Session-Token": stage.token}
    async with httpx.AsyncClient(base_url=f"http://{stage.two.address}{PREFIX}", headers=headers, timeout=60) as client:
        where = {"workspace_id": str(place.workspace_id)}
        said = [{"type": "text", "text": "hello"}]
        made = await client.post("", json={"organization_id": str(stage.organization_id), "content": said, **where})
        bound = await client.patch(f"/{stage.drive.chat_id}", json=where)
        assert (made.status_code, bound.status_code) == (201, 204)
        for chat in (made.json()["id"], stage.drive.chat_id):
            shown = (await client.get(f"/{chat}")).json()["diff_status"]
            assert (shown["url"], shown["additions"]) == ("https://github.com/acme/site/tree/mutex", 2)


async def test_the_diff_is_for_whoever_may_work_there(stage: Stage, place: Workplace) -> None:
    _, friend, tokens = await people_beside(stage)
    acl = orjson.dumps({str(friend): {"permissions": ["read"]}}).decode()
    await write(stage, "UPDATE chats SET user_acl = %(acl)s::jsonb", acl=acl)
    async with agent(stage.one, place) as there:
        await there.sees(TOOLS, SITE)
        await settled(stage, lambda row: row["git_branch"] == "mutex")
    address = f"http://{stage.two.address}{PREFIX}/{stage.drive.chat_id}/diff"
    known = {
        "chat_id": str(stage.drive.chat_id),
        "provider": "github",
        "remote_origin": REMOTE,
        "branch": "mutex",
    }
    async with httpx.AsyncClient(timeout=60) as client:
        for token, shown in ((stage.token, {**known, "diff": DIFF}), (tokens[friend], known)):
            response = await client.get(address, headers={"Coder-Session-Token": token})
            assert response.json() == shown


async def test_each_reason_not_to_watch_is_told_in_the_documented_words(stage: Stage) -> None:
    database, chat_id = stage.drive.database, stage.drive.chat_id
    assert await refusal(stage) == (400, "Chat has no workspace to watch.")
    place = await furnish(database, stage.drive.owner_id, stage.organization_id)
    await seat(database, chat_id, place)
    assert await refusal(stage) == (400, 'Agent state is "connecting", it must be in the "connected" state.')
    await write(stage, "UPDATE workspace_agents SET last_seen_at = now() - interval '1 hour'")
    assert await refusal(stage) == (400, 'Agent state is "disconnected", it must be in the "connected" state.')
    await write(stage, "DELETE FROM workspace_agents")
    assert await refusal(stage) == (400, "Chat workspace has no agents.")
    stranger, friend, tokens = await people_beside(stage)
    assert (await refusal(stage, tokens[stranger]))[0] == 404
    acl = orjson.dumps({str(friend): {"permissions": ["read"]}}).decode()
    await write(stage, "UPDATE chats SET user_acl = %(acl)s::jsonb", acl=acl)
    assert await refusal(stage, tokens[friend]) == (400, "Chat workspace not found.")
    async with database.begin() as session:
        boss = await people.create(session, username="boss", email="boss@example.com", roles=())
        await organizations.add(session, stage.organization_id, boss, ("organization-admin",))
        _, token = await people.create_token(session, boss, kind="token", lifetime=timedelta(hours=1), scopes=())
    assert (await refusal(stage, token))[0] == 403
    await write(stage, "UPDATE workspaces SET deleted = true")
    assert await refusal(stage) == (400, "Chat workspace not found.")


async def test_a_stream_ends_with_the_agent_it_follows(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there, stage.socket(stage.two, path(stage)) as socket:
        await rebuild(stage.drive.database, place)
        await there.sees(SITE)
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                await told(socket)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1001


async def test_a_server_that_stops_ends_the_streams_of_repositories_in_order(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place), stage.socket(stage.two, path(stage)) as socket:
        async with stage.sse(stage.two, path(stage)) as records:
            stopping = asyncio.create_task(stage.two.stop())
            with pytest.raises(EOFError):  # it is ended, not cut off when the server's patience is over
                async with asyncio.timeout(60):
                    while True:
                        await records.take()
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                await told(socket)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1001
        await stopping


async def test_without_a_stream_to_take_the_answer_is_426(api: Api, member: Person) -> None:
    talk = Talk(api, member)
    place = await furnish(api.resources.database, member.id, api.organization_id)
    chat: UUID = await talk.start(workspace_id=str(place.workspace_id))
    async with api.resources.database.begin() as session:
        await fetch(session, "UPDATE workspace_agents SET last_seen_at = now()")
    assert (await talk.client.get(f"{PREFIX}/{chat}/stream/git")).status_code == 426


async def test_long_diffs_are_taken_and_told_in_what_clients_can_read(stage: Stage, place: Workplace) -> None:
    lines = "".join(f'+"{n}"\n' for n in range(200_000))
    long = {**SITE, "unified_diff": f"diff --git a/x b/x\n@@ -0,0 +1,200000 @@\n{lines}"}
    async with agent(stage.one, place) as there, stage.socket(stage.two, path(stage)) as socket:
        await there.sees(long, {**long, "repo_root": "/w/twin"})
        event = await told(socket)  # of less than 4 MiB
        first, second = event["repositories"]
        assert first["unified_diff"] == long["unified_diff"]
        assert second["unified_diff"].endswith("too long]\n")
        row = await settled(stage, lambda row: row["seen"] == 2)
        assert row["additions"] == 400_000


async def test_frames_that_no_agent_sends_end_its_connection(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there:
        await there.say(type="git", repositories=[{"branch": "x"}])
        with pytest.raises(ConnectionClosed) as ended:
            await there.hears("never")
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4002
