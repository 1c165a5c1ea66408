"""The desktop of a workspace reaches who may work there, through the process where they are, while they may."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from models.rules import features
from models.settings import Settings
from models.store import people
from models.store.database import Database, fetch
from tests.api.live_stage import PREFIX, Process, Stage, people_beside, staged
from tests.displays import needs_display
from tests.workplace import Workplace, furnish, rebuild, seat

DOOR = "/api/v2/workspaceagents/me"
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    unlimited = settings.model_copy(update={"rate_limit_per_minute": 0, "temporal_address": "127.0.0.1:9"})
    async with staged(database, unlimited) as made:
        await write(
            made,
            "INSERT INTO site_configs (key, value) VALUES (%(key)s, 'true')",
            key=features.DESKTOP,
        )
        yield made


@pytest.fixture
async def place(stage: Stage) -> Workplace:
    """Where the stage's chat works; its agent is away."""
    made = await furnish(stage.drive.database, stage.drive.owner_id, stage.organization_id)
    await seat(stage.drive.database, stage.drive.chat_id, made)
    return made


async def write(stage: Stage, statement: Any, **params: Any) -> list[dict[str, Any]]:
    async with stage.drive.database.begin() as session:
        return await fetch(session, statement, params)


def path(stage: Stage) -> str:
    return f"/{stage.drive.chat_id}/stream/desktop"


class Agent:
    """An agent that is asked for its desktop."""

    def __init__(self, socket: ClientConnection, token: str) -> None:
        self._socket = socket
        self._token = token

    async def say(self, **frame: Any) -> None:
        await self._socket.send(orjson.dumps(frame).decode())

    async def asked(self) -> dict[str, Any]:
        """The next job, which is to bring the desktop to somebody."""
        async with asyncio.timeout(60):
            while True:
                frame: dict[str, Any] = orjson.loads(await self._socket.recv())
                if frame["type"] == "job":
                    assert (frame["kind"], frame["chat_id"]) == ("view", None)
                    return frame

    def dial(self, process: Process, job: dict[str, Any], token: str = "") -> connect:
        address = f"ws://{process.address}{DOOR}/desktop/{job['request']['session']}"
        return connect(
            address, additional_headers={"Coder-Session-Token": token or self._token}, proxy=None, open_timeout=60
        )


@asynccontextmanager
async def agent(process: Process, place: Workplace) -> AsyncIterator[Agent]:
    headers = {"Coder-Session-Token": place.token}
    async with connect(
        f"ws://{process.address}{DOOR}/connect", additional_headers=headers, proxy=None, open_timeout=60
    ) as socket:
        made = Agent(socket, place.token)
        await made.say(type="hello", protocol=1)
        async with asyncio.timeout(60):
            while orjson.loads(await socket.recv())["type"] != "welcome":
                pass
        yield made


@asynccontextmanager
async def watching(
    stage: Stage, there: Agent, **headers: str
) -> AsyncIterator[tuple[ClientConnection, ClientConnection]]:
    """Somebody watches at the second process; their end of the line, and the agent's."""
    opening = asyncio.ensure_future(stage.socket(stage.two, path(stage), **headers).__aenter__())
    job = await there.asked()
    async with there.dial(stage.two, job) as link:
        client = await opening
        try:
            yield client, link
        finally:
            await client.close()


async def closed(socket: ClientConnection) -> int:
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                await socket.recv()
    assert ended.value.rcvd is not None
    return ended.value.rcvd.code


async def refusal(opening: connect) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        async with asyncio.timeout(60), opening:
            pass
    return refused.value.response.status_code, orjson.loads(refused.value.response.body or b"{}")


async def test_bytes_go_both_ways_through_the_process_where_the_viewer_is(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there:
        address, headers = f"ws://{stage.two.address}{PREFIX}{path(stage)}", {"Coder-Session-Token": stage.token}
        asked = connect(address, additional_headers=headers, subprotocols=[Subprotocol("binary")], proxy=None)
        opening = asyncio.ensure_future(asked.__aenter__())
        job = await there.asked()
        assert (await refusal(there.dial(stage.one, job)))[0] == 404
        other = await furnish(stage.drive.database, stage.drive.owner_id, stage.organization_id, name="other")
        assert (await refusal(there.dial(stage.two, job, other.token)))[0] == 404
        assert (await refusal(there.dial(stage.two, job, "ts_agent_nobody")))[0] == 401
        async with there.dial(stage.two, job) as link:
            client = await opening
            assert client.subprotocol == "binary"
            await link.send(b"RFB 003.008\n")
            assert await client.recv() == b"RFB 003.008\n"
            await client.send(bytes(range(256)))
            assert await link.recv() == bytes(range(256))
            assert (await refusal(there.dial(stage.two, job)))[0] == 404  # there is one line
            await client.close()
            assert await closed(link) == 1001
        assert (await refusal(there.dial(stage.two, job)))[0] == 404


async def test_a_viewer_who_takes_nothing_holds_up_the_picture_and_nothing_else(stage: Stage, place: Workplace) -> None:
    piece = bytes(2**16)
    async with agent(stage.one, place) as there, watching(stage, there) as (client, link):
        sent = 0

        async def draw() -> None:
            nonlocal sent
            while True:
                await link.send(piece)
                sent += 1

        drawing = asyncio.create_task(draw())
        seen = -1
        while sent > seen:  # until what is between them is full
            seen = sent
            await asyncio.sleep(0.3)
        assert sent * len(piece) < 64 * 2**20
        async with watching(stage, there) as (second, other):
            await other.send(b"soon")
            assert await second.recv() == b"soon"
        taken = 0
        async with asyncio.timeout(60):
            while taken <= seen:
                assert await client.recv() == piece
                taken += 1
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)


async def test_who_loses_the_right_to_be_there_is_shown_out(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there:
        async with watching(stage, there) as (client, link):
            await write(stage, "UPDATE site_configs SET value = 'false' WHERE key = %(key)s", key=features.DESKTOP)
            assert await closed(client) == await closed(link) == 1001
        await write(stage, "UPDATE site_configs SET value = 'true' WHERE key = %(key)s", key=features.DESKTOP)
        async with watching(stage, there) as (client, link):
            await rebuild(stage.drive.database, place)
            assert await closed(client) == await closed(link) == 1001


async def test_a_token_that_is_revoked_ends_the_picture(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there, watching(stage, there) as (client, link):
        async with stage.drive.database.begin() as session:
            [key] = await fetch(session, "SELECT id FROM api_keys ORDER BY created_at LIMIT 1", {})
            await people.delete_token(session, stage.drive.owner_id, key["id"])
        assert await closed(client) == await closed(link) == 1001


async def test_a_server_that_stops_ends_the_picture_at_both_ends(stage: Stage, place: Workplace) -> None:
    async with agent(stage.one, place) as there, watching(stage, there) as (client, link):
        stopping = asyncio.create_task(stage.two.stop())
        assert await closed(client) == await closed(link) == 1001
        await stopping


async def test_why_there_is_no_picture_is_told_in_the_documented_words(stage: Stage, place: Workplace) -> None:
    disconnected = (400, {"message": 'Agent state is "connecting", must be connected.'})
    assert await refusal(stage.socket(stage.two, path(stage))) == disconnected
    async with agent(stage.one, place) as there:
        opening = asyncio.create_task(refusal(stage.socket(stage.two, path(stage))))
        job = await there.asked()
        words = "Xvfb is not installed."
        await there.say(type="result", job=job["job"], error={"message": words, "kind": "unsupported"})
        assert await opening == (502, {"message": "Failed to connect to agent desktop.", "detail": words})
        async with httpx.AsyncClient(base_url=f"http://{stage.two.address}{PREFIX}", timeout=60) as client:
            headers = {"Coder-Session-Token": stage.token}
            assert (await client.get(path(stage), headers=headers)).status_code == 426
        _, friend, tokens = await people_beside(stage)
        acl = orjson.dumps({str(friend): {"permissions": ["read"]}}).decode()
        await write(stage, "UPDATE chats SET user_acl = %(acl)s::jsonb", acl=acl)
        hidden = (400, {"message": "Chat workspace not found."})
        assert await refusal(stage.socket(stage.two, path(stage), tokens[friend])) == hidden
        await write(stage, "UPDATE site_configs SET value = 'false' WHERE key = %(key)s", key=features.DESKTOP)
        off = {"message": "Failed to connect to agent desktop.", "detail": "The virtual desktop is switched off here."}
        assert await refusal(stage.socket(stage.two, path(stage))) == (400, off)


@asynccontextmanager
async def balanced(*processes: Process) -> AsyncIterator[str]:
    """One address for several processes, which takes them in turn."""
    turn = 0
    ways: set[asyncio.Task[None]] = set()

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(2**16):
                sink.write(piece)
                await sink.drain()
        sink.close()

    async def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        host, port = processes[turn % len(processes)].address.split(":")
        there, back = await asyncio.open_connection(host, int(port))
        ways.update([asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(there, writer))])

    server = await asyncio.start_server(arrive, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


@needs_display("x11vnc")
async def test_a_client_of_rfb_sees_and_uses_the_desktop_of_a_real_agent(
    stage: Stage, place: Workplace, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    async with balanced(stage.one, stage.two) as url:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
        words = [sys.executable, "-m", "agent", "--url", url, "--state", str(state)]
        running = await asyncio.create_subprocess_exec(
            *words, env={**environment, "TURNSTONE_AGENT_TOKEN": place.token}, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(60):
                while not (await write(stage, "SELECT FROM workspace_agents WHERE last_seen_at IS NOT NULL")):
                    await asyncio.sleep(0.05)
                for process in (stage.one, stage.two):
                    async with stage.socket(process, path(stage)) as client:
                        screen = Rfb(client)
                        assert await screen.greeted() == (1600, 900)
                        await screen.moves(123, 45)
                        assert len(await screen.pixels(8, 8)) == 8 * 8 * 4
                where = orjson.loads((state / "desktop" / "screen").read_bytes())[0]
                at = await asyncio.create_subprocess_exec(
                    *("xdotool", "getmouselocation"),
                    env={**environment, "DISPLAY": f":{where}", "XAUTHORITY": str(state / "desktop" / "authority")},
                    stdout=asyncio.subprocess.PIPE,
                )
                said, _ = await at.communicate()
                assert said.startswith(b"x:123 y:45 ")
        finally:
            running.terminate()
            await running.wait()
            stopping = await asyncio.create_subprocess_exec(*words, "--stop", env=environment)
            await stopping.wait()


class Rfb:
    """A client of RFB 3.8, as small as can be."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._heard = bytearray()

    async def greeted(self) -> tuple[int, int]:
        assert await self._take(12) == b"RFB 003.008\n"
        await self._socket.send(b"RFB 003.008\n")
        [count] = await self._take(1)
        assert 1 in await self._take(count)  # no password: the line is the client's own
        await self._socket.send(b"\1")
        assert await self._take(4) == bytes(4)
        await self._socket.send(b"\1")
        head = await self._take(24)
        await self._take(int.from_bytes(head[20:24], "big"))
        return int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")

    async def moves(self, x: int, y: int) -> None:
        await self._socket.send(b"\5\0" + x.to_bytes(2, "big") + y.to_bytes(2, "big"))

    async def pixels(self, width: int, height: int) -> bytes:
        """The upper left corner, raw."""
        await self._socket.send(b"\2\0\0\1\0\0\0\0")
        await self._socket.send(b"\3\0" + bytes(4) + width.to_bytes(2, "big") + height.to_bytes(2, "big"))
        assert (await self._take(4))[:2] == b"\0\0"
        box = await self._take(12)
        assert (int.from_bytes(box[4:6], "big"), int.from_bytes(box[6:8], "big")) == (width, height)
        return await self._take(width * height * 4)

    async def _take(self, size: int) -> bytes:
        while len(self._heard) < size:
            piece = await self._socket.recv()
            assert isinstance(piece, bytes)
            self._heard += piece
        taken, self._heard = bytes(self._heard[:size]), self._heard[size:]
        return taken
