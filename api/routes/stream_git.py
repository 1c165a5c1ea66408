"""The repositories of a chat's workspace as they change, over WebSocket and server-sent events (wire-api.md 8.6)."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import orjson
from fastapi import Request, WebSocket
from starlette.responses import Response

from api.caller import Caller
from api.errors import raises
from api.live import sse, websocket
from api.live.entry import Words, agent_of
from api.live.guests import Guest
from api.live.scans import Followed
from api.live.watcher import Watcher
from api.requests import Router
from api.resources import Opened, Resources
from api.routes.stream import UPGRADE_REQUIRED, accepts_events, arrives, upgrade_required
from models.errors import Forbidden, Invalid, NotFound
from models.principal import Principal
from models.store.database import Row

router = Router(tags=["live"])

_WORDS = Words("Chat has no workspace to watch.", 'Agent state is "{}", it must be in the "connected" state.')


@router.websocket("/{chat}/stream/git")
async def stream_git_socket(socket: WebSocket, chat: UUID, caller: Caller, resources: Opened) -> None:
    """Messages are one event each; `{"type":"refresh"}` has the agent look now."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    guest = arrives(socket, caller, resources)
    row = await resources.live.door(caller, chat)
    agent_id = await _agent(resources, caller, chat)
    with _watch(resources, guest, row, agent_id) as followed:

        async def listen(socket: WebSocket) -> None:
            while (message := await socket.receive())["type"] == "websocket.receive":
                if _is_refresh(message.get("text") or message.get("bytes") or b""):
                    await followed.refresh()
                else:
                    followed.fail("unknown message type")

        await websocket.serve(socket, followed.watcher, websocket.objects, listen)


@router.get(
    "/{chat}/stream/git",
    response_class=Response,
    responses=raises(Invalid, Forbidden, NotFound) | sse.documented("GitEvent") | UPGRADE_REQUIRED,
    summary="Follow the repositories of a chat's workspace",
)
async def stream_git(request: Request, chat: UUID, caller: Caller, resources: Opened) -> Response:
    """What the workspace's agent saw last, then what changes. For whoever may work in the workspace."""
    guest = arrives(request, caller, resources)
    row = await resources.live.door(caller, chat)
    agent_id = await _agent(resources, caller, chat)
    if not accepts_events(request):
        return upgrade_required()

    @contextmanager
    def watch() -> Iterator[Watcher]:
        with _watch(resources, guest, row, agent_id) as followed:
            yield followed.watcher

    return sse.EventStream(watch, resources.live.pulse)


@contextmanager
def _watch(resources: Resources, guest: Guest, row: Row, agent_id: UUID) -> Iterator[Followed]:
    with (
        resources.scans.watch(row["id"], agent_id) as followed,
        resources.guests.admitted(guest, followed.watcher, row),
    ):
        yield followed


async def _agent(resources: Resources, caller: Principal, chat_id: UUID) -> UUID:
    async with resources.database.read() as session:
        return await agent_of(session, caller, chat_id, _WORDS)


def _is_refresh(message: str | bytes) -> bool:
    try:
        asked = orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    return isinstance(asked, dict) and asked.get("type") == "refresh"
