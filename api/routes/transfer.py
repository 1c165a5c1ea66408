"""Chats that are carried away as a document, and brought here as one."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

import orjson
from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse

from api import carried
from api.answers import answer, encode
from api.author import By
from api.caller import Caller
from api.carried import Carried, NewFile
from api.errors import raises
from api.idempotency import Key, once
from api.requests import Router
from api.resources import Opened, Resources
from api.routes.chats import require_creation, require_plan_mode
from api.routes.files import read
from api.schemas.chats import Chat
from api.schemas.transfer import ChatDocument
from models.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound, TooLarge, Unprocessable
from models.parts import Part, from_rest, text, wire
from models.principal import Principal
from models.rules import instructions, labels, markdown, portable, titles
from models.rules.moments import rfc3339
from models.store import audit, catalog, chats, files, messages, metadata, moves
from models.store.audit import Author
from models.store.database import Row
from models.store.session import Session

router = Router(tags=["transfer"])

PAGE = 200  # messages that are read at once
MOST_DATA = 10 * 1024 * 1024  # bytes of files in one document

_IMPORT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"At most {carried.MAX_BYTES} bytes.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["organization_id", "document"],
                    "properties": {
                        "organization_id": {"type": "string", "format": "uuid"},
                        "document": {"$ref": "#/components/schemas/ChatDocument"},
                    },
                }
            }
        },
    }
}
_TOO_LARGE = ("Chat too large.", f"Maximum size of an import is {carried.MAX_BYTES} bytes.")
_MARKDOWN: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/markdown": {"schema": {"type": "string"}}}, "description": "The document."}
}
_UNSAFE = re.compile(r"[^a-z0-9]+")


@router.get(
    "/{chat}/export",
    response_model=ChatDocument,
    responses=_MARKDOWN | raises(Invalid, NotFound),
    summary="Export a chat",
)
async def export_chat(
    chat: UUID,
    caller: Caller,
    resources: Opened,
    form: Annotated[Literal["json", "markdown"], Query(alias="format", description="For programs or for people.")] = (
        "json"
    ),
    include_files: Annotated[bool, Query(description="With what the files hold, 10 MiB in all; JSON only.")] = False,
) -> Response:
    """The chat as it is now, with all that its readers see; its sub-agent chats are documents of their own."""
    async with resources.database.read() as session:
        row, horizons, used = await chats.load_with(session, caller, chat, messages.horizon(chat), files.used(chat))
        models = await catalog.existing(session, [row["last_model_config_id"]])
    if not horizons:
        raise NotFound
    [horizon] = horizons
    model = models.get(row["last_model_config_id"], "")
    if form == "markdown":
        body, media_type, ending = _markdown(resources, row, model, horizon), "text/markdown; charset=utf-8", "md"
    else:
        body = _json(resources, row, model, horizon, used, include_files)
        media_type, ending = "application/json; charset=utf-8", "json"
    named = f"{_UNSAFE.sub('-', row['title'].lower()).strip('-')[:60] or 'chat'}.{ending}"
    return StreamingResponse(
        body,
        headers={
            "Content-Type": media_type,
            "Content-Disposition": f"attachment; filename=\"{named}\"; filename*=UTF-8''{quote(named)}",
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.post(
    "/import",
    status_code=201,
    response_model=Chat,
    responses=raises(Invalid, Forbidden, Conflict, TooLarge, Unprocessable, Exhausted),
    openapi_extra=_IMPORT,
    summary="Import a chat",
)
async def import_chat(request: Request, caller: Caller, by: By, resources: Opened, key: Key = None) -> Response:
    """A new chat of the caller's, at rest, from an exported document.

    Owners, ids and costs in it count for nothing; a model that is not here becomes the default. A file comes with its
    data, or is one that the caller may read anyway; another is only named.
    """
    wait = resources.uploads.take(str(caller.user_id))
    if wait:
        raise Exhausted(retry_after=timedelta(seconds=wait))
    data = await read(request, carried.MAX_BYTES, _TOO_LARGE)
    asked = await asyncio.to_thread(carried.request, data)
    require_creation(caller, asked.organization_id)
    given = await asyncio.to_thread(carried.document, asked.document)
    require_plan_mode(given.chat.plan_mode)
    labels.check(given.chat.labels)
    digest = (await asyncio.to_thread(hashlib.sha256, data)).digest() if key is not None else b""
    claimed = once(request, caller, resources, key, digest)
    async with resources.database.begin() as session:
        earlier = await claimed.replay(session)
        if earlier is not None:
            return earlier
        own_keys, most = resources.settings.allow_byok, resources.settings.upload_bytes_per_day
        brought = sum(len(file.data) for file in given.files.values() if file is not None)
        await files.check_allowance(session, caller.user_id, brought, most)
        shown = await _plant(session, caller, asked.organization_id, given, by, own_keys=own_keys)
        return await claimed.keep(session, answer(shown, 201))


async def _plant(
    session: Session, caller: Principal, organization_id: UUID, given: Carried, by: Author, *, own_keys: bool
) -> dict[str, Any]:
    """Make the chat, and what its answer says."""
    default, site = await catalog.for_new_chat(
        session, caller.user_id, instructions.SYSTEM_PROMPT, instructions.INCLUDE_DEFAULT, own_keys=own_keys
    )
    named = {each["model_config_id"] for each in given.messages} | {given.chat.model_config_id}
    known = await catalog.existing(session, [each for each in named if each is not None])
    model = given.chat.model_config_id if given.chat.model_config_id in known else default
    if model is None:
        raise Invalid("No default chat model config is configured.")
    parts, missing = await _files(session, caller, organization_id, given)
    for message in given.messages:
        message["content"] = [_here(part, parts) for part in message["content"]]
        if message["model_config_id"] not in known:
            message["model_config_id"] = model if message["role"] == "user" else None
    first: list[Part] = next((each["content"] for each in given.messages if each["role"] == "user"), [])
    beginning = moves.Beginning(
        owner_id=caller.user_id,
        organization_id=organization_id,
        title=metadata.presentable(given.chat.title) if given.chat.title else titles.fallback(first),
        labels=given.chat.labels,
        model_config_id=model,
        client_type=given.chat.client_type,
        plan_mode=given.chat.plan_mode or None,
    )
    moved = await moves.carry(session, beginning, instructions.stored(site), given.messages)
    audit.chat_created(session, moved.chat, by)
    content = [part for message in given.messages for part in message["content"]]
    warnings = missing + await files.link(session, moved.chat["id"], content)
    used = await chats.files(session, moved.chat["id"])
    more = ({"files": used} if used else {}) | ({"warnings": warnings} if warnings else {})
    return chats.view(moved.chat, **more)


async def _files(
    session: Session, caller: Principal, organization_id: UUID, given: Carried
) -> tuple[dict[str, Part], list[str]]:
    """The part that stands here for each file that the document's parts name, and what there is to say about it."""
    named = [UUID(part["file_id"]) for each in given.messages for part in each["content"] if part["type"] == "file"]
    brought = {each: given.files.get(each) for each in dict.fromkeys(named)}
    known = await files.parts(session, caller, [each for each, file in brought.items() if file is None])
    parts: dict[str, Part] = {str(each): part for each, part in known.items()}
    for each, file in brought.items():
        if file is not None:
            parts[str(each)] = await _saved(session, caller, organization_id, file)
    missing = [each for each in brought if str(each) not in parts]
    return parts, [f"{len(missing)} file(s) did not come with the document"] if missing else []


async def _saved(session: Session, caller: Principal, organization_id: UUID, file: NewFile) -> Part:
    file_id = await files.save(
        session,
        owner_id=caller.user_id,
        organization_id=organization_id,
        name=file.name,
        media_type=file.media_type,
        data=file.data,
    )
    return {"type": "file", "media_type": file.media_type, "file_id": str(file_id), "name": file.name}


def _here(part: Part, parts: Mapping[str, Part]) -> Part:
    if part["type"] != "file":
        return part
    return parts.get(part["file_id"]) or text(f"[file {part.get('name') or part['media_type']}: not imported]")


async def _pages(resources: Resources, chat: UUID, horizon: Row) -> AsyncIterator[list[Row]]:
    """The chat's messages, page by page; nothing is held while the client takes one."""
    after = 0
    while True:
        async with resources.database.read() as session:
            rows = await messages.then(session, chat, horizon, after, PAGE)
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        after = rows[-1]["id"]


async def _json(
    resources: Resources, row: Row, model: str, horizon: Row, used: list[Row], include_files: bool
) -> AsyncIterator[bytes]:
    told = chats.view(row)
    kept = ("id", "organization_id", "owner_id", "title", "labels", "plan_mode", "client_type")
    chat = {key: told[key] for key in kept if key in told}
    chat |= {"model_config_id": told["last_model_config_id"], **({"model": model} if model else {})}
    chat |= {"created_at": told["created_at"], "updated_at": told["updated_at"]}
    head = encode({"format": portable.FORMAT, "version": portable.VERSION, "chat": chat})
    yield head[:-1] + b',"files":['
    room = MOST_DATA if include_files else 0
    for number, file in enumerate(used):
        data: bytes | None = None
        if include_files and file["size"] <= room:
            async with resources.database.read() as session:
                found = (await files.contents(session, [file["id"]])).get(file["id"])
            if found is not None:
                data, room = found.data, room - file["size"]
        yield (b"," if number else b"") + encode(_file(file, data))
    yield b'],"messages":['
    first = True
    async for page in _pages(resources, row["id"], horizon):
        encoded = b",".join(encode(_message(each)) for each in page)
        yield encoded if first else b"," + encoded
        first = False
    yield b"]}\n"


def _file(row: Row, data: bytes | None) -> dict[str, Any]:
    told = {
        "id": row["id"],
        "name": from_rest(row["name"]),
        "mime_type": row["mimetype"],
        "size": row["size"],
        "created_at": rfc3339(row["created_at"]),
    }
    return told if data is None else told | {"data": base64.b64encode(data).decode()}


def _message(row: Row) -> dict[str, Any]:
    shown = messages.view(row)
    del shown["chat_id"]
    shown.setdefault("content", [])
    return shown | ({"visibility": "user"} if row["visibility"] == "user" else {})


async def _markdown(resources: Resources, row: Row, model: str, horizon: Row) -> AsyncIterator[bytes]:
    told = chats.view(row)
    facts = [("Owner", told.get("owner_username", "")), ("Created", told["created_at"]), ("Model", model)]
    yield markdown.heading(told["title"], [each for each in facts if each[1]]).encode()
    async for page in _pages(resources, row["id"], horizon):
        written = (
            markdown.message(each["role"], rfc3339(each["created_at"]), wire(orjson.loads(each["content"])))
            for each in page
        )
        yield "".join(written).encode()
