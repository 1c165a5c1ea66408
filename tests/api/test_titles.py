"""The laws of titles that are asked for: the owner's alone, one at a time, and never in a rename's way for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from uuid import UUID

import pytest

from activities.resources import open_resources
from activities.worker import make_workers
from models.principal import Scope
from models.settings import Settings
from models.store import preferences, titles
from models.store.database import Row, fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.temporal import Server, pytest_collection_modifyitems, task_queue, temporal_server
from workflows.client import Temporal

__all__ = ["pytest_collection_modifyitems", "task_queue", "temporal_server"]

WORDS = "explain how a mutex works in the kernel please"
IN_PROGRESS = "Title regeneration already in progress for this chat."
OVERRIDE = "agents_chat_title_generation_model_override"


@pytest.fixture
def settings(settings: Settings, temporal_server: Server, task_queue: str) -> Settings:
    return settings.model_copy(update={"temporal_address": temporal_server.address, "task_queue": task_queue})


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[None]:
    """A worker of the service, until the block ends; its models are the demo's."""
    async with AsyncExitStack() as opened:
        temporal = await Temporal.connect(settings, lazy=False)
        resources = await opened.enter_async_context(open_resources(settings, temporal))
        for each in make_workers(temporal.client, settings, resources):
            await opened.enter_async_context(each)
        yield


async def rested(talk: Talk, words: str = WORDS) -> UUID:
    """A chat that a worker has answered, and that nobody is about to name."""
    chat = await talk.start(words)
    while (await talk.get(chat))["status"] != "waiting":
        await asyncio.sleep(0.02)
    return chat


async def row(talk: Talk, chat: UUID) -> Row:
    async with talk.api.resources.database.read() as session:
        [found] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": chat})
    return found


async def held(talk: Talk, chat: UUID) -> datetime:
    async with talk.api.resources.database.begin() as session:
        moment = await titles.hold(session, chat)
    assert moment is not None
    return moment


async def rename(talk: Talk, chat: UUID, title: str) -> int:
    return (await talk.client.patch(f"{CHATS}/{chat}", json={"title": title})).status_code


async def test_a_new_title_is_stored_and_told(talk: Talk, settings: Settings) -> None:
    async with worker(settings):
        chat = await rested(talk)
        assert await rename(talk, chat, "Something else") == 204
        before = await row(talk, chat)
        response = await talk.client.post(f"{CHATS}/{chat}/title/regenerate")
    assert response.status_code == 200, response.text
    assert response.json()["title"] == "explain how a mutex works in"
    after = await row(talk, chat)
    assert (after["title"], after["title_locked_at"]) == ("explain how a mutex works in", None)
    assert after["updated_at"] > before["updated_at"]
    assert after["snapshot_version"] == before["snapshot_version"]


async def test_a_proposal_is_not_stored_but_paid_for(talk: Talk, settings: Settings) -> None:
    async with worker(settings):
        chat = await rested(talk)
        assert await rename(talk, chat, "Mine") == 204
        response = await talk.client.post(f"{CHATS}/{chat}/title/propose")
    assert (response.status_code, response.json()) == (200, {"title": "explain how a mutex works in"})
    after = await row(talk, chat)
    assert (after["title"], after["title_locked_at"]) == ("Mine", None)
    async with talk.api.resources.database.read() as session:
        rows = await fetch(
            session, "SELECT * FROM chat_messages WHERE chat_id = %(id)s AND deleted ORDER BY id", {"id": chat}
        )
    assert rows
    assert {(each["role"], each["visibility"]) for each in rows} == {("assistant", "model")}
    assert rows[-1]["output_tokens"] == 6
    assert len((await talk.history(chat))["messages"]) == 2


async def test_the_same_request_again_gets_the_same_answer_and_asks_no_model(talk: Talk, settings: Settings) -> None:
    async with worker(settings):
        chat = await rested(talk)
        key = {"Idempotency-Key": "propose-1"}
        first = await talk.client.post(f"{CHATS}/{chat}/title/propose", headers=key)
    # No worker is left to ask.
    again = await talk.client.post(f"{CHATS}/{chat}/title/propose", headers=key)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_while_a_title_is_sought_nobody_else_asks_or_renames(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    await held(talk, chat)
    for path in ("regenerate", "propose"):
        refused = await talk.client.post(f"{CHATS}/{chat}/title/{path}")
        assert (refused.status_code, refused.json()["message"]) == (409, IN_PROGRESS)
    assert await rename(talk, chat, "Mine") == 409


async def test_a_hold_goes_stale_after_a_minute(talk: Talk, settings: Settings) -> None:
    async with worker(settings):
        chat = await rested(talk)
        await held(talk, chat)
        async with talk.api.resources.database.begin() as session:
            await fetch(
                session,
                "UPDATE chats SET title_locked_at = title_locked_at - interval '61 s' WHERE id = %(id)s",
                {"id": chat},
            )
        assert (await talk.client.post(f"{CHATS}/{chat}/title/propose")).status_code == 200


async def test_a_chat_that_has_not_begun_its_turn_is_refused(talk: Talk) -> None:
    chat = await talk.start()
    for path in ("regenerate", "propose"):
        refused = await talk.client.post(f"{CHATS}/{chat}/title/{path}")
        assert (refused.status_code, refused.json()["message"]) == (409, IN_PROGRESS)
    assert (await row(talk, chat))["title_locked_at"] is None


async def test_a_failed_search_says_so_and_frees_the_title(talk: Talk, settings: Settings) -> None:
    async with worker(settings):
        chat = await rested(talk)
        async with talk.api.resources.database.begin() as session:
            await preferences.put_site(session, {OVERRIDE: "019a0000-0000-7000-8000-000000000001"})
        for path, message in (
            ("regenerate", "Failed to regenerate chat title."),
            ("propose", "Failed to generate chat title."),
        ):
            failed = await talk.client.post(f"{CHATS}/{chat}/title/{path}")
            assert (failed.status_code, failed.json()) == (500, {"message": message, "detail": "No usable model."})
            assert (await row(talk, chat))["title_locked_at"] is None


async def test_who_may_change_a_chat_but_does_not_own_it_is_told_whose_it_is(talk: Talk) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    admin = await talk.api.person("boss", org_roles=("organization-admin",))
    for path, message in (
        ("regenerate", "Only the chat owner may regenerate the title."),
        ("propose", "Only the chat owner may propose a title."),
    ):
        refused = await admin.client.post(f"{CHATS}/{chat}/title/{path}")
        assert (refused.status_code, refused.json()["message"]) == (403, message)
    reader = await talk.api.sign_in(talk.person.id, "member", scopes=(Scope.CHAT_READ,))
    assert (await reader.client.post(f"{CHATS}/{chat}/title/regenerate")).status_code == 404


async def test_who_has_spent_their_limit_gets_no_title(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    await talk.answer(chat)
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "UPDATE users SET chat_spend_limit_micros = 1 WHERE id = %(id)s", {"id": talk.person.id})
        await fetch(
            session,
            "INSERT INTO chat_spend (owner_id, day, organization_id, spent_micros) "
            "VALUES (%(owner)s, (now() AT TIME ZONE 'UTC')::date, %(organization)s, 5)",
            {"owner": talk.person.id, "organization": talk.api.organization_id},
        )
    limit = {"spend_limit_micros": 10, "period": "month"}
    assert (await owner.client.put(f"{CHATS}/usage-limits", json=limit)).status_code == 200
    talk.api.resources.principals.forget()
    refused = await talk.client.post(f"{CHATS}/{chat}/title/regenerate")
    assert (refused.status_code, refused.json()["message"]) == (409, "Chat usage limit exceeded.")


async def test_a_chat_is_named_and_its_turn_labelled_by_themselves(talk: Talk, settings: Settings) -> None:
    async with worker(settings):
        chat = await rested(talk)
        while (shown := await talk.get(chat))["title"] != "explain how a mutex works in":
            await asyncio.sleep(0.02)
    assert shown["last_turn_summary"] == "Finished latest turn"
