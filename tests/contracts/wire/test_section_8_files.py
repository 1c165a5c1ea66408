"""wire-api.md 8.1 to 8.3: files and debug runs."""

import zlib
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.store import debug
from models.store.database import fetch
from tests.api.conftest import Person
from tests.contracts.wire.world import NOWHERE, World, forbidden, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALLOWED = (
    "Allowed types: application/json, application/pdf, image/gif, image/jpeg, image/png, image/webp, text/csv, "
    "text/markdown, text/plain."
)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
PDF = b"%PDF-1.7\n"
SVG = b'<?xml version="1.0"?><!-- a --><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


async def upload(
    world: World, data: bytes, name: str | None = "a.txt", kind: str = "", *, by: Person | None = None
) -> Any:
    headers = {"Content-Type": kind} if kind else {}
    if name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return await world.ask(
        "POST", "/files", params={"organization": world.organization}, content=data, headers=headers, by=by
    )


@pytest.mark.parametrize(
    ("data", "name", "declared", "stored"),
    [
        (b"words", "a.txt", "text/plain", "text/plain"),
        (b"words", "a.txt", "text/plain; charset=utf-8", "text/plain"),
        (b"words", "a.md", "text/plain", "text/markdown"),
        (b"words", "a.markdown", "text/markdown", "text/markdown"),
        (b"a,b\n", "a.csv", "text/plain", "text/csv"),
        (b'{"a": 1}', "a.json", "text/plain", "application/json"),
        (b'{"a": ', "a.json", "text/plain", "text/plain"),
        (b'{"a": 1}', "a.json", "application/json", "application/json"),
        (b"words", "a.bin", "application/octet-stream", "text/plain"),
        (b"words", "a", "", "text/plain"),
        (b"<html><script></script>", "a.html", "text/plain", "text/plain"),
        (PNG, "a.txt", "image/png", "image/png"),
        (PNG, "a.txt", "application/octet-stream", "image/png"),
        (PDF, "a.pdf", "application/pdf", "application/pdf"),
        (b"GIF89a" + bytes(8), "a.gif", "image/gif", "image/gif"),
        (b"\xff\xd8\xff\xe0" + bytes(8), "a.jpg", "image/jpeg", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a.webp", "image/webp", "image/webp"),
    ],
)
async def test_8_1_a_file_is_kept_as_what_its_bytes_are(
    world: World, data: bytes, name: str, declared: str, stored: str
) -> None:
    made = await upload(world, data, name, declared)
    assert made.status_code == 201, made.text
    fetched = await world.ask("GET", f"/files/{made.json()['id']}")
    assert (fetched.content, fetched.headers["content-type"]) == (data, stored)
    assert fetched.headers["content-length"] == str(len(data))
    assert fetched.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert fetched.headers["x-content-type-options"] == "nosniff"
    shown = "attachment" if stored == "application/pdf" else "inline"
    assert fetched.headers["content-disposition"].startswith(f'{shown}; filename="{name}"')


@pytest.mark.parametrize("declared", ["image/svg+xml", "text/html", "application/zip", "video/mp4", "nonsense"])
async def test_8_1_a_declared_type_that_is_not_allowed(world: World, declared: str) -> None:
    refused(await upload(world, b"x", "a.txt", declared), 400, "Unsupported file type.", ALLOWED)


@pytest.mark.parametrize(
    "data",
    [
        SVG,
        b"\xef\xbb\xbf" + SVG,
        b"\n \t" + SVG,
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x">\n<SVG width="1">',
        b"<svg>",
        b"<svg\n/>",
        b"PK\x03\x04" + bytes(20),
        b"\x7fELF" + bytes(20),
        bytes(64),
        b"words\x00words",
        zlib.compress(b"words" * 100),
        SVG.decode().encode("utf-16"),
        b"BM" + bytes(20),
    ],
    ids=lambda data: repr(data[:12]),
)
@pytest.mark.parametrize(("name", "declared"), [("a.txt", "text/plain"), ("a.png", "application/octet-stream")])
async def test_8_1_bytes_that_are_none_of_the_types(world: World, data: bytes, name: str, declared: str) -> None:
    refused(await upload(world, data, name, declared), 400, "Unsupported file type.", ALLOWED)


@pytest.mark.parametrize(
    ("data", "name", "declared", "found"),
    [
        (b"no picture", "a.png", "image/png", "text/plain"),
        (PNG, "a.jpg", "image/jpeg", "image/png"),
        (PNG, "a.txt", "text/plain", "image/png"),
        (PDF + b"<script>", "a.txt", "text/plain", "application/pdf"),
        (b"GIF89a/*<svg onload=alert(1)>*/", "a.md", "text/markdown", "image/gif"),
        (b"words", "a.txt", "text/markdown", "text/plain"),
        (b"words", "a.md", "text/csv", "text/markdown"),
        (b"{", "a.json", "application/json", "text/plain"),
        (b"<html>", "a.html", "image/gif", "text/plain"),
        (b"\xff\xd8\xff" + PDF, "a.pdf", "application/pdf", "image/jpeg"),
    ],
)
async def test_8_1_a_mislabelled_file_is_told_what_it_is(
    world: World, data: bytes, name: str, declared: str, found: str
) -> None:
    detail = f'Header declared "{declared}" but file content was detected as "{found}".'
    message = "File content type does not match Content-Type header."
    refused(await upload(world, data, name, declared), 400, message, detail)


async def test_8_1_a_polyglot_is_served_as_what_it_begins_with_and_nothing_else(world: World) -> None:
    data = b"GIF89a=1;/*" + SVG + b"*/alert(1)"
    made = await upload(world, data, "a.gif", "application/octet-stream")
    fetched = await world.ask("GET", f"/files/{made.json()['id']}")
    assert fetched.headers["content-type"] == "image/gif"
    assert fetched.headers["x-content-type-options"] == "nosniff"


async def test_8_1_faults_of_an_upload_in_the_documented_order(world: World) -> None:
    async def post(query: dict[str, str], headers: dict[str, str], data: bytes, by: Person | None = None) -> Any:
        return await world.ask("POST", "/files", params=query, headers=headers, content=data, by=by)

    ours = {"organization": world.organization}
    bad_type, large = {"Content-Type": "image/svg+xml"}, bytes(10_485_761)
    refused(await post({}, bad_type, large), 400, "Missing organization query parameter.")
    refused(await post({"organization": "x"}, bad_type, large), 400, "Invalid organization ID.", "*")
    forbidden(await post({"organization": NOWHERE}, bad_type, large))
    forbidden(await post(ours, bad_type, large, world.outsider))
    refused(await post(ours, bad_type, large), 400, "Unsupported file type.", ALLOWED)
    too_large = await post(ours, {}, large)
    refused(too_large, 413, "File too large.", "Maximum file size is 10485760 bytes.")
    detail = "Provide a filename in the Content-Disposition header."
    for headers in ({}, {"Content-Disposition": "attachment"}, {"Content-Disposition": 'attachment; filename="  "'}):
        refused(await post(ours, headers, SVG), 400, "Filename is required.", detail)
    refused(await upload(world, b""), 400, "Invalid file.", "*")


async def test_8_1_a_name_is_cut_at_255_bytes_between_characters(world: World) -> None:
    headers = {
        b"Content-Type": b"text/plain",
        b"Content-Disposition": b"attachment; filename*=UTF-8''" + b"%C5%BE" * 200,
    }
    made = await world.ask("POST", "/files", params={"organization": world.organization}, content=b"x", headers=headers)
    chat = await world.ask("POST", "", world.new(content=[{"type": "file", "file_id": made.json()["id"]}]))
    assert chat.json()["files"][0]["name"] == "ž" * 127


async def test_8_2_a_file_is_its_owners_and_of_those_who_may_read_a_chat_with_it(world: World) -> None:
    file_id = await world.upload()
    not_found(await world.ask("GET", f"/files/{file_id}", by=world.other))
    chat = await world.ask("POST", "", world.new(content=[{"type": "file", "file_id": file_id}]))
    not_found(await world.ask("GET", f"/files/{file_id}", by=world.other))
    await world.talk.share(UUID(chat.json()["id"]), world.other)
    assert (await world.ask("GET", f"/files/{file_id}", by=world.other)).content == b"words"
    not_found(await world.ask("GET", f"/files/{NOWHERE}"))
    refused(await world.ask("GET", "/files/nonsense"), 400, "Invalid file ID.", "*")


async def recorded(world: World, chat: UUID) -> UUID:
    """A debug run of the chat, recorded to its end."""
    async with world.api.resources.database.begin() as session:
        [tip] = await fetch(session, "SELECT max(id) AS id FROM chat_messages WHERE chat_id = %(id)s", {"id": chat})
        begun = debug.Begun(chat, "chat_turn", "stream", {"messages": []}, tip["id"], None, None, "openai", "gpt")
        place = await debug.begin(session, begun)
        assert place is not None
        await debug.end(session, place, debug.Ended("completed", "completed", {}, {"input_tokens": 3}, None, [{}]))
    run: UUID = place.run_id
    return run


async def test_8_3_debug_runs_are_listed_and_shown_with_their_steps(world: World) -> None:
    chat = await world.talk.start()
    run = await recorded(world, chat)
    [listed] = (await world.ask("GET", f"/{chat}/debug/runs")).json()
    shown = (await world.ask("GET", f"/{chat}/debug/runs/{run}")).json()
    assert (listed["id"], shown["id"], listed["kind"]) == (str(run), str(run), "chat_turn")
    assert [step["step_number"] for step in shown["steps"]] == [1]
    assert "steps" not in listed


async def test_8_3_a_run_that_is_none_or_of_another_chat(world: World) -> None:
    chat, elsewhere = await world.talk.start(), await world.talk.start()
    run = await recorded(world, elsewhere)
    refused(await world.ask("GET", f"/{chat}/debug/runs/nonsense"), 400, "Invalid debug run ID.", "*")
    for missing in (run, uuid4()):
        not_found(await world.ask("GET", f"/{chat}/debug/runs/{missing}"))
    not_found(await world.ask("GET", f"/{elsewhere}/debug/runs/{run}", by=world.other))
