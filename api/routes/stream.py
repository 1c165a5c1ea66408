"""Live streams of a chat and of the caller's sidebar, over WebSocket and server-sent events (wire-api.md 4)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Query, Request, WebSocket
from pydantic import WithJsonSchema
from starlette.requests import HTTPConnection
from starlette.responses import Response

from api.caller import Caller, credentials
from api.errors import envelope, raises
from api.live import sse, websocket
from api.live.guests import Guest
from api.live.watcher import Watcher
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas.errors import Error
from models.errors import Forbidden, Invalid, NotFound, Unavailable
from models.principal import Principal, Scope
from models.rules import cursors
from models.rules.cursors import Cursor
from models.rules.pages import MAX_ID
from models.store.database import Row

router = Router(tags=["live"])

AfterId = Annotated[
    str,
    Query(description="The snapshot holds messages with a greater id only."),
    WithJsonSchema({"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_ID}),
]
CursorText = Annotated[str, Query(description="Resume after the event that carried this cursor.")]
LastEventId = Annotated[str, Header(alias="Last-Event-ID", description="As `cursor`, and stronger: browsers send it.")]

HOW_TO = "Connect with a WebSocket upgrade, or ask for server-sent events with `Accept: text/event-stream`."
UPGRADE_REQUIRED: dict[int | str, dict[str, Any]] = {426: {"model": Error, "description": HOW_TO}}


@router.websocket("/{chat}/stream")
async def stream_socket(
    socket: WebSocket, chat: UUID, caller: Caller, resources: Opened, after_id: str = "", cursor: str = ""
) -> None:
    """Everything of a chat as it happens: messages are arrays of events."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    asked = _after(after_id), _cursor(cursor)
    guest = arrives(socket, caller, resources)
    row = await resources.live.door(caller, chat)
    with _watch(resources, guest, row, *asked) as watcher:
        await websocket.serve(socket, watcher, websocket.arrays)


@router.get(
    "/{chat}/stream",
    response_class=Response,
    responses=raises(Invalid, NotFound) | sse.documented("StreamEvent") | UPGRADE_REQUIRED,
    summary="Follow a chat",
)
async def stream_chat(
    request: Request,
    chat: UUID,
    caller: Caller,
    resources: Opened,
    after_id: AfterId = "",
    cursor: CursorText = "",
    last_event_id: LastEventId = "",
) -> Response:
    """A snapshot, then everything as it happens; an event's id is its cursor. On a WebSocket, messages are arrays."""
    asked = _after(after_id), _cursor(last_event_id or cursor)
    guest = arrives(request, caller, resources)
    row = await resources.live.door(caller, chat)
    if not accepts_events(request):
        return upgrade_required()
    return sse.EventStream(lambda: _watch(resources, guest, row, *asked), resources.live.pulse)


@router.websocket("/watch")
async def watch_socket(socket: WebSocket, caller: Caller, resources: Opened) -> None:
    """What happens to the caller's chats: messages are one event each."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    guest = arrives(socket, caller, resources)
    await _may_watch(resources, caller)
    with _watch_list(resources, guest) as watcher:
        await websocket.serve(socket, watcher, websocket.objects)


@router.get(
    "/watch",
    response_class=Response,
    responses=raises(Forbidden, Unavailable) | sse.documented("WatchEvent") | UPGRADE_REQUIRED,
    summary="Follow one's chats",
)
async def watch_chats(request: Request, caller: Caller, resources: Opened) -> Response:
    """What happens to the caller's own chats, from now on: no snapshot, no replay. List again after a reconnect."""
    guest = arrives(request, caller, resources)
    await _may_watch(resources, caller)
    if not accepts_events(request):
        return upgrade_required()
    return sse.EventStream(lambda: _watch_list(resources, guest), resources.live.pulse)


async def _may_watch(resources: Resources, caller: Principal) -> None:
    if not caller.has_scope(Scope.CHAT_READ):
        raise Forbidden
    await resources.live.listening()


def arrives(connection: HTTPConnection, caller: Principal, resources: Resources) -> Guest:
    """Somebody who is about to follow something; asked before it is known whether they may."""
    return resources.guests.arrive(caller, credentials(connection.scope).digest or b"")


@contextmanager
def _watch_list(resources: Resources, guest: Guest) -> Iterator[Watcher]:
    """A watcher of the guest's own chats."""
    with resources.live.sidebar(guest.principal) as watcher, resources.guests.admitted(guest, watcher):
        yield watcher


@contextmanager
def _watch(resources: Resources, guest: Guest, row: Row, after_id: int, cursor: Cursor | None) -> Iterator[Watcher]:
    """A watcher of the chat; its owner has read the chat when they come and when they go."""
    owner = row["owner_id"] == guest.principal.user_id
    inside = guest.principal.may_read_budgets(row["owner_id"], row["organization_id"])
    if owner:
        resources.errands.start(resources.live.mark_read(row["id"]))
    try:
        with (
            resources.live.watch(row["id"], cursor, after_id, inside=inside) as watcher,
            resources.guests.admitted(guest, watcher, row),
        ):
            yield watcher
    finally:
        if owner:
            resources.errands.start(resources.live.mark_read(row["id"]))


def _after(text: str) -> int:
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID)) and int(text) <= MAX_ID:
        return int(text)
    raise Invalid("Invalid after_id parameter.")


def _cursor(text: str) -> Cursor | None:
    return cursors.parse(text) if text else None


def accepts_events(request: Request) -> bool:
    """Does the client ask for server-sent events?"""
    return sse.MEDIA_TYPE in request.headers.get("accept", "").lower()


def upgrade_required() -> Response:
    """The answer to whoever asks for a live stream as if it were a document."""
    return envelope(426, "This is a live stream.", HOW_TO, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
