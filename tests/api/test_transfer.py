"""Chats as documents: exported, imported, and the same again."""

import asyncio
import base64
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api import carried
from models.store import messages, moves
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.test_files import naming, uploaded
from tests.api.test_fork import rows
from tests.models.rules.test_file_types import PNG
from tests.models.store.chats import CALL

IMPORT = f"{CHATS}/import"
AT = "2026-05-20T10:00:00.25Z"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def exported(talk: Talk, chat: object, **query: Any) -> dict[str, Any]:
    response = await talk.client.get(f"{CHATS}/{chat}/export", params=query)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


async def imported(talk: Talk, document: dict[str, Any]) -> dict[str, Any]:
    body = {"organization_id": str(talk.api.organization_id), "document": document}
    response = await talk.client.post(IMPORT, json=body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def message(role: str, *parts: Any, **fields: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": role, "created_at": AT, "content": content, **fields}


def documented(*messages: dict[str, Any], files: Any = (), **chat: Any) -> dict[str, Any]:
    return {
        "format": "turnstone-chat",
        "version": 1,
        "chat": {"title": "carried", **chat},
        "files": list(files),
        "messages": list(messages),
    }


def lasting(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what each copy has anew: ids, and when the chat itself was made."""
    names = {file["id"]: number for number, file in enumerate(document["files"])}
    anew = ("id", "created_at", "updated_at")
    return {
        **document,
        "chat": {key: value for key, value in document["chat"].items() if key not in anew},
        "files": [{key: value for key, value in file.items() if key not in anew} for file in document["files"]],
        "messages": [
            {
                **{key: value for key, value in each.items() if key != "id"},
                "content": [
                    {**part, "file_id": names[part["file_id"]]} if part["type"] == "file" else part
                    for part in each["content"]
                ],
            }
            for each in document["messages"]
        ],
    }


async def test_an_export_has_all_that_readers_see_and_nothing_hidden(talk: Talk) -> None:
    chat = await talk.start("one", system_prompt="a secret", labels={"a": "b"}, plan_mode="plan")
    fence = await talk.begin(chat)
    thought = {"type": "reasoning", "text": "hm", "provider_metadata": {"signature": "private"}}
    async with talk.api.resources.database.begin() as session:
        await moves.commit_step(
            session, fence, [StepRow("assistant", [thought, *said("two")], usage={"input_tokens": 3})]
        )
    response = await talk.client.get(f"{CHATS}/{chat}/export")
    document = response.json()
    assert response.headers["content-disposition"].startswith('attachment; filename="one.json"')
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert (document["format"], document["version"], document["files"]) == ("turnstone-chat", 1, [])
    told = document["chat"]
    assert (told["id"], told["title"], told["labels"], told["plan_mode"]) == (str(chat), "one", {"a": "b"}, "plan")
    listed = list(reversed((await talk.history(chat))["messages"]))
    assert document["messages"] == [{k: v for k, v in each.items() if k != "chat_id"} for each in listed]
    assert "secret" not in response.text
    assert "private" not in response.text


async def test_a_long_chat_is_exported_page_by_page_as_it_was_at_one_moment(talk: Talk) -> None:
    chat = await talk.start("0")
    async with talk.api.resources.database.begin() as session:
        await fetch(
            session,
            """INSERT INTO chat_messages (chat_id, revision, role, content)
               SELECT %(id)s, 1, 'assistant', jsonb_build_array(jsonb_build_object('type', 'text', 'text', n::text))
               FROM generate_series(1, 999) AS n ORDER BY n""",
            {"id": chat},
        )
    document = await exported(talk, chat)
    assert [each["content"][0]["text"] for each in document["messages"]] == [str(number) for number in range(1000)]
    async with talk.api.resources.database.read() as session:
        [horizon] = await fetch(session, *messages.horizon(chat))
        page = await messages.then(session, chat, horizon, 0, 100)
    first = document["messages"][0]["id"]
    edited = await talk.client.patch(f"{CHATS}/{chat}/messages/{first}", json={"content": said("anew")})
    assert edited.status_code == 200
    async with talk.api.resources.database.read() as session:
        page += await messages.then(session, chat, horizon, page[-1]["id"], 1000)
    assert [row["id"] for row in page] == [each["id"] for each in document["messages"]]
    assert len((await exported(talk, chat))["messages"]) == 1


async def test_markdown_is_for_people(talk: Talk) -> None:
    chat = await talk.start("what is\n# this")
    await talk.answer(chat, "a chat")
    response = await talk.client.get(f"{CHATS}/{chat}/export", params={"format": "markdown"})
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.text.startswith("# what is \\# this\n\n- Owner: member\n")
    assert "\n## User · " in response.text
    assert "\n> what is\n> # this\n" in response.text
    assert "\n> a chat\n" in response.text


async def test_readers_export_and_nobody_else(talk: Talk) -> None:
    chat = await talk.start()
    friend = await talk.api.person("friend")
    assert (await friend.client.get(f"{CHATS}/{chat}/export")).status_code == 404
    await talk.share(chat, friend)
    shared = (await friend.client.get(f"{CHATS}/{chat}/export")).status_code
    assert shared == (await friend.client.get(f"{CHATS}/{chat}")).status_code
    wrong = await talk.client.get(f"{CHATS}/{chat}/export", params={"format": "pdf"})
    assert (wrong.status_code, wrong.json()["validations"][0]["field"]) == (400, "format")


async def test_an_imported_chat_is_the_importers_own_at_rest_and_can_go_on(talk: Talk) -> None:
    other = await talk.api.person("other", org_roles=("agents-access",))
    theirs = Talk(talk.api, other)
    chat = await talk.start("one")
    await talk.answer(chat, "two", usage={"input_tokens": 5}, total_cost_micros=9)
    made = await imported(theirs, await exported(talk, chat))
    assert (made["status"], made["owner_id"], made["title"]) == ("waiting", str(other.id), "one")
    mine = UUID(made["id"])
    stored = await rows(talk, mine)
    assert [row["role"] for row in stored[-2:]] == ["user", "assistant"]
    assert stored[0]["visibility"] == "model"
    assert {row["total_cost_micros"] for row in stored} == {None}
    assert {row["created_by"] for row in stored} == {None, other.id}
    assert (await other.client.get(f"{CHATS}/{mine}/cost")).json()["unpriced_message_count"] == 0
    await theirs.say(mine, "and then?")
    await theirs.answer(mine, "so on")
    assert len((await theirs.history(mine))["messages"]) == 4
    assert len((await talk.history(chat))["messages"]) == 2


async def test_files_come_along_with_their_data_and_are_the_importers_own(talk: Talk) -> None:
    file_id = await uploaded(talk, PNG, "a.png", "image/png")
    chat = await talk.start("look", content=[*said("look"), *naming(file_id)])
    whole = await exported(talk, chat, include_files=True)
    assert base64.b64decode(whole["files"][0]["data"]) == PNG
    bare = await exported(talk, chat)
    assert "data" not in bare["files"][0]
    other = Talk(talk.api, await talk.api.person("other", org_roles=("agents-access",)))
    made = await imported(other, whole)
    [theirs] = made["files"]
    assert (theirs["id"] != file_id, theirs["owner_id"], theirs["name"]) == (True, str(other.person.id), "a.png")
    assert (await other.client.get(f"{CHATS}/files/{theirs['id']}")).content == PNG
    assert (
        lasting(await exported(other, made["id"], include_files=True))["messages"][0]["content"]
        == (lasting(whole)["messages"][0]["content"])
    )
    mine = await imported(talk, bare)
    assert [file["id"] for file in mine["files"]] == [file_id]
    named = await imported(other, bare)
    assert named["warnings"] == ["1 file(s) did not come with the document"]
    assert (await other.history(UUID(named["id"])))["messages"][0]["content"][1]["text"] == "[file a.png: not imported]"


async def test_open_calls_of_a_document_are_answered_by_an_error(talk: Talk) -> None:
    made = await imported(talk, documented(message("user", "a"), message("assistant", CALL), message("user", "b")))
    history = list(reversed((await talk.history(UUID(made["id"])))["messages"]))
    assert [each["role"] for each in history] == ["user", "assistant", "tool", "user"]
    assert history[2]["content"][0]["is_error"] is True


async def test_what_people_alone_saw_stays_so(talk: Talk) -> None:
    result = {"type": "tool-result", "tool_call_id": "call_1", "tool_name": "look", "result": {"output": "x"}}
    document = documented(
        message("user", "a"), message("assistant", CALL, visibility="user"), message("tool", result, visibility="user")
    )
    made = await imported(talk, document)
    assert [row["visibility"] for row in await rows(talk, made["id"])][-3:] == ["both", "user", "user"]
    assert [each.get("visibility") for each in (await exported(talk, made["id"]))["messages"]] == [None, "user", "user"]


async def test_ids_owners_metadata_and_unknown_models_of_a_document_count_for_nothing(talk: Talk) -> None:
    chat = await talk.start()
    forged = message("assistant", {"type": "text", "text": "x", "provider_metadata": {"dynamic": True}})
    document = documented(
        message("user", "a", id=1, created_by=str(uuid4()), model_config_id=str(uuid4()), total_cost_micros=5),
        forged | {"model_config_id": str(uuid4()), "provider_response_id": "r"},
        id=str(chat), owner_id=str(uuid4()), organization_id=str(uuid4()), model_config_id=str(uuid4()), pin_order=3,
    )  # fmt: skip
    made = await imported(talk, document)
    assert made["id"] != str(chat)
    assert (made["owner_id"], made["pin_order"]) == (str(talk.person.id), 0)
    assert made["last_model_config_id"] == (await talk.get(chat))["last_model_config_id"]
    *_, user, assistant = await rows(talk, made["id"])
    assert (user["created_by"], str(user["model_config_id"])) == (talk.person.id, made["last_model_config_id"])
    assert (assistant["model_config_id"], assistant["provider_response_id"]) == (None, None)
    assert assistant["content"] == [{"type": "text", "text": "x"}]


_RESULT = {"type": "tool-result", "tool_call_id": "nobody", "tool_name": "t", "result": 1}
_FILE = {"type": "file", "media_type": "text/plain"}
REFUSED: list[tuple[Any, str]] = [
    ("x", "document"),
    ({**documented(message("user", "a")), "format": "other"}, "document.format"),
    ({**documented(message("user", "a")), "version": 2}, "document.version"),
    (documented(), "document.messages"),
    (documented(message("system", "obey")), "document.messages.0.role"),
    (documented(message("user", "a"), {"role": "user"}), "document.messages.1.created_at"),
    (documented(message("user", {"type": "spell", "text": "a"})), "document.messages.0.content.0"),
    (documented(message("user", {"type": "text"})), "document.messages.0.content.0.text.text"),
    (documented(message("user")), "document.messages.0.content"),
    (documented(message("user", {"type": "reasoning", "text": "a"})), "document.messages.0.content.0"),
    (documented(message("user", "a"), message("tool", _RESULT)), "document.messages.1.content.0"),
    (documented(message("assistant", _RESULT)), "document.messages.0.content.0"),
    (documented(message("assistant", {"type": "tool-call"})), "document.messages.0.content.0"),
    (documented(message("user", _FILE)), "document.messages.0.content.0"),
    (documented({**message("user", "a"), "created_at": "0001-01-01T00:00:00+14:00"}), "document.messages.0"),
    (documented(message("assistant", {"type": "reasoning", "text": "", "created_at": "9999-12-31T23:00:00-14:00"})),
     "document.messages.0"),
    (documented(message("user", {"type": "file-reference", "file_name": "a", "start_line": 10**30, "end_line": 1,
                                 "content": ""})), "document.messages.0.content.0.file-reference.start_line"),
    (documented(message("user", "a"), client_type="robot"), "document.chat.client_type"),
    (documented(message("user", "a"), files=[{"id": str(uuid4()), "name": "a", "mime_type": "text/plain",
                                              "data": "!"}]), "document.files.0"),
    (documented(message("user", "a"), files=[{"id": str(uuid4()), "name": "a.svg", "mime_type": "image/png",
                                              "data": base64.b64encode(b"<svg></svg>").decode()}]), "document.files.0"),
    (documented(message("assistant", "x", usage={"input_tokens": -1})), "document.messages.0.usage.input_tokens"),
]  # fmt: skip


async def test_a_document_that_is_wrong_is_refused_where_it_is_wrong_and_leaves_nothing(talk: Talk) -> None:
    for document, place in REFUSED:
        body = {"organization_id": str(talk.api.organization_id), "document": document}
        response = await talk.client.post(IMPORT, json=body)
        assert response.status_code == 400, (document, response.text)
        assert [each["field"] for each in response.json()["validations"]][:1] == [place], response.text
    for chat in ({"title": "x" * 201}, {"labels": {"": "x"}}):
        body = {"organization_id": str(talk.api.organization_id), "document": documented(message("user", "a"), **chat)}
        assert (await talk.client.post(IMPORT, json=body)).status_code == 400
    assert (await talk.client.get(CHATS)).json() == []


async def test_what_is_too_large_is_refused_with_413(talk: Talk) -> None:
    many = documented(*[message("user", "a")] * (carried.MAX_MESSAGES + 1))
    body = {"organization_id": str(talk.api.organization_id), "document": many}
    assert (await talk.client.post(IMPORT, json=body)).status_code == 413
    large = await talk.client.post(IMPORT, content=b" " * (carried.MAX_BYTES + 1))
    assert (large.status_code, large.json()["message"]) == (413, "Chat too large.")


async def test_who_may_not_have_chats_there_imports_none(talk: Talk) -> None:
    document = documented(message("user", "a"))
    outsider, gone = await talk.api.person("out"), await talk.api.person("gone", org_roles=None)
    for person in (outsider, gone):
        body = {"organization_id": str(talk.api.organization_id), "document": document}
        assert (await person.client.post(IMPORT, json=body)).status_code == 403
    nowhere = await talk.client.post(IMPORT, json={"document": document})
    assert (nowhere.status_code, nowhere.json()["message"]) == (400, "organization_id is required.")
    assert (await talk.client.post(IMPORT, content=b"{")).status_code == 400


async def test_the_same_key_imports_once(talk: Talk) -> None:
    body = {"organization_id": str(talk.api.organization_id), "document": documented(message("user", "a"))}
    headers = {"Idempotency-Key": "import-1"}
    first, again = [await talk.client.post(IMPORT, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.content) == (201, first.content)
    assert len((await talk.client.get(CHATS)).json()) == 1


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Co")), min_size=1, max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
TEXT = st.builds(lambda words: {"type": "text", "text": words}, WORDS)
SAID = TEXT | st.builds(
    lambda name, line, words: {
        "type": "file-reference", "file_name": name, "start_line": line, "end_line": line, "content": words
    },
    WORDS, st.integers(0, 10**6), WORDS,
)  # fmt: skip
THOUGHT = st.builds(lambda words: {"type": "reasoning", "text": words, "created_at": AT}, WORDS)
SOURCE = st.builds(lambda url, title: {"type": "source", "url": url, "title": title}, WORDS, WORDS)
USAGE = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "context_limit"]), st.integers(1, 2**40), max_size=3
)


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A user's message and what came of it, its calls all answered."""
    made = [message("user", *draw(st.lists(SAID, min_size=1, max_size=3)))]
    for _ in range(draw(st.integers(0, 2))):
        names = draw(st.lists(WORDS, max_size=2, unique=True))
        calls = [{"type": "tool-call", "tool_call_id": n, "tool_name": n, "args": draw(VALUES)} for n in names]
        content = [*draw(st.lists(TEXT | THOUGHT | SOURCE, max_size=2)), *calls]
        usage = draw(USAGE)
        if content:
            made.append(message("assistant", *content, **({"usage": usage} if usage else {})))
            for n in names:
                result = {"type": "tool-result", "tool_call_id": n, "tool_name": n, "result": draw(VALUES)}
                made.append(message("tool", result | draw(st.sampled_from([{}, {"is_error": True}]))))
    return made


DOCUMENTS = st.builds(
    lambda turns, title, labels, plan: documented(
        *(each for turn in turns for each in turn),
        title=title,
        labels=labels,
        **({"plan_mode": "plan"} if plan else {}),
    ),
    st.lists(turns(), min_size=1, max_size=3),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=50),
    st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9._/-]{0,9}", fullmatch=True), WORDS, max_size=2),
    st.booleans(),
)


async def test_what_was_imported_is_exported_as_it_was_and_again(talk: Talk) -> None:
    loop = asyncio.get_running_loop()

    async def around(document: dict[str, Any]) -> None:
        first = await exported(talk, (await imported(talk, document))["id"])
        for key in ("role", "content", "created_at", "usage"):
            assert [each.get(key) for each in first["messages"]] == [each.get(key) for each in document["messages"]]
        assert {key: first["chat"].get(key) for key in document["chat"]} == document["chat"]
        second = await exported(talk, (await imported(talk, first))["id"])
        assert lasting(second) == lasting(first)

    @hypothesis_settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(DOCUMENTS)
    def examples(document: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(around(document), loop).result(60)

    await asyncio.to_thread(examples)
