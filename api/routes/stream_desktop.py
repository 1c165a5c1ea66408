"""The desktop of a chat's workspace: there is none yet, and who asks is told so (wire-api.md 8.7).

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


async def _refuse(resources: Resources, caller: Principal, chat: UUID) -> Response:
    """Raises NotFound for a chat that the caller may not read, else Invalid."""
    async with resources.database.read() as session:
        row = await chats.load(session, caller, chat)
    if row["workspace_id"] is None:
        raise Invalid("Chat has no workspace.")
    raise Invalid("Failed to connect to agent desktop.", "Workspaces have no desktop here.")


@router.websocket("/{chat}/stream/desktop")
async def watch_desktop_socket(socket: WebSocket, chat: UUID, caller: Caller, resources: Opened) -> None:
    """Refused before the upgrade."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    await _refuse(resources, caller, chat)


@router.get("/{chat}/stream/desktop", include_in_schema=False)
async def watch_desktop(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """Without an upgrade the same."""
    return await _refuse(resources, caller, chat)
