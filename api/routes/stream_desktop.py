"""The desktop of a chat's workspace, as RFB over a WebSocket (wire-api.md 8.7)."""

from uuid import UUID

from fastapi import Request, WebSocket
from starlette.responses import Response

from api.caller import Caller
from api.errors import envelope
from api.live import websocket
from api.live.desktops import NOT_CONNECTED
from api.live.entry import Words, agent_of
from api.live.guests import Guest
from api.live.watcher import Watcher
from api.requests import Router
from api.resources import Opened, Resources
from api.routes.stream import arrives
from models.errors import Invalid, TurnstoneError
from models.principal import Principal
from models.rules import features
from models.store import preferences

router = Router(tags=["live"])

_WORDS = Words("Chat has no workspace.", 'Agent state is "{}", must be connected.')
_SUBPROTOCOL = "binary"  # which older clients of RFB ask for


@router.websocket("/{chat}/stream/desktop")
async def stream_desktop_socket(socket: WebSocket, chat: UUID, caller: Caller, resources: Opened) -> None:
    """Messages are bytes of RFB, in both directions: whoever may work in the workspace may use its desktop."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    guest = arrives(socket, caller, resources)
    row = await resources.live.door(caller, chat)
    agent_id = await _agent(resources, caller, chat)
    watcher = Watcher(0, Watcher.end)

    async def may_stay() -> bool:
        return await _may_stay(resources, guest, chat, agent_id)

    with resources.guests.admitted(guest, watcher, row):
        async with resources.desktops.visit(agent_id) as link:
            await socket.accept(_SUBPROTOCOL if _SUBPROTOCOL in socket.scope.get("subprotocols", ()) else None)
            await resources.desktops.show(socket, link, watcher, may_stay)


@router.get("/{chat}/stream/desktop", include_in_schema=False)
async def stream_desktop(request: Request, chat: UUID, caller: Caller, resources: Opened) -> Response:
    """Without an upgrade: the same refusals, and how to connect."""
    await resources.live.door(caller, chat)
    await _agent(resources, caller, chat)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return envelope(426, "This is a live stream.", "Connect with a WebSocket upgrade.", headers=headers)


async def _agent(resources: Resources, caller: Principal, chat_id: UUID) -> UUID:
    async with resources.database.read() as session:
        agent_id = await agent_of(session, caller, chat_id, _WORDS)
        if not features.desktop(await preferences.site(session, features.DESKTOP)):
            raise Invalid(NOT_CONNECTED, "The virtual desktop is switched off here.")
    return agent_id


async def _may_stay(resources: Resources, guest: Guest, chat_id: UUID, agent_id: UUID) -> bool:
    """Does the chat still work there, and may they still?"""
    now = await resources.principals.find(guest.digest)
    try:
        return now is not None and await _agent(resources, now, chat_id) == agent_id
    except TurnstoneError:
        return False
