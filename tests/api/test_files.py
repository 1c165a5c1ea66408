"""Files: upload, fetch, and name them in messages."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.app import create_app
from api.resources import UPLOADS_AT_ONCE
from models.settings import Settings
from models.store import files
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.models.rules.test_file_types import PNG, SAMPLES

FILES = f"{CHATS}/files"

NOWHERE = "0e2e0d8c-5f0c-4b8f-9d39-3f1a2b7c6d5e"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def upload(
    talk: Talk,
    data: bytes = b"some notes",
    name: str = "notes.txt",
    kind: str = "text/plain",
    *,
    client: httpx.AsyncClient | None = None,
    **headers: str,
) -> httpx.Response:
    disposition = {"Content-Disposition": f"attachment; filename={name}"} if name else {}
    return await (client or talk.client).post(
        FILES,
        params={"organization": str(talk.api.organization_id)},
        content=data,
        headers={"Content-Type": kind, **disposition, **headers},
    )


async def uploaded(talk: Talk, data: bytes = b"some notes", name: str = "notes.txt", kind: str = "text/plain") -> str:
    response = await upload(talk, data, name, kind)
    assert response.status_code == 201, response.text
    file_id: str = response.json()["id"]
    return file_id


def naming(*file_ids: str) -> list[dict[str, Any]]:
    return [{"type": "file", "file_id": file_id} for file_id in file_ids]


async def linked(talk: Talk, chat: UUID) -> list[str]:
    return [file["id"] for file in (await talk.get(chat)).get("files", [])]


@pytest.mark.parametrize("kind", SAMPLES)
async def test_what_is_uploaded_comes_back_byte_for_byte(talk: Talk, kind: str) -> None:
    data, name = SAMPLES[kind]
    file_id = await uploaded(talk, data, name, kind)
    response = await talk.client.get(f"{FILES}/{file_id}")
    assert response.status_code == 200
    assert response.content == data
    assert response.headers["content-type"] == kind
    assert response.headers["content-length"] == str(len(data))
    assert response.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    shown = "attachment" if kind == "application/pdf" else "inline"
    assert response.headers["content-disposition"] == f"{shown}; filename=\"{name}\"; filename*=UTF-8''{name}"


@pytest.mark.parametrize(
    ("disposition", "name", "plain"),
    [
        ('attachment; filename="two words.txt"', "two words.txt", "two words.txt"),
        ("attachment; filename*=UTF-8''%C5%BElu%C5%A5.txt", "žluť.txt", "_lu_.txt"),
        ('attachment; filename="žluť.txt"', "žluť.txt", "_lu_.txt"),
        ("attachment; filename*=UTF-8''a%0D%0AX-Evil%3A%20%22b%00", 'a\r\nX-Evil: "b\x00', "a__X-Evil: _b_"),
    ],
)
async def test_a_name_survives_and_cannot_break_out_of_its_header(
    talk: Talk, disposition: str, name: str, plain: str
) -> None:
    made = await talk.client.post(
        FILES,
        params={"organization": str(talk.api.organization_id)},
        content=b"x",
        headers={b"Content-Type": b"text/plain", b"Content-Disposition": disposition.encode()},
    )
    assert made.status_code == 201, made.text
    file_id = made.json()["id"]
    fetched = await talk.client.get(f"{FILES}/{file_id}")
    assert f'filename="{plain}"' in fetched.headers["content-disposition"]
    chat = await talk.start(content=naming(file_id))
    assert (await talk.get(chat))["files"][0]["name"] == name
    [message] = (await talk.history(chat))["messages"]
    assert message["content"] == [{"type": "file", "media_type": "text/plain", "file_id": file_id, "name": name}]


@pytest.mark.parametrize(
    ("query", "headers", "data", "status", "message", "detail"),
    [
        ({}, {}, b"x", 400, "Missing organization query parameter.", None),
        (
            {"organization": "nonsense"},
            {},
            b"x",
            400,
            "Invalid organization ID.",
            "badly formed hexadecimal UUID string",
        ),
        ({"organization": NOWHERE}, {}, b"x", 403, "Forbidden.", None),
        ({"organization": "ours"}, {"Content-Type": "image/svg+xml"}, b"x", 400, "Unsupported file type.", None),
        (
            {"organization": "ours"},
            {},
            bytes(10_485_761),
            413,
            "File too large.",
            "Maximum file size is 10485760 bytes.",
        ),
        (
            {"organization": "ours"},
            {},
            b"x",
            400,
            "Filename is required.",
            "Provide a filename in the Content-Disposition header.",
        ),
        (
            {"organization": "ours"},
            {"Content-Disposition": "attachment; filename=a.png", "Content-Type": "image/png"},
            b"no picture",
            400,
            "File content type does not match Content-Type header.",
            'Header declared "image/png" but file content was detected as "text/plain".',
        ),
    ],
)
async def test_what_is_wrong_with_an_upload_is_said(
    talk: Talk,
    query: dict[str, str],
    headers: dict[str, str],
    data: bytes,
    status: int,
    message: str,
    detail: str | None,
) -> None:
    params = {key: str(talk.api.organization_id) if value == "ours" else value for key, value in query.items()}
    response = await talk.client.post(FILES, params=params, headers=headers, content=data)
    assert response.status_code == status
    assert response.json()["message"] == message
    if detail is not None:
        assert response.json()["detail"] == detail


async def test_a_body_without_a_length_is_refused_once_it_is_too_large(talk: Talk) -> None:
    async def endless() -> Any:
        for _ in range(11):
            yield b"a" * 1024 * 1024

    response = await talk.client.post(
        FILES,
        params={"organization": str(talk.api.organization_id)},
        headers={"Content-Disposition": "attachment; filename=a.txt"},
        content=endless(),
    )
    assert response.status_code == 413


async def test_an_upload_needs_the_right_to_create_chats(talk: Talk, outsider: Person) -> None:
    assert (await upload(talk, client=outsider.client)).status_code == 403
    reader = await talk.api.sign_in(talk.person.id, "member", ("chat:read",))
    assert (await upload(talk, client=reader.client)).status_code == 403


async def test_a_file_is_its_owners_until_a_chat_that_others_may_read_uses_it(talk: Talk) -> None:
    other = await talk.api.person("other", org_roles=("agents-access",))
    file_id = await uploaded(talk)
    chat = await talk.start()
    assert (await other.client.get(f"{FILES}/{file_id}")).status_code == 404
    await talk.client.post(f"{CHATS}/{chat}/messages", json={"content": naming(file_id)})
    assert (await other.client.get(f"{FILES}/{file_id}")).status_code == 404
    await talk.share(chat, other)
    assert (await other.client.get(f"{FILES}/{file_id}")).status_code == 200
    narrow = await talk.api.sign_in(other.id, "other", ("chat:create",))
    assert (await narrow.client.get(f"{FILES}/{file_id}")).status_code == 404


async def test_the_organizations_administrator_reads_its_files(talk: Talk) -> None:
    chief = await talk.api.person("chief", org_roles=("organization-admin",))
    assert (await chief.client.get(f"{FILES}/{await uploaded(talk)}")).status_code == 200


@pytest.mark.parametrize(("file_id", "status", "message"), [("1", 400, "Invalid file ID."), (NOWHERE, 404, None)])
async def test_a_file_that_is_not_there_is_said_so(talk: Talk, file_id: str, status: int, message: str | None) -> None:
    response = await talk.client.get(f"{FILES}/{file_id}")
    assert response.status_code == status
    assert message in (None, response.json()["message"])


async def test_a_message_of_files_alone_makes_a_chat_without_a_title_of_its_own(talk: Talk) -> None:
    file_id = await uploaded(talk, PNG, "a.png", "image/png")
    response = await talk.client.post(
        CHATS, json={"organization_id": str(talk.api.organization_id), "content": naming(file_id)}
    )
    assert response.status_code == 201
    made = response.json()
    assert made["title"] == "New Chat"
    [file] = made["files"]
    assert {key: file[key] for key in file if key != "created_at"} == {
        "id": file_id,
        "owner_id": str(talk.person.id),
        "organization_id": str(talk.api.organization_id),
        "name": "a.png",
        "mime_type": "image/png",
    }
    assert (await talk.get(UUID(made["id"])))["files"] == [file]
    [listed] = (await talk.client.get(CHATS)).json()
    assert "files" not in listed


async def test_files_of_sent_queued_and_edited_messages_belong_to_the_chat(talk: Talk) -> None:
    first, second, third = [await uploaded(talk, name=f"{n}.txt") for n in range(3)]
    chat = await talk.start()
    assert (await talk.say(chat, "", content=naming(first)))["queued"] is True
    assert await linked(talk, chat) == [first]
    await talk.answer(chat)
    await talk.answer(chat)
    sent = await talk.say(chat, "", content=naming(second, second))
    assert sent["queued"] is False
    assert await linked(talk, chat) == [first, second]
    response = await talk.client.patch(
        f"{CHATS}/{chat}/messages/{sent['message']['id']}", json={"content": naming(first, third)}
    )
    assert response.status_code == 200
    assert await linked(talk, chat) == [first, second, third]


async def test_a_file_that_is_not_there_or_not_ones_own_cannot_be_named(talk: Talk) -> None:
    other = Talk(talk.api, await talk.api.person("other", org_roles=("agents-access",)))
    theirs, ours = await uploaded(other), await uploaded(talk)
    chat = await talk.start()
    for foreign in (theirs, str(uuid4())):
        content = [{"type": "text", "text": "look"}, *naming(ours, foreign)]
        expected = {
            "message": "Invalid input part.",
            "detail": "content[2].file_id references a file that does not exist.",
        }
        sent = await talk.client.post(f"{CHATS}/{chat}/messages", json={"content": content})
        assert (sent.status_code, sent.json()) == (400, expected)
        body = {"organization_id": str(talk.api.organization_id), "content": content}
        created = await talk.client.post(CHATS, json=body)
        assert (created.status_code, created.json()) == (400, expected)
    assert await linked(talk, chat) == []


async def test_the_first_part_at_fault_is_named_also_when_it_is_not_a_file(talk: Talk) -> None:
    content = [{"type": "text", "text": " "}, *naming(str(uuid4()))]
    chat = await talk.start()
    sent = await talk.client.post(f"{CHATS}/{chat}/messages", json={"content": content})
    assert sent.json()["detail"] == "content[0].text cannot be empty."


async def test_a_batch_that_would_pass_the_limit_is_not_linked_and_the_message_is_kept(talk: Talk) -> None:
    fifty = [await uploaded(talk, name=f"{n}.txt") for n in range(files.MAX_LINKS)]
    one, two = await uploaded(talk), await uploaded(talk)
    body = {"organization_id": str(talk.api.organization_id), "content": naming(*fifty, one)}
    warning = "file linking skipped: batch of {} file(s) would exceed limit of 50"
    made = (await talk.client.post(CHATS, json=body)).json()
    assert made["warnings"] == [warning.format(51)]
    assert "files" not in made
    chat = await talk.start("", content=naming(*fifty))
    assert len(await linked(talk, chat)) == 50
    sent = await talk.say(chat, "", content=naming(one, fifty[0], two))
    assert sent["warnings"] == [warning.format(2)]
    assert sent["queued"] is True
    assert "warnings" not in await talk.say(chat, "", content=naming(*fifty))
    assert sorted(await linked(talk, chat)) == sorted(fifty)


async def test_an_upload_is_made_once_under_its_key(talk: Talk) -> None:
    first = await upload(talk, **{"Idempotency-Key": "once"})
    again = await upload(talk, **{"Idempotency-Key": "once"})
    other = await upload(talk, b"other notes", **{"Idempotency-Key": "once"})
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first.json() == again.json()


async def test_a_refused_message_links_nothing(talk: Talk) -> None:
    file_id = await uploaded(talk)
    chat = await talk.start()
    response = await talk.client.post(
        f"{CHATS}/{chat}/messages", json={"content": naming(file_id), "busy_behavior": "nonsense"}
    )
    assert response.status_code == 400
    assert await linked(talk, chat) == []


async def test_the_largest_file_is_stored_whole_and_uncompressed_and_read_back_for_the_model(talk: Talk) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(10_485_760 - 8)
    file_id = UUID(await uploaded(talk, data, "a.png", "image/png"))
    async with talk.api.resources.database.read() as session:
        found = await files.contents(session, [file_id, uuid4()])
        assert await files.contents(session, []) == {}
    assert list(found) == [file_id]
    file = found[file_id]
    assert (file.name, file.mimetype, file.size) == ("a.png", "image/png", len(data))
    assert file.data == data
    async with talk.api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT pg_column_size(data) AS stored FROM chat_files")
    assert row["stored"] == len(data), "to compress it would cost time with every upload"


async def test_who_uploads_more_than_the_limit_is_told_to_wait(api: Api, settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"upload_limit_per_minute": 1}))
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(app.router.lifespan_context(app))
        limited = Api(app, dict(state or {}), api.organization_id, stack)
        eager = Talk(limited, await limited.person("eager", org_roles=("agents-access",)))
        other = Talk(limited, await limited.person("other", org_roles=("agents-access",)))
        answers = [await upload(eager) for _ in range(UPLOADS_AT_ONCE + 1)]
        assert [answer.status_code for answer in answers] == [201] * UPLOADS_AT_ONCE + [429]
        assert int(answers[-1].headers["retry-after"]) > 0
        await uploaded(other)


async def test_two_messages_at_once_do_not_pass_the_limit_together(talk: Talk) -> None:
    many = [await uploaded(talk, name=f"{n}.txt") for n in range(60)]
    chat = await talk.start()
    answers = await asyncio.gather(
        talk.say(chat, "", content=naming(*many[:30])), talk.say(chat, "", content=naming(*many[30:]))
    )
    assert sorted("warnings" in answer for answer in answers) == [False, True]
    assert len(await linked(talk, chat)) == 30
