"""The laws of an agent's connection: who gets in, what reaches it, whose word counts, and when it is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from models.settings import Settings
from models.store import mailbox
from models.store.database import Database, Row, fetch
from models.store.mailbox import Job
from models.store.notices import JOBS, JobNotice
from tests.api.live_stage import Process
from tests.models.store.chats import born
from tests.seeds import World
from tests.workplace import Workplace, furnish, rebuild, seat

HELLO = {"type": "hello", "protocol": 1, "version": "t", "home": "/home/t", "boot_id": "b"}
DOOR = "/api/v2/workspaceagents/me"


@dataclass
class Hall:
    """Two API processes, a workspace, and ways to be its agent."""

    database: Database
    one: Process
    two: Process
    place: Workplace

    def knock(self, token: str | None = None, process: Process | None = None) -> connect:
        address = f"ws://{(process or self.one).address}{DOOR}/connect"
        return connect(
            address, additional_headers={"Coder-Session-Token": token or self.place.token}, proxy=None, open_timeout=60
        )

    @asynccontextmanager
    async def agent(self, place: Workplace | None = None, process: Process | None = None) -> AsyncIterator["Agent"]:
        async with self.knock((place or self.place).token, process) as socket:
            agent = Agent(socket)
            await agent.say(HELLO)
            agent.welcome = await agent.hear("welcome")
            yield agent

    async def post(self, chat_id: UUID | None = None, **request: Any) -> Job:
        async with self.database.begin() as session:
            job = await mailbox.post(session, uuid4(), self.place.agent_id, "exec", request, chat_id=chat_id)
        assert job is not None
        return job

    async def job(self, job: Job) -> Job:
        async with self.database.read() as session:
            return (await mailbox.find(session, [job.id]))[job.id]

    async def row(self) -> Row:
        async with self.database.read() as session:
            [row] = await fetch(
                session, "SELECT * FROM workspace_agents WHERE id = %(id)s", {"id": self.place.agent_id}
            )
        return row


class Agent:
    """What an agent's end of the connection says and hears."""

    welcome: dict[str, Any]

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, frame: dict[str, Any]) -> None:
        await self.socket.send(orjson.dumps(frame).decode())

    async def hear(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                frame: dict[str, Any] = orjson.loads(await self.socket.recv())
                if frame["type"] == kind:
                    return frame

    async def closed(self) -> int:
        async with asyncio.timeout(60):
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await self.socket.recv()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


@pytest.fixture
async def hall(database: Database, settings: Settings, seed: World) -> AsyncIterator[Hall]:
    one, two = await Process(settings).start(), await Process(settings).start()
    yield Hall(database, one, two, await furnish(database, seed.owner_id, seed.organization_id))
    await asyncio.gather(one.stop(), two.stop())


@pytest.mark.parametrize("token", ["nonsense", "ts_token_nobody", "ts_agent_nobody"])
async def test_a_stranger_is_refused_before_the_connection_is_made(hall: Hall, token: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with hall.knock(token):
            pass
    assert refused.value.response.status_code == 401


async def test_the_agent_of_a_former_build_is_refused_and_one_that_is_there_is_sent_away(hall: Hall) -> None:
    async with hall.agent() as former:
        later = await rebuild(hall.database, hall.place)
        async with hall.database.begin() as session:
            await mailbox.lose(session, hall.place.workspace_id, later.build_id)
            session.tell("turnstone_agents", str(hall.place.agent_id))
        async with hall.agent(later):
            pass
        with pytest.raises(InvalidStatus):
            async with hall.knock(hall.place.token):
                pass
        assert await former.closed() == 4001


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "welcome"},
        {**HELLO, "protocol": 2},
        [],
        "text",
    ],
)
async def test_a_first_frame_that_is_no_hello_ends_the_connection(hall: Hall, frame: Any) -> None:
    async with hall.knock() as socket:
        await socket.send(orjson.dumps(frame).decode())
        assert await Agent(socket).closed() == 4002


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "result", "job": "x", "result": {}},
        {"type": "result", "job": str(UUID(int=1)), "result": "text"},
        {"type": "output", "job": str(UUID(int=1)), "text": 5},
        {"type": "lifecycle", "state": "dancing"},
        {"type": "log", "lines": "text"},
        {"type": "git", "repositories": "text"},
    ],
)
async def test_a_frame_that_is_not_understood_ends_the_connection_and_changes_nothing(
    hall: Hall, frame: dict[str, Any]
) -> None:
    async with hall.agent() as agent:
        await agent.say(frame)
        assert await agent.closed() == 4002


async def test_an_agent_hears_who_it_is_and_is_seen_to_come_and_go(hall: Hall) -> None:
    async with hall.agent() as agent:
        assert agent.welcome["agent_id"] == str(hall.place.agent_id)
        assert agent.welcome["workspace_id"] == str(hall.place.workspace_id)
        assert (agent.welcome["workspace_name"], agent.welcome["owner_name"]) == ("bench", "ada")
        row = await hall.row()
        assert row["facts"]["home"] == "/home/t"
        assert row["disconnected_at"] is None
        await agent.say({"type": "ping"})
        await agent.hear("pong")
        await agent.say({"type": "what a newer agent says"})
        await agent.say({"type": "ping"})
        await agent.hear("pong")
    while (await hall.row())["disconnected_at"] is None:
        await asyncio.sleep(0.01)


async def test_a_job_reaches_the_agent_wherever_it_is_connected_and_its_result_who_asked(hall: Hall) -> None:
    async with hall.agent(process=hall.two) as agent:
        job = await hall.post(command="true")
        frame = await agent.hear("job")
        assert frame == {"type": "job", "job": str(job.id), "kind": "exec", "request": job.request, "chat_id": None}
        assert (await hall.job(job)).state == "delivered"
        await agent.say({"type": "result", "job": str(job.id), "result": {"exit_code": 0}})
        assert await agent.hear("stored") == {"type": "stored", "job": str(job.id)}
        assert (await hall.job(job)).result == {"exit_code": 0}


async def test_what_was_delivered_and_not_told_is_sent_again_to_who_comes_back(hall: Hall) -> None:
    async with hall.agent() as agent:
        job = await hall.post()
        await agent.hear("job")
    async with hall.agent(process=hall.two) as agent:
        assert (await agent.hear("job"))["job"] == str(job.id)


async def test_the_newest_connection_is_the_agents_and_the_older_is_closed(hall: Hall) -> None:
    async with hall.agent() as older, hall.agent(process=hall.two) as newer:
        assert await older.closed() == 4001
        job = await hall.post()
        assert (await newer.hear("job"))["job"] == str(job.id)
        assert (await hall.row())["disconnected_at"] is None


async def test_a_job_that_nobody_waits_for_is_called_off_once(hall: Hall) -> None:
    async with hall.agent() as agent:
        job = await hall.post()
        await agent.hear("job")
        async with hall.database.begin() as session:
            await mailbox.withdraw(session, job.id)
        assert await agent.hear("cancel") == {"type": "cancel", "job": str(job.id)}


async def test_output_is_told_to_who_listens_and_what_is_too_long_is_left_out(hall: Hall) -> None:
    heard: list[JobNotice] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async with aclosing(hall.database.listen([JOBS])) as coming:
            async for notice in coming:
                if notice is None:
                    listening.set()
                else:
                    heard.append(JobNotice.decode(notice.payload))

    listener = asyncio.create_task(listen())
    await listening.wait()
    job_id = uuid4()
    async with hall.agent() as agent:
        for offset, words in ((0, "one"), (3, "ä" * 5000), (4, "two\n")):
            await agent.say({"type": "output", "job": str(job_id), "stream_offset": offset, "text": words})
        while len(heard) < 2:
            await asyncio.sleep(0.01)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    assert heard == [JobNotice(job_id, 0, "one"), JobNotice(job_id, 4, "two\n")]


async def test_lifecycle_and_startup_lines_are_kept(hall: Hall) -> None:
    async with hall.agent() as agent:
        await agent.say({"type": "log", "lines": [{"level": "info", "source": "startup", "output": "nul \x00"}]})
        await agent.say({"type": "lifecycle", "state": "starting"})
        await agent.say({"type": "lifecycle", "state": "start_error"})
        while (await hall.row())["lifecycle"] != "start_error":
            await asyncio.sleep(0.01)
    row = await hall.row()
    assert row["started_at"] is not None
    assert row["ready_at"] is not None
    async with hall.database.read() as session:
        rows = await fetch(session, "SELECT level, source, output FROM workspace_agent_logs")
    assert [(each["level"], each["source"]) for each in rows] == [("info", "startup")]


async def test_a_file_is_brought_once_for_the_chat_that_asked_and_for_no_other_job(hall: Hall, seed: World) -> None:
    chat_id = await born(hall.database, seed)
    await seat(hall.database, chat_id, hall.place)
    async with hall.agent() as agent, httpx.AsyncClient(base_url=f"http://{hall.two.address}", timeout=60) as client:
        job = await hall.post(chat_id)
        await agent.hear("job")

        async def bring(job_id: object, data: bytes, token: str = hall.place.token, **more: str) -> httpx.Response:
            given = {"job": str(job_id), "name": "notes.md", **more}
            return await client.post(
                f"{DOOR}/files", params=given, content=data, headers={"Authorization": f"Bearer {token}"}
            )

        first, second = await bring(job.id, b"# one"), await bring(job.id, b"# one")
        assert (first.status_code, first.json()) == (201, second.json())
        assert first.json()["name"] == "notes.md"
        assert first.json()["media_type"].startswith("text/markdown")
        assert (await bring(uuid4(), b"x")).status_code == 404
        assert (await bring("x", b"x")).status_code == 400
        assert (await bring(job.id, b"")).status_code == 400
        assert (await bring(job.id, b"x", "ts_token_nobody")).status_code == 401
        assert (await bring(job.id, b"x", part="third")).status_code == 400
        small = await bring(job.id, b"# two", part="thumbnail")
        assert small.json()["file_id"] != first.json()["file_id"]
    async with hall.database.read() as session:
        rows = await fetch(session, "SELECT owner_id, data FROM chat_files ORDER BY data")
    assert [(row["owner_id"], bytes(row["data"])) for row in rows] == [
        (seed.owner_id, b"# one"),
        (seed.owner_id, b"# two"),
    ]
