"""Creating, listing and looking at chats; explain."""

from uuid import UUID, uuid4

import pytest

from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.trips import trips

EVERY_KEY = {
    "id", "organization_id", "owner_id", "owner_username", "root_chat_id", "last_model_config_id", "title", "status",
    "last_turn_summary", "created_at", "updated_at", "archived", "shared", "pin_order", "mcp_server_ids", "labels",
    "has_unread", "client_type", "children",
}  # fmt: skip


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def set_columns(api: Api, chat: UUID, assignments: str) -> None:
    """What later routes will do to a chat."""
    async with api.resources.database.begin() as session:
        await fetch(session, f"UPDATE chats SET {assignments} WHERE id = %(id)s", {"id": chat})


async def child_of(api: Api, parent: UUID, archived: bool = False) -> UUID:
    """A sub-agent's chat, as a later issue will make it."""
    async with api.resources.database.begin() as session:
        rows = await fetch(
            session,
            """INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, parent_chat_id, root_chat_id,
                   title, archived)
               SELECT %(child)s, owner_id, organization_id, last_model_config_id, id, id, 'sub', %(archived)s
               FROM chats WHERE id = %(parent)s RETURNING id""",
            {"parent": parent, "archived": archived, "child": uuid4()},
        )
    return rows[0]["id"]  # type: ignore[no-any-return]


async def test_a_new_chat_is_pending_and_has_exactly_the_documented_keys(talk: Talk) -> None:
    body = {"organization_id": str(talk.api.organization_id), "content": said("  one two three four five six seven ")}
    response = await talk.client.post(CHATS, json=body)
    assert response.status_code == 201
    chat = response.json()
    assert set(chat) == EVERY_KEY
    assert chat["status"] == "pending"
    assert chat["title"] == "one two three four five six…"
    assert chat["root_chat_id"] == chat["id"]
    assert chat["owner_id"] == str(talk.person.id)
    assert chat["owner_username"] == "member"
    assert chat["client_type"] == "api"
    assert chat["last_turn_summary"] is None
    assert (chat["mcp_server_ids"], chat["labels"], chat["children"]) == ([], {}, [])
    assert chat["created_at"].endswith("Z")
    assert await talk.get(UUID(chat["id"])) == chat
    [message] = (await talk.history(UUID(chat["id"])))["messages"]
    assert message["content"] == said("one two three four five six seven")


async def test_what_is_asked_for_at_creation_is_kept(talk: Talk) -> None:
    model = (await talk.get(await talk.start()))["last_model_config_id"]
    chat = await talk.start(
        labels={"team": "a\x00b"}, plan_mode="plan", client_type="ui", model_config_id=model, system_prompt="Be brief."
    )
    shown = await talk.get(chat)
    assert shown["labels"] == {"team": "a\x00b"}
    assert (shown["plan_mode"], shown["client_type"], shown["last_model_config_id"]) == ("plan", "ui", model)
    [message] = (await talk.history(chat))["messages"]
    assert message["role"] == "user"
    async with talk.api.resources.database.read() as session:
        statement = (
            "SELECT content, visibility FROM chat_messages WHERE role = 'system' AND chat_id = %(chat)s ORDER BY id"
        )
        [_, hidden, _] = await fetch(session, statement, {"chat": chat})
    assert (hidden["content"], hidden["visibility"]) == (said("Be brief."), "model")


async def test_each_wrong_creation_is_refused_in_the_documented_words(talk: Talk) -> None:
    good = {"organization_id": str(talk.api.organization_id), "content": said("hello")}
    nobody = str(UUID(int=0))
    unknown = str(uuid4())
    cases = [
        ({"organization_id": nobody}, 400, "organization_id is required.", None),
        ({"organization_id": None}, 400, "organization_id is required.", None),
        ({"organization_id": unknown, "content": []}, 403, "You are not a member of the specified organization.", None),
        (
            {"system_prompt": "é" * 5001, "content": []},
            400,
            "System prompt exceeds maximum length.",
            "System prompt must be at most 10000 characters, got 10002.",
        ),
        ({"content": [], "workspace_id": unknown}, 400, "Content is required.", "Content cannot be empty."),
        ({"workspace_id": unknown}, 400, "Workspace not found or you do not have access to this resource", None),
        ({"model_config_id": nobody, "plan_mode": "x"}, 400, "Invalid model config ID.", None),
        ({"plan_mode": "x", "mcp_server_ids": [unknown]}, 400, "Invalid plan_mode value.", None),
        (
            {"mcp_server_ids": [unknown], "labels": {"": ""}},
            400,
            "One or more MCP server IDs are invalid.",
            f"Invalid IDs: {unknown}",
        ),
        ({"labels": {"": "v"}, "client_type": "x"}, 400, "Invalid labels.", None),
        (
            {"unsafe_dynamic_tools": [{"name": str(n)} for n in range(251)]},
            400,
            "Too many dynamic tools.",
            "Maximum 250 dynamic tools per chat.",
        ),
        ({"unsafe_dynamic_tools": [{"name": ""}]}, 400, "Dynamic tool name must not be empty.", None),
        (
            {"unsafe_dynamic_tools": [{"name": "a"}, {"name": "a"}]},
            400,
            "Duplicate dynamic tool name.",
            'Tool "a" appears more than once.',
        ),
        ({"client_type": "cli"}, 400, "Invalid client_type.", 'got "cli", want one of [api ui]'),
        ({"model_config_id": unknown}, 400, "Invalid model config ID.", f"There is no model config {unknown}."),
    ]
    for fields, status, message, detail in cases:
        response = await talk.client.post(CHATS, json=good | fields)
        assert (response.status_code, response.json()["message"], response.json().get("detail")) == (
            status,
            message,
            detail,
        ), fields
    assert (await talk.client.get(CHATS)).json() == []


async def test_each_wrong_part_is_named_by_its_index(talk: Talk) -> None:
    cases = [
        ([{"type": "text", "text": " \n"}], "content[0].text cannot be empty."),
        ([*said("a"), {"type": "file"}], "content[1].file_id is required for file parts."),
        ([{"type": "file", "file_id": str(UUID(int=0))}], "content[0].file_id is required for file parts."),
        ([{"type": "file", "file_id": str(uuid4())}], "content[0].file_id references a file that does not exist."),
        ([{"type": "file-reference", "content": "x"}], "content[0].file_name cannot be empty for file-reference."),
        ([{"type": "hook-notice", "text": "x"}], 'content[0].type "hook-notice" is not supported.'),
        ([{"text": "x"}], 'content[0].type "" is not supported.'),
    ]
    for content, detail in cases:
        body = {"organization_id": str(talk.api.organization_id), "content": content}
        response = await talk.client.post(CHATS, json=body)
        assert (response.status_code, response.json()) == (400, {"message": "Invalid input part.", "detail": detail})


async def test_parts_are_read_leniently_and_stored_as_they_are_meant(talk: Talk) -> None:
    reference = {"type": "file-reference", "file_name": "a.py", "start_line": 3, "end_line": 4, "content": " x = 1\n"}
    chat = await talk.start(content=[{"type": " TEXT ", "text": " nul \x00 ", "file_id": str(UUID(int=0))}, reference])
    [message] = (await talk.history(chat))["messages"]
    assert message["content"] == [{"type": "text", "text": "nul \x00"}, reference]


async def test_a_message_without_words_makes_a_new_chat_and_a_large_one_is_stored_whole(talk: Talk) -> None:
    words = "<&>\u2028" + "x" * 200_000
    chat = await talk.start(words)
    [message] = (await talk.history(chat))["messages"]
    assert message["content"][0]["text"] == words
    body = {"organization_id": str(talk.api.organization_id), "content": said("x" * 300_000)}
    assert (await talk.client.post(CHATS, json=body)).status_code in (400, 413)


async def test_without_a_usable_default_model_no_chat_begins(talk: Talk) -> None:
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "UPDATE chat_model_configs SET is_default = false")
    body = {"organization_id": str(talk.api.organization_id), "content": said("hello")}
    response = await talk.client.post(CHATS, json=body)
    assert (response.status_code, response.json()["message"]) == (400, "No default chat model config is configured.")


async def test_the_list_has_pinned_chats_first_then_the_newest_and_pages_by_cursor(talk: Talk) -> None:
    chats = [await talk.start(f"chat {number}") for number in range(5)]
    await set_columns(talk.api, chats[0], "pin_order = 2")
    await set_columns(talk.api, chats[1], "pin_order = 1")
    await set_columns(talk.api, chats[3], "updated_at = (SELECT max(updated_at) FROM chats)")
    expected = [str(chats[number]) for number in (1, 0, 4, 3, 2)]
    assert [row["id"] for row in (await talk.client.get(CHATS)).json()] == expected
    paged: list[str] = []
    while page := (await talk.client.get(CHATS, params={"limit": 2, "after_id": paged[-1] if paged else ""})).json():
        assert len(page) <= 2
        paged += [row["id"] for row in page]
    assert paged == expected
    skipped = (await talk.client.get(CHATS, params={"offset": 3, "limit": 0})).json()
    assert [row["id"] for row in skipped] == expected[3:]
    assert (await talk.client.get(CHATS, params={"after_id": str(uuid4())})).json() == []


async def test_the_list_holds_ones_own_unarchived_roots_with_their_children(
    talk: Talk, owner: Person, api: Api
) -> None:
    chat, archived = await talk.start(), await talk.start()
    older, newer = await child_of(api, chat), await child_of(api, chat)
    await child_of(api, chat, archived=True)
    await talk.archive(archived)
    await Talk(api, owner).start("somebody else's")
    [row] = (await talk.client.get(CHATS)).json()
    assert set(row) == EVERY_KEY | {"diff_status"}
    assert [child["id"] for child in row["children"]] == [str(newer), str(older)]
    child = row["children"][0]
    assert (child["parent_chat_id"], child["root_chat_id"]) == (str(chat), str(chat))
    assert child["diff_status"] == {
        "chat_id": child["id"],
        "pull_request_title": "",
        "pull_request_draft": False,
        "changes_requested": False,
        "additions": 0,
        "deletions": 0,
        "changed_files": 0,
    }
    alone = await talk.get(chat)
    assert [each["id"] for each in alone["children"]] == [str(newer), str(older)]
    assert "diff_status" not in alone
    assert (await talk.get(newer))["children"] == []


async def test_a_chat_is_unread_until_its_newest_answer_was_read(talk: Talk, api: Api) -> None:
    chat = await talk.start()
    assert [row["has_unread"] for row in (await talk.client.get(CHATS)).json()] == [False]
    await talk.answer(chat)
    assert [row["has_unread"] for row in (await talk.client.get(CHATS)).json()] == [True]
    assert (await talk.get(chat))["has_unread"] is False
    await set_columns(api, chat, "last_read_message_id = (SELECT max(id) FROM chat_messages)")
    assert [row["has_unread"] for row in (await talk.client.get(CHATS)).json()] == [False]


async def test_label_filters_must_all_match(talk: Talk) -> None:
    both = await talk.start(labels={"a": "1", "b": "2"})
    await talk.start(labels={"a": "1"})
    for filters, count in ((["a:1"], 2), (["a:1", "b:2"], 1), (["a:1", "a:2"], 0), (["a:\x00"], 0)):
        found = (await talk.client.get(CHATS, params={"label": filters})).json()
        assert len(found) == count, filters
    [found] = (await talk.client.get(CHATS, params={"label": ["b:2"]})).json()
    assert found["id"] == str(both)
    response = await talk.client.get(CHATS, params={"label": "b"})
    assert response.json() == {
        "message": 'Invalid label filter: "b" (expected format key:value, both must be non-empty)'
    }
    assert response.status_code == 400


async def test_wrong_query_parameters_are_named(talk: Talk) -> None:
    for name, value in (("limit", "x"), ("limit", "-1"), ("offset", "99999999999"), ("after_id", "x")):
        response = await talk.client.get(CHATS, params={name: value})
        assert response.status_code == 400
        assert response.json()["message"] == "Query parameters have invalid values."
        assert [each["field"] for each in response.json()["validations"]] == [name]
    assert (
        await talk.client.get(CHATS, params={"limit": "", "offset": "", "after_id": "", "q": " "})
    ).status_code == 200
    response = await talk.client.get(CHATS, params={"q": "words"})
    assert (response.status_code, response.json()["message"]) == (400, "Invalid chat search query.")
    assert response.json()["validations"][0]["field"] == "q"


async def test_the_parameter_of_a_bad_id_is_named(talk: Talk) -> None:
    response = await talk.client.get(f"{CHATS}/42")
    assert (response.status_code, response.json()["message"]) == (400, 'Invalid UUID "chat".')


async def test_both_prefixes_serve_the_same_chats(talk: Talk) -> None:
    chat = await talk.start()
    there = await talk.client.get(f"/api/experimental/chats/{chat}")
    assert there.json() == await talk.get(chat)


async def test_an_error_is_shown_whole_however_little_was_stored(talk: Talk, api: Api) -> None:
    chat = await talk.start()
    await talk.fail(chat, message="The key was refused.", kind="auth", provider="openai", retryable=False)
    shown = await talk.get(chat)
    assert shown["status"] == "error"
    assert shown["last_error"] == {
        "message": "The key was refused.",
        "kind": "auth",
        "provider": "openai",
        "retryable": False,
    }
    await set_columns(api, chat, """last_error = '{"detail": "x"}'""")
    assert (await talk.get(chat))["last_error"] == {
        "detail": "x",
        "message": "The chat request failed unexpectedly.",
        "kind": "generic",
        "retryable": False,
    }


async def test_explain_says_what_a_chat_waits_for_also_without_temporal(talk: Talk) -> None:
    chat = await talk.start()
    await talk.say(chat, "and more")
    told = (await talk.client.get(f"{CHATS}/{chat}/explain")).json()
    assert (told["status"], told["state"], told["queue_length"]) == ("pending", "R1", 1)
    assert told["waits_for"] == "A worker to begin the turn."
    assert told["versions"] == {"snapshot": 2, "history": 1, "queue": 2, "retry_state": 0, "generation_attempt": 0}
    assert told["workflow"]["available"] is False
    await talk.fail(chat, message="no", kind="auth", retryable=False)
    told = (await talk.client.get(f"{CHATS}/{chat}/explain")).json()
    assert (told["state"], told["last_error"]["kind"]) == ("E1", "auth")
    await talk.archive(chat)
    told = (await talk.client.get(f"{CHATS}/{chat}/explain")).json()
    assert (told["state"], told["waits_for"]) == ("XE1", "Nothing: the chat is archived.")


async def test_reading_a_chat_and_a_list_takes_one_round_trip(talk: Talk) -> None:
    chat = await talk.start()
    await talk.get(chat)
    for path in (f"{CHATS}/{chat}", CHATS):
        with trips(talk.api.resources.database) as made:
            assert (await talk.client.get(path)).status_code == 200
        assert made.count == 1, path
