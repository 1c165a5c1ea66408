"""wire-api.md 3.1: creating a chat."""

from typing import Any

import pytest

from tests.api.talk import said
from tests.contracts.wire.world import BAD_JSON, NO_ID, NOWHERE, World, forbidden, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

LABEL_PATTERN = "^[a-zA-Z0-9][a-zA-Z0-9._/-]*$"
LONG = "x" * 10_001
TOOL = {"name": "look", "description": "Look.", "input_schema": {"type": "object"}}

# In the order of the document: a body with several faults is told of the first.
FAULTS: tuple[tuple[dict[str, Any], tuple[Any, ...]], ...] = (
    (
        {"system_prompt": LONG},
        ("System prompt exceeds maximum length.", "System prompt must be at most 10000 characters, got 10001."),
    ),
    ({"content": []}, ("Content is required.", "Content cannot be empty.")),
    ({"workspace_id": NOWHERE}, ("Workspace not found or you do not have access to this resource",)),
    ({"model_config_id": NO_ID}, ("Invalid model config ID.",)),
    ({"plan_mode": "later"}, ("Invalid plan_mode value.",)),
    (
        {"mcp_server_ids": [NOWHERE, NO_ID]},
        ("One or more MCP server IDs are invalid.", f"Invalid IDs: {NOWHERE}, {NO_ID}"),
    ),
    ({"labels": {"": "x"}}, ("Invalid labels.", None, [("labels", "label key must not be empty")])),
    (
        {"unsafe_dynamic_tools": [{"name": f"t{n}"} for n in range(251)]},
        ("Too many dynamic tools.", "Maximum 250 dynamic tools per chat."),
    ),
    ({"client_type": "web"}, ("Invalid client_type.", 'got "web", want one of [api ui]')),
)


async def test_3_1_a_chat_is_created(world: World) -> None:
    made = await world.ask("POST", "", world.new(content=said(" One two three four five six seven ")))
    chat = made.json()
    assert (made.status_code, chat["status"], chat["title"]) == (201, "pending", "One two three four five six…")
    assert (chat["client_type"], chat["children"], chat["labels"], chat["mcp_server_ids"]) == ("api", [], {}, [])
    assert chat["root_chat_id"] == chat["id"]
    assert not {"files", "diff_status", "warnings", "plan_mode", "last_error", "parent_chat_id"} & set(chat)


async def test_3_1_what_is_asked_for_is_kept(world: World) -> None:
    asked = {"plan_mode": "plan", "labels": {"team": "a"}, "client_type": "ui", "unsafe_dynamic_tools": [TOOL]}
    made = await world.ask("POST", "", world.new(system_prompt="x" * 10_000, mcp_server_ids=[], **asked))
    chat = made.json()
    assert (chat["plan_mode"], chat["labels"], chat["client_type"]) == ("plan", {"team": "a"}, "ui")


async def test_3_1_system_messages_precede_the_first_and_are_hidden(world: World) -> None:
    chat = await world.talk.start("asked", system_prompt="be brief")
    page = await world.talk.history(chat)
    assert [message["role"] for message in page["messages"]] == ["user"]


@pytest.mark.parametrize("place", range(len(FAULTS)))
async def test_3_1_the_first_fault_in_the_documented_order_is_told(world: World, place: int) -> None:
    body = world.new()
    for change, _ in FAULTS[place:]:
        body |= change
    refused(await world.ask("POST", "", body), 400, *FAULTS[place][1])


async def test_3_1_who_and_where_come_before_what(world: World) -> None:
    wrong = {"system_prompt": LONG, "content": []}
    refused(await world.ask("POST", "", wrong), 400, "organization_id is required.")
    refused(await world.ask("POST", "", {**wrong, "organization_id": NO_ID}), 400, "organization_id is required.")
    elsewhere = await world.ask("POST", "", {**wrong, "organization_id": NOWHERE})
    refused(elsewhere, 403, "You are not a member of the specified organization.")
    forbidden(await world.ask("POST", "", world.new(**wrong), by=world.outsider))
    refused(await world.ask("POST", "", content=b"{"), 400, BAD_JSON, "*")


async def test_3_1_a_model_that_is_not_there_is_an_invalid_id_with_a_detail(world: World) -> None:
    refused(await world.ask("POST", "", world.new(model_config_id=NOWHERE)), 400, "Invalid model config ID.", "*")


@pytest.mark.parametrize(
    ("tools", "message", "detail"),
    [
        ([TOOL, {"name": ""}], "Dynamic tool name must not be empty.", None),
        ([TOOL, TOOL], "Duplicate dynamic tool name.", 'Tool "look" appears more than once.'),
    ],
)
async def test_3_1_dynamic_tools_have_names_of_their_own(world: World, tools: Any, message: str, detail: Any) -> None:
    refused(await world.ask("POST", "", world.new(unsafe_dynamic_tools=tools)), 400, message, detail)


async def test_3_1_over_the_spend_limit_is_409_with_the_amounts(world: World) -> None:
    spender = await world.api.person("spender", org_roles=("agents-access",))
    limit = f"/usage-limits/overrides/{spender.id}"
    assert (
        await world.ask("PUT", "/usage-limits", {"spend_limit_micros": 10**9, "period": "day"}, by=world.owner)
    ).is_success
    assert (await world.ask("PUT", limit, {"spend_limit_micros": 5}, by=world.owner)).is_success
    first = await world.ask("POST", "", world.new(), by=spender)
    assert first.status_code == 201
    await world.talk.answer(first.json()["id"], usage={"output_tokens": 1}, total_cost_micros=7)
    # Judged before whether the model is there.
    response = await world.ask("POST", "", world.new(model_config_id=NOWHERE), by=spender)
    body = response.json()
    assert (response.status_code, body["message"]) == (409, "Chat usage limit exceeded.")
    assert (body["spent_micros"], body["limit_micros"]) == (7, 5)
    assert body["resets_at"].endswith("T00:00:00Z")


async def test_3_1_without_a_default_model_none_can_be_made(world: World) -> None:
    models = (await world.ask("GET", "/model-configs", by=world.owner)).json()
    for each in models:
        await world.ask("PATCH", f"/model-configs/{each['id']}", {"enabled": False}, by=world.owner)
    try:
        refused(await world.ask("POST", "", world.new()), 400, "No default chat model config is configured.")
    finally:
        for each in models:
            await world.ask("PATCH", f"/model-configs/{each['id']}", {"enabled": True}, by=world.owner)


# 3.1.1


@pytest.mark.parametrize(
    ("part", "detail"),
    [
        ({"type": "text", "text": " \n"}, "content[1].text cannot be empty."),
        ({"type": "text"}, "content[1].text cannot be empty."),
        ({"type": "file"}, "content[1].file_id is required for file parts."),
        ({"type": "file", "file_id": NO_ID}, "content[1].file_id is required for file parts."),
        ({"type": "file", "file_id": NOWHERE}, "content[1].file_id references a file that does not exist."),
        ({"type": "file-reference"}, "content[1].file_name cannot be empty for file-reference."),
        ({"type": "reasoning", "text": "x"}, 'content[1].type "reasoning" is not supported.'),
        ({"text": "x"}, 'content[1].type "" is not supported.'),
    ],
)
async def test_3_1_1_a_part_at_fault_is_named_by_its_index(world: World, part: dict[str, Any], detail: str) -> None:
    content = [{"type": "text", "text": "good"}, part, {"type": "worse"}]
    refused(await world.ask("POST", "", world.new(content=content)), 400, "Invalid input part.", detail)
    chat = await world.talk.start()
    for method, path in (("POST", "/messages"), ("PATCH", "/messages/1")):
        response = await world.ask(method, f"/{chat}{path}", {"content": content})
        refused(response, 400, "Invalid input part.", detail)


async def test_3_1_1_parts_are_read_leniently_and_stored_trimmed(world: World) -> None:
    file_id = await world.upload()
    content = [
        {"type": " TEXT ", "text": "  a b \n", "file_id": NO_ID},
        {"type": "File", "file_id": file_id, "text": "ignored"},
        {"type": "file-reference", "file_name": "main.py", "start_line": 9, "end_line": 2, "content": " x "},
    ]
    made = (await world.ask("POST", "", world.new(content=content))).json()
    assert [file["id"] for file in made["files"]] == [file_id]
    [message] = (await world.talk.history(made["id"]))["messages"]
    assert message["content"] == [
        {"type": "text", "text": "a b"},
        {"type": "file", "media_type": "text/plain", "file_id": file_id, "name": "notes.txt"},
        {"type": "file-reference", "file_name": "main.py", "start_line": 9, "end_line": 2, "content": " x "},
    ]


async def test_3_1_1_a_file_alone_is_a_message_and_its_chat_is_called_new(world: World) -> None:
    made = await world.ask("POST", "", world.new(content=[{"type": "file", "file_id": await world.upload()}]))
    assert (made.status_code, made.json()["title"]) == (201, "New Chat")


async def test_3_1_1_somebody_elses_file_is_not_there(world: World) -> None:
    content = [{"type": "file", "file_id": await world.upload()}]
    response = await world.ask("POST", "", world.new(content=content), by=world.other)
    refused(response, 400, "Invalid input part.", "content[0].file_id references a file that does not exist.")


async def test_3_1_1_a_batch_of_files_over_the_cap_is_kept_with_a_warning(world: World) -> None:
    content = [{"type": "file", "file_id": await world.upload(b"%d" % n)} for n in range(51)]
    made = (await world.ask("POST", "", world.new(content=content))).json()
    assert made["warnings"] == ["file linking skipped: batch of 51 file(s) would exceed limit of 50"]
    assert "files" not in made


# 3.1.2


@pytest.mark.parametrize(
    ("labels", "detail"),
    [
        ({f"k{n}": "v" for n in range(51)}, "too many labels (51); maximum is 50"),
        ({"k" * 65: "v"}, f'label key "{"k" * 65}" exceeds maximum length of 64 bytes'),
        ({"-k": "v"}, f'label key "-k" contains invalid characters; must match {LABEL_PATTERN}'),
        ({"k\n": "v"}, f'label key "k\n" contains invalid characters; must match {LABEL_PATTERN}'),
        ({"k": ""}, 'label value for key "k" must not be empty'),
        ({"k": "ž" * 129}, 'label value for key "k" exceeds maximum length of 256 bytes'),
    ],
)
async def test_3_1_2_each_broken_rule_of_labels_is_told(world: World, labels: dict[str, str], detail: str) -> None:
    refused(await world.ask("POST", "", world.new(labels=labels)), 400, "Invalid labels.", None, [("labels", detail)])
    chat = await world.talk.start()
    response = await world.ask("PATCH", f"/{chat}", {"labels": labels})
    refused(response, 400, "Invalid labels.", None, [("labels", detail)])


async def test_3_1_2_labels_at_their_bounds_are_taken(world: World) -> None:
    labels = {"0" + "k" * 63: "ž" * 128, "a.b_c/d-e": "v"} | {f"k{n}": "v" for n in range(48)}
    made = await world.ask("POST", "", world.new(labels=labels))
    assert (made.status_code, made.json()["labels"]) == (201, labels)
