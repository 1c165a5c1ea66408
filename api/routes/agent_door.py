"""Where workspace agents knock: their connection, and files that they bring for a chat."""

from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from fastapi import Query, Request, WebSocket
from pydantic import BaseModel, WithJsonSchema
from starlette.responses import Response

from api.answers import answer
from api.caller import credentials
from api.errors import raises
from api.live import agents
from api.requests import Router
from api.resources import Opened
from api.routes.files import read
from models.errors import Invalid, NotFound, TooLarge, Unauthenticated
from models.parts import file as part
from models.rules import file_types
from models.store import files, moves, presence

router = Router(tags=["agents"])

_UUID = WithJsonSchema({"type": "string", "format": "uuid"})
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The file itself, at most {file_types.MAX_BYTES} bytes.",
        "content": {file_types.UNKNOWN: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class BroughtFile(BaseModel):
    """A file that an agent has brought to a chat."""

    file_id: UUID
    name: str
    media_type: str
    size: int


@router.websocket("/me/connect")
async def connect_agent(socket: WebSocket, resources: Opened) -> None:
    """A workspace agent's connection (docs/agent.md): jobs go out, results come in."""
    await agents.serve(socket, resources, await agents.require_agent(resources, credentials(socket.scope).digest))


@router.websocket("/me/desktop/{session}")
async def bring_desktop(socket: WebSocket, session: str, resources: Opened) -> None:
    """An agent brings its desktop to somebody who waits for it in this process; elsewhere nobody does: NotFound."""
    agent_id = await agents.agent_of(resources, credentials(socket.scope).digest)
    visit = resources.desktops.expected(session, agent_id)
    await socket.accept()
    if not visit.link.done():
        visit.link.set_result(socket)
        await visit.over.wait()


@router.post(
    "/me/files",
    status_code=201,
    response_model=BroughtFile,
    responses=raises(Invalid, Unauthenticated, NotFound, TooLarge),
    openapi_extra=_BODY,
    summary="Bring a file from a workspace",
)
async def bring_file(
    request: Request,
    resources: Opened,
    job: Annotated[str, Query(description="The job that asked for the file; required."), _UUID] = "",
    name: Annotated[str, Query(description="What the file is called.")] = "",
    which: Annotated[
        Literal["", "thumbnail"], Query(alias="part", description="Which of two files, where a job brings two.")
    ] = "",
) -> Response:
    """For workspace agents, with their own token. A file belongs to the owner of the chat that asked for it.

    Brought twice for the same job, it is one file.
    """
    digest = await agents.require_agent(resources, credentials(request.scope).digest)
    try:
        job_id = UUID(job)
    except ValueError as wrong:
        raise Invalid("Invalid job ID.", str(wrong)) from None
    async with resources.database.read() as session:
        asked = await presence.asked_by(session, digest, job_id)
    if asked is None:
        raise NotFound
    too_large = ("File too large.", f"Maximum file size is {file_types.MAX_BYTES} bytes.")
    data = await read(request, file_types.MAX_BYTES, too_large)
    if not data:
        raise Invalid("File is empty.")
    shown = file_types.named(name)
    media_type = file_types.stored(data, shown, file_types.UNKNOWN)
    file_id = uuid5(job_id, which or "file")
    brought = {"file_id": file_id, "name": shown, "media_type": media_type, "size": len(data)}
    async with resources.database.begin() as session:
        await moves.lock(session, asked["id"])
        await files.save(
            session,
            file_id=file_id,
            owner_id=asked["owner_id"],
            organization_id=asked["organization_id"],
            name=shown,
            media_type=media_type,
            data=data,
        )
        if await files.link(session, asked["id"], [part(brought)]):
            raise Invalid("Too many files.", f"A chat has at most {files.MAX_LINKS} files.")
    return answer(brought, 201)
