"""Stopping a turn."""

import pytest

from models.store import moves
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def stop(talk: Talk, chat: object) -> dict[str, object]:
    response = await talk.client.post(f"{CHATS}/{chat}/interrupt")
    assert response.status_code == 200, response.text
    shown: dict[str, object] = response.json()
    return shown


async def test_a_running_turn_is_interrupting_until_its_partial_is_stored(talk: Talk) -> None:
    chat = await talk.start()
    fence = await talk.begin(chat)
    shown = await stop(talk, chat)
    assert shown["status"] == "interrupting"
    assert not {"files", "diff_status"} & set(shown)
    assert (await stop(talk, chat))["status"] == "interrupting"
    async with talk.api.resources.database.begin() as session:
        partial = [StepRow("assistant", said("half an"))]
        await moves.finish_interruption(
            session, chat, partial, episode=(fence.history_version, fence.generation_attempt)
        )
    assert (await talk.get(chat))["status"] == "waiting"
    assert (await talk.history(chat))["messages"][0]["content"] == said("half an")


async def test_an_idle_chat_is_left_as_it_is(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    before = await talk.get(chat)
    assert await stop(talk, chat) == before
    await talk.say(chat, "again")
    await talk.fail(chat)
    before = await talk.get(chat)
    assert before["status"] == "error"
    assert await stop(talk, chat) == before


async def test_an_administrator_may_stop_anybodys_turn(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    assert (await owner.client.post(f"{CHATS}/{chat}/interrupt")).json()["status"] == "interrupting"


async def test_an_archived_chat_cannot_be_stopped(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await talk.archive(chat)
    assert (await talk.client.post(f"{CHATS}/{chat}/interrupt")).status_code == 409
