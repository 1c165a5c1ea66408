"""What happens in a chat's workspace, live: no chat has one yet, and who asks is told so (wire-api.md 8.6, 8.7).

Clients take these answers for "nothing to show", where a path that is not there would be an error to them.
"""

from uuid import UUID

from fastapi import WebSocket
from starlette.responses import Response

from api.caller import Caller
from api.live import websocket
from api.requests import Router
from api.resources import Opened, Resources
from models.errors import Invalid
from models.principal import Principal
from models.store import chats

router = Router(tags=["live"])

NO_GIT, NO_DESKTOP = "Chat has no workspace to watch.", "Chat has no workspace."


async def _refuse(resources: Resources, caller: Principal, chat: UUID, why: str) -> Response:
    """Raises NotFound for a chat that the caller may not read, else Invalid."""
    async with resources.database.read() as session:
        await chats.load(session, caller, chat)
    raise Invalid(why)


@router.websocket("/{chat}/stream/git")
async def watch_git_socket(socket: WebSocket, chat: UUID, caller: Caller, resources: Opened) -> None:
    """Refused before the upgrade."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    await _refuse(resources, caller, chat, NO_GIT)


@router.get("/{chat}/stream/git", include_in_schema=False)
async def watch_git(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """Without an upgrade the same."""
    return await _refuse(resources, caller, chat, NO_GIT)


@router.websocket("/{chat}/stream/desktop")
async def watch_desktop_socket(socket: WebSocket, chat: UUID, caller: Caller, resources: Opened) -> None:
    """Refused before the upgrade."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    await _refuse(resources, caller, chat, NO_DESKTOP)


@router.get("/{chat}/stream/desktop", include_in_schema=False)
async def watch_desktop(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """Without an upgrade the same."""
    return await _refuse(resources, caller, chat, NO_DESKTOP)
