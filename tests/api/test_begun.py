"""The API leaves a run to the worker that has begun, and to nobody else."""

import asyncio
from uuid import UUID, uuid4

from api.begun import Begun
from models.store.notices import ChatNotice, WorkerNotice

CHAT = uuid4()


def notice(history_version: int, attempt: int, chat_id: UUID = CHAT) -> ChatNotice:
    return ChatNotice(chat_id, uuid4(), 9, history_version, attempt, "running")


def with_worker(*, room: bool) -> Begun:
    begun = Begun()
    begun.hear_worker(WorkerNotice(uuid4(), room=room).encode())
    return begun


async def test_an_attempt_that_was_heard_of_before_anybody_asked_counts() -> None:
    begun = Begun()
    begun.hear_chat(notice(3, 1))
    assert await begun.at(CHAT, 3)
    assert await begun.at(CHAT, 2)


async def test_an_attempt_is_waited_for_where_a_worker_has_room() -> None:
    begun = with_worker(room=True)
    begun.hear_chat(notice(3, 0))
    asked = asyncio.create_task(begun.at(CHAT, 3))
    await asyncio.sleep(0)
    begun.hear_chat(notice(3, 1, uuid4()))
    begun.hear_chat(notice(3, 0))
    await asyncio.sleep(0)
    assert not asked.done()
    begun.hear_chat(notice(3, 1))
    assert await asked


async def test_an_attempt_that_does_not_come_is_not_waited_for_long() -> None:
    assert not await with_worker(room=True).at(CHAT, 3)


async def test_where_no_worker_has_room_none_will_begin() -> None:
    begun = with_worker(room=False)
    begun.hear_chat(notice(3, 0))
    asked = asyncio.create_task(begun.at(CHAT, 3))
    await asyncio.sleep(0)
    assert asked.done()
    assert not asked.result()
