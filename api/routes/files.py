"""Files that messages may name: upload one, fetch one (wire-api.md 8.1, 8.2)."""

import asyncio
import hashlib
from datetime import timedelta
from email.message import Message
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Header, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.idempotency import Key, once
from api.requests import Router
from api.resources import Opened
from api.schemas.files import UploadedFile
from models.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound, TooLarge, Unprocessable
from models.rules import file_types
from models.store import files
from models.store.files import StoredFile

router = Router(tags=["files"])

_UUID = WithJsonSchema({"type": "string", "format": "uuid"})
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_TOO_LARGE = ("File too large.", f"Maximum file size is {file_types.MAX_BYTES} bytes.")
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The file itself, at most {file_types.MAX_BYTES} bytes.",
        "content": dict.fromkeys((*file_types.ALLOWED, file_types.UNKNOWN), _BINARY),
    }
}
_FORWARD: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": dict.fromkeys(file_types.ALLOWED, _BINARY)}
}


@router.post(
    "/files",
    status_code=201,
    response_model=UploadedFile,
    responses=raises(Invalid, Forbidden, Conflict, TooLarge, Unprocessable, Exhausted),
    openapi_extra=_UPLOAD,
    summary="Upload a file",
)
async def upload_file(
    request: Request,
    caller: Caller,
    resources: Opened,
    organization: Annotated[str, Query(description="Where the file belongs; required."), _UUID] = "",
    content_disposition: Annotated[
        str, Header(description="Required: names the file.", examples=["attachment; filename=notes.md"])
    ] = "",
    key: Key = None,
) -> Response:
    """The body is the file. A message names it by its id; until then no chat uses it."""
    if not organization:
        raise Invalid("Missing organization query parameter.")
    organization_id = _uuid(organization, "Invalid organization ID.")
    if not caller.may_create_chat(organization_id):
        raise Forbidden
    wait = resources.uploads.take(str(caller.user_id))
    if wait:
        raise Exhausted(retry_after=timedelta(seconds=wait))
    declared = file_types.declared(request.headers.get("content-type", ""))
    data = await read(request, file_types.MAX_BYTES, _TOO_LARGE)
    name = file_types.named(_filename(content_disposition))
    media_type = file_types.stored(data, name, declared)
    claimed = once(request, caller, resources, key, await _fingerprint(name, data) if key is not None else b"")
    async with resources.database.begin() as session:
        earlier = await claimed.replay(session)
        if earlier is not None:
            return earlier
        await files.check_allowance(session, caller.user_id, len(data), resources.settings.upload_bytes_per_day)
        file_id = await files.save(
            session,
            owner_id=caller.user_id,
            organization_id=organization_id,
            name=name,
            media_type=media_type,
            data=data,
        )
        return await claimed.keep(session, answer({"id": file_id}, 201))


@router.get(
    "/files/{file}",
    response_class=Response,
    responses=_FORWARD | raises(Invalid, NotFound),
    summary="Fetch a file",
)
async def get_file(file: Annotated[str, _UUID], caller: Caller, resources: Opened) -> Response:
    """For its owner, and for whoever may read a chat that uses it. A file never changes."""
    file_id = _uuid(file, "Invalid file ID.")
    async with resources.database.read() as session:
        found = await files.load(session, caller, file_id)
    return Response(
        found.data,
        headers={
            "Content-Type": found.mimetype,
            "Content-Disposition": _disposition(found),
            "Cache-Control": "private, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def read(request: Request, most: int, refusal: tuple[str, str]) -> bytes:
    """The body; raises TooLarge, with this message and detail, as soon as it must be."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise TooLarge(*refusal)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise TooLarge(*refusal)
        pieces.append(piece)
    return b"".join(pieces)


async def _fingerprint(name: str, data: bytes) -> bytes:
    digest = await asyncio.to_thread(hashlib.sha256, data)  # elsewhere, since it takes its time
    return digest.digest() + name.encode()


def _filename(disposition: str) -> str:
    """The name in a Content-Disposition header, RFC 5987 or plain; empty when there is none."""
    header = Message()
    # Headers are Latin-1 to HTTP libraries; what clients put there is UTF-8.
    header["Content-Disposition"] = disposition.encode("latin-1", "replace").decode("utf-8", "replace")
    return header.get_filename("")


def _disposition(file: StoredFile) -> str:
    # Browsers run scripts in a PDF that they show.
    kind = "attachment" if file.mimetype == "application/pdf" else "inline"
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in file.name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name, safe='')}"


def _uuid(text: str, message: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as wrong:
        raise Invalid(message, str(wrong)) from None
