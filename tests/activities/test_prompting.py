"""What a model step sends, end to end: instructions that hold now, files, searches, the order of it all."""

from typing import Any
from uuid import UUID

import orjson

from models.parts import Part, text
from models.rules.instructions import CUSTOM_PROMPT, PLAN_INSTRUCTIONS, PLAN_OVERLAY
from models.store import files, moves, preferences
from models.store.database import fetch
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour

PNG = b"\x89PNG\r\n\x1a\n"


def system_of(body: dict[str, Any]) -> str:
    return "\n\n".join(message["content"] for message in body["messages"] if message["role"] == "system")


async def ask(stack: Stack, *content: Part, **more: Any) -> UUID:
    """A chat whose first message has this content, run to rest."""
    async with stack.database.begin() as session:
        moved = await moves.create(
            session,
            owner_id=stack.world.owner_id,
            organization_id=stack.world.organization_id,
            title="A chat",
            content=list(content),
            model_config_id=stack.world.model_config_id,
            created_by=stack.world.owner_id,
            **more,
        )
    await stack.nudge(moved, "message_queued")
    chat_id: UUID = moved.chat["id"]
    assert (await stack.rest(chat_id)).last_error is None
    return chat_id


async def keep(stack: Stack, name: str, media_type: str, data: bytes) -> Part:
    """The part of an uploaded file."""
    async with stack.database.begin() as session:
        world = stack.world
        file_id = await files.save(
            session,
            owner_id=world.owner_id,
            organization_id=world.organization_id,
            name=name,
            media_type=media_type,
            data=data,
        )
    return {"type": "file", "file_id": str(file_id), "media_type": media_type, "name": name}


PROVIDER = "UPDATE ai_providers SET type = %(type)s, base_url = %(url)s"


async def use_anthropic(stack: Stack, **options: Any) -> None:
    async with stack.database.begin() as session:
        await fetch(session, PROVIDER, {"type": "anthropic", "url": stack.fake.root_url})
        made = orjson.dumps({"provider_options": {"anthropic": options}}).decode()
        await fetch(session, "UPDATE chat_model_configs SET options = %(options)s", {"options": made})


async def test_the_owners_prompt_follows_the_stored_system_messages_from_the_next_step_on(stack: Stack) -> None:
    async with worker(stack):
        chat_id = await ask(stack, text("hello"), system=["Be brief.", "Be kind."])
        async with stack.database.begin() as session:
            await preferences.put_user(session, stack.world.owner_id, {CUSTOM_PROMPT: "Call me Ada."})
            await preferences.put_site(session, {PLAN_INSTRUCTIONS: "Plan in German."})
        await stack.send(chat_id, "again")
        await stack.rest(chat_id)
    told = [system_of(received.body) for received in stack.fake.received]
    assert told == [
        "Be brief.\n\nBe kind.",
        "Be brief.\n\nBe kind.\n\n<user-instructions>\nCall me Ada.\n</user-instructions>",
    ]


async def test_a_chat_in_plan_mode_is_told_so_and_the_deployments_words_with_it(stack: Stack) -> None:
    async with stack.database.begin() as session:
        await preferences.put_site(session, {PLAN_INSTRUCTIONS: "Plan in German."})
    async with worker(stack):
        await ask(stack, text("hello"), plan_mode="plan")
    assert system_of(stack.fake.received[0].body) == f"{PLAN_OVERLAY}\n\nPlan in German."


async def test_files_reach_the_model_as_far_as_it_takes_them(stack: Stack) -> None:
    notes = await keep(stack, "notes.md", "text/markdown", b"# Notes")
    image = await keep(stack, "a.png", "image/png", PNG)
    document = await keep(stack, "a.pdf", "application/pdf", b"%PDF-1.7")
    lost = await keep(stack, "lost.txt", "text/plain", b"gone")
    async with stack.database.begin() as session:
        await fetch(session, "DELETE FROM chat_files WHERE id = %(id)s", {"id": UUID(lost["file_id"])})
    async with worker(stack):
        await ask(stack, text("look"), image, notes, document, lost)
    said, picture, rest = stack.fake.received[0].body["messages"][-1]["content"]
    assert said == {"type": "text", "text": "look"}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert rest["text"].split("\n\n") == [
        "[attached file notes.md (text/markdown)]\n# Notes",
        "[attached file a.pdf (application/pdf): its content cannot be shown to this model]",
        "[attached file lost.txt (text/plain): content expired]",
    ]


async def test_claude_takes_a_document_as_it_is_and_caches_what_stays(stack: Stack) -> None:
    await use_anthropic(stack)
    document = await keep(stack, "a.pdf", "application/pdf", b"%PDF-1.7")
    async with worker(stack):
        await ask(stack, text("read"), document, system=["Be brief.", "Be kind."])
    body = stack.fake.received[0].body
    assert ["cache_control" in block for block in body["system"]] == [False, True]
    said, attached = body["messages"][0]["content"]
    assert attached["source"]["media_type"] == "application/pdf"
    assert ("cache_control" in said, attached["cache_control"]) == (False, {"type": "ephemeral"})


async def test_a_search_is_kept_in_the_answer_and_goes_back_with_the_next_message(stack: Stack) -> None:
    await use_anthropic(stack, web_search_enabled=True)
    stack.fake.script(Behaviour(search="news", text="Found."), Behaviour(text="Fine."))
    async with worker(stack):
        chat_id = await ask(stack, text("news?"))
        await stack.send(chat_id, "thanks")
        chat = await stack.rest(chat_id)
    assert chat.last_error is None
    answer = (await stack.messages(chat_id))[1]
    assert [part["type"] for part in answer.content] == ["tool-call", "tool-result", "text", "source"]
    blocks = stack.fake.received[1].body["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["server_tool_use", "web_search_tool_result", "text"]
    assert len(stack.fake.received) == 2, "nobody else answers such a call"


async def test_nothing_is_searched_in_plan_mode(stack: Stack) -> None:
    await use_anthropic(stack, web_search_enabled=True)
    async with worker(stack):
        await ask(stack, text("news?"), plan_mode="plan")
        await ask(stack, text("news?"))
    planned, free = ({tool["name"] for tool in received.body["tools"]} for received in stack.fake.received)
    assert "web_search" in free - planned


async def test_a_search_of_one_provider_is_not_shown_to_another(stack: Stack) -> None:
    await use_anthropic(stack, web_search_enabled=True)
    stack.fake.script(Behaviour(search="news", text="Found."), Behaviour(text="Fine."))
    async with worker(stack) as resources:
        chat_id = await ask(stack, text("news?"))
        async with stack.database.begin() as session:
            await fetch(session, PROVIDER, {"type": "openai-compat", "url": stack.fake.openai_url})
        resources.catalog.forget()
        await stack.send(chat_id, "thanks")
        assert (await stack.rest(chat_id)).last_error is None
    assert stack.fake.received[1].body["messages"] == [
        {"role": "user", "content": "news?"},
        {"role": "assistant", "content": "Found."},
        {"role": "user", "content": "thanks"},
    ]


async def test_a_chat_of_thousands_of_messages_is_sent_whole(stack: Stack) -> None:
    async with stack.database.begin() as session:
        made = await moves.create(
            session,
            owner_id=stack.world.owner_id,
            organization_id=stack.world.organization_id,
            title="A long chat",
            content=[text("first")],
            model_config_id=stack.world.model_config_id,
            created_by=stack.world.owner_id,
        )
        await fetch(
            session,
            """
            INSERT INTO chat_messages (chat_id, revision, role, content, visibility)
            SELECT %(chat)s, 1, CASE n %% 2 WHEN 0 THEN 'assistant' ELSE 'user' END,
                   jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'word ' || n)), 'both'
            FROM generate_series(2, 3001) AS n
            """,
            {"chat": made.chat["id"]},
        )
    async with worker(stack):
        await stack.nudge(made, "message_queued")
        assert (await stack.rest(made.chat["id"])).last_error is None
    messages = stack.fake.received[0].body["messages"]
    assert [message["content"] for message in (messages[0], messages[1], messages[-1])] == [
        "first",
        "word 2",
        "word 3001",
    ]
    assert len(messages) == 3001
