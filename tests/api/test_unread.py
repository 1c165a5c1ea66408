"""has_unread: an answer that the chat's owner has not seen. Only the owner's eyes count."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from models.settings import Settings
from models.store import live
from models.store.database import Database, fetch
from tests.api.conftest import Api, Person
from tests.api.live_stage import Stage, heard, people_beside, staged
from tests.api.talk import CHATS, Talk


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with staged(database, settings) as made:
        yield made


async def unread(talk: Talk) -> dict[UUID, bool]:
    """What the list says, of roots and of children."""
    listed = (await talk.client.get(CHATS)).json()
    return {UUID(each["id"]): each["has_unread"] for root in listed for each in (root, *root["children"])}


async def read(talk: Talk, chat: UUID) -> None:
    """What happens when its owner opens the chat's stream, or leaves it."""
    async with talk.api.resources.database.begin() as session:
        await live.mark_read(session, chat)


async def write(database: Database, statement: Any, **values: Any) -> None:
    async with database.begin() as session:
        await fetch(session, statement, values)


async def test_an_answer_is_unread_until_its_owner_has_looked(talk: Talk) -> None:
    chat = await talk.start()
    assert await unread(talk) == {chat: False}
    await talk.answer(chat)
    assert await unread(talk) == {chat: True}
    await read(talk, chat)
    assert await unread(talk) == {chat: False}
    await talk.say(chat, "more")
    assert await unread(talk) == {chat: False}
    await talk.answer(chat)
    assert await unread(talk) == {chat: True}


async def test_children_are_unread_by_themselves(talk: Talk) -> None:
    root, child = await talk.start(), await talk.start()
    await write(
        talk.api.resources.database,
        "UPDATE chats SET parent_chat_id = %(root)s, root_chat_id = %(root)s WHERE id = %(child)s",
        root=root,
        child=child,
    )
    await talk.answer(child)
    assert await unread(talk) == {root: False, child: True}
    shown = await talk.get(root)
    assert (shown["has_unread"], shown["children"][0]["has_unread"]) == (False, True)


async def test_a_single_chat_does_not_say(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    assert (await talk.get(chat))["has_unread"] is False


async def test_what_readers_never_see_is_not_unread(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await read(talk, chat)
    for columns in ("'model', false", "'both', true"):
        await write(
            talk.api.resources.database,
            "INSERT INTO chat_messages (chat_id, role, revision, visibility, deleted) "
            f"VALUES (%(chat)s, 'assistant', 1, {columns})",
            chat=chat,
        )
    assert await unread(talk) == {chat: False}


async def test_an_answer_that_an_edit_took_back_is_not_unread_and_the_next_one_is(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await read(talk, chat)
    message = (await talk.history(chat))["messages"][-1]["id"]
    await talk.client.patch(
        f"{CHATS}/{chat}/messages/{message}", json={"content": [{"type": "text", "text": "rather this"}]}
    )
    assert await unread(talk) == {chat: False}
    await read(talk, chat)
    await talk.answer(chat)
    assert await unread(talk) == {chat: True}


async def test_reading_moves_neither_time_nor_versions(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    query = "SELECT *, 0 AS last_read_message_id FROM chats WHERE id = %(id)s"
    async with talk.api.resources.database.read() as session:
        before = await fetch(session, query, {"id": chat})
    await read(talk, chat)
    async with talk.api.resources.database.read() as session:
        assert await fetch(session, query, {"id": chat}) == before


async def test_a_follower_that_is_not_the_owner_leaves_the_chat_unread(stage: Stage) -> None:
    _, friend, token_of = await people_beside(stage)
    await stage.drive.open()
    await stage.drive.answer("one")
    await write(
        stage.drive.database,
        'UPDATE chats SET user_acl = jsonb_build_object(%(user)s::text, \'{"permissions": ["read"]}\'::jsonb)',
        user=str(friend),
    )
    async with stage.socket(stage.one, token=token_of[friend]) as socket:
        await heard(socket)
    assert await _listed_unread(stage)
    async with stage.socket(stage.one) as socket:
        await heard(socket)
        async with asyncio.timeout(60):
            while await _listed_unread(stage):
                await asyncio.sleep(0.02)


async def _listed_unread(stage: Stage) -> bool:
    async with httpx.AsyncClient(headers={"Coder-Session-Token": stage.token}, timeout=60) as client:
        [listed] = (await client.get(f"http://{stage.one.address}{CHATS}")).json()
    unseen: bool = listed["has_unread"]
    return unseen
