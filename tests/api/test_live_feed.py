"""Laws of the live feed: what is told, once, in which order, and to whom."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any
from uuid import uuid4

import orjson
import pytest
from pydantic import TypeAdapter

from api.live.hub import Hub
from api.live.sidebar import Sidebars
from api.live.watcher import Ended
from models.errors import Unavailable
from models.events import StreamEvent, UsageEvent, assemble
from models.principal import Principal, SiteRole
from models.rules import cursors
from models.settings import Settings
from models.store.database import Database, fetch
from models.store.moves import ClientResult, StepRow
from models.store.notices import ChatNotice
from models.tables.budgets import Budget
from tests.api.live_drive import Drive, Screen, publishing, text
from tests.api.live_hubs import catch_up, fresh, hub_of, notice, record, take, take_until
from tests.seeds import World, insert

ONE_EVENT: TypeAdapter[Any] = TypeAdapter(StreamEvent)


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[Hub]:
    async with hub_of(settings) as made:
        yield made


@pytest.fixture
async def drive(database: Database, settings: Settings, seed: World) -> AsyncIterator[Drive]:
    async with publishing(database, settings) as publisher:
        yield await Drive(database, publisher, seed.owner_id, seed.organization_id, seed.model_config_id).create()


async def test_every_event_is_as_documented_and_every_part_and_batch_carries_a_cursor(hub: Hub, drive: Drive) -> None:
    for event in await record(hub, drive):
        ONE_EVENT.validate_json(orjson.dumps(event))
        assert event["chat_id"] == str(drive.chat_id)
        if event["type"] == "message_part":
            told = event["message_part"]
            here = cursors.parse(event["cursor"])
            assert here[1:] == (told["history_version"], told["generation_attempt"], told["seq"])


async def test_a_batch_has_a_fixed_order_and_its_last_durable_event_a_cursor(hub: Hub, drive: Drive) -> None:
    await drive.open()
    await drive.stream("x")
    await drive.retry()
    await drive.say("queued")
    with hub.watch(drive.chat_id) as watcher:
        events = await take(watcher)
    assert [event["type"] for event in events] == ["message", "queue_update", "status", "retry", "message_part"]
    assert ["cursor" in event for event in events] == [True, False, False, True, True]


async def test_a_commit_replaces_the_preview_without_a_reset(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.stream("for", "ty-two")
        await drive.answer("forty-two")
        told = await catch_up(watcher, screen, drive)
    assert "preview_reset" not in screen.types
    assert [event["message"]["role"] for event in told if event["type"] == "message"] == ["user", "assistant"]
    assert screen.state[1] == []


async def test_a_retry_or_takeover_resets_the_preview_once(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.stream("void ", "void ")
        await take_until(watcher, screen, "message_part", "message_part")
        await drive.open()
        await drive.stream("good")
        await catch_up(watcher, screen, drive)
        assert assemble(screen.preview) == [("assistant", text("good"))]
        await drive.answer("good")
        await catch_up(watcher, screen, drive)
    assert screen.types.count("preview_reset") == 1


async def test_an_attempt_that_showed_nothing_needs_no_reset(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await catch_up(watcher, screen, drive)
        await drive.open()
        await drive.stream("good")
        await catch_up(watcher, screen, drive)
    assert "preview_reset" not in screen.types


async def test_a_failed_attempts_preview_goes_when_the_next_message_comes(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.stream("void")
        await drive.fail()
        await catch_up(watcher, screen, drive)
        assert assemble(screen.preview) == [("assistant", text("void"))]
        await drive.say("again")
        await catch_up(watcher, screen, drive)
    assert screen.preview == []
    assert screen.types.count("preview_reset") == 1


async def test_an_edit_resets_history_and_tells_all_that_is_left(hub: Hub, drive: Drive) -> None:
    await drive.open()
    await drive.answer("one")
    await drive.say("second")
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.stream("half an ans")
        await catch_up(watcher, screen, drive)
        await drive.edit("second, better")
        told = await catch_up(watcher, screen, drive)
    assert [event["type"] for event in told] == ["history_reset", "message", "message", "message", "status"]
    assert [said["content"][0]["text"] for said in screen.messages.values()] == ["hello", "one", "second, better"]
    assert screen.preview == []


async def test_an_error_is_told_once_however_often_the_chat_is_read(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.fail()
        await catch_up(watcher, screen, drive)
        await _bump(drive)
        await drive.say("again")
        await drive.open()
        told = await catch_up(watcher, screen, drive)
        assert "error" not in [event["type"] for event in told]
        await drive.fail()
        await catch_up(watcher, screen, drive)
    assert screen.types.count("error") == 2


async def test_a_call_for_action_is_told_once_with_the_open_calls(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.require_action()
        told = await take_until(watcher, screen, "action_required")
        assert [event["type"] for event in told][-3:] == ["message", "status", "action_required"]
        await _bump(drive)
        await drive.say("queued")
        await catch_up(watcher, screen, drive)
        with hub.watch(drive.chat_id) as second:
            assert "action_required" in [event["type"] for event in await take(second)]
        assert screen.types.count("action_required") == 1
        await drive.submit(ClientResult("c1", "rain"))
        await drive.open()
        await drive.require_action()
        await catch_up(watcher, screen, drive)
    assert screen.types.count("action_required") == 2
    assert told[-1]["action_required"] == {
        "tool_calls": [{"tool_call_id": "c1", "tool_name": "look", "args": '{"a":"é\\u0000"}'}]
    }


async def test_a_sidebar_is_not_told_of_a_call_for_action_that_was_answered_meanwhile(
    database: Database, drive: Drive
) -> None:
    await drive.open()
    await drive.require_action()
    await drive.submit(ClientResult("c1", 1))
    sidebars = Sidebars(database)
    owner = Principal(drive.owner_id, "ada", frozenset({SiteRole.OWNER}))
    with sidebars.watch(owner, 65536) as watcher:
        for kinds in (("status_change", "action_required"), ("title_change",)):
            sidebars.note(ChatNotice(drive.chat_id, drive.owner_id, 3, 3, 0, "requires_action", watch=kinds))
        telling = asyncio.create_task(sidebars.run())
        told: list[str] = []
        while "title_change" not in told:
            told += [event["kind"] for event in await take(watcher)]
        telling.cancel()
    assert told == ["status_change", "title_change"]


async def test_who_arrives_during_a_back_off_is_told_of_it_and_who_arrives_later_is_not(hub: Hub, drive: Drive) -> None:
    await drive.open()
    await drive.retry()
    assert "retry" in (await fresh(hub, drive)).types
    await drive.open()
    assert "retry" not in (await fresh(hub, drive)).types


async def test_an_emptied_queue_is_told_without_its_key(hub: Hub, drive: Drive) -> None:
    await drive.open()
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.say("next")
        await take_until(watcher, screen, "queue_update")
        assert [waiting["content"] for waiting in screen.queue] == [[text("next")]]
        await drive.answer("done")
        told = await take_until(watcher, screen, "queue_update")
    assert [event for event in told if event["type"] == "queue_update"] == [
        {"type": "queue_update", "chat_id": str(drive.chat_id)}
    ]
    # The promoted message and the answer come together: nobody sees the chat at rest between two turns.
    assert [event["type"] for event in told[:4]] == ["message", "message", "queue_update", "status"]


async def test_what_only_the_model_sees_and_what_is_internal_is_never_told(hub: Hub, drive: Drive) -> None:
    with hub.watch(drive.chat_id) as watcher:
        screen = Screen()
        await drive.open()
        await drive.stream({"type": "text", "text": "x", "provider_metadata": {"secret": 1}})
        await drive.commit(StepRow("assistant", [{"type": "text", "text": "x", "provider_metadata": {"secret": 1}}]))
        told = await catch_up(watcher, screen, drive)
    assert b"secret" not in orjson.dumps(told)
    assert b"hidden" not in orjson.dumps(told)


async def test_many_watchers_of_a_chat_share_one_reading_and_get_the_same_bytes(hub: Hub, drive: Drive) -> None:
    screens = []
    watchers = [hub.watch(drive.chat_id) for _ in range(20)]
    opened = [each.__enter__() for each in watchers]
    await drive.open()
    await drive.stream("a", "b")
    await drive.answer("ab")
    for watcher in opened:
        screen = Screen()
        await catch_up(watcher, screen, drive)
        screens.append(screen.state)
    assert hub.feeds == 1
    assert all(state == screens[0] for state in screens)
    for each in watchers:
        each.__exit__(None, None, None)
    assert hub.feeds == 0


async def test_chats_do_not_hear_each_other(hub: Hub, drive: Drive) -> None:
    second = Drive(drive.database, drive.publisher, drive.owner_id, drive.organization_id, drive.model_config_id)
    await second.create("other")
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await second.open()
        await second.stream("not for you")
        await drive.open()
        await drive.stream("for you")
        await catch_up(watcher, screen, drive)
    assert assemble(screen.preview) == [("assistant", text("for you"))]


async def test_a_closed_hub_ends_its_watchers(settings: Settings, drive: Drive) -> None:
    async with hub_of(settings) as hub:
        with hub.watch(drive.chat_id) as watcher:
            await take(watcher)
            await hub.close()
            with pytest.raises(Ended):
                await take(watcher)


async def test_a_chat_that_is_gone_ends_its_watchers(hub: Hub, drive: Drive) -> None:
    with hub.watch(drive.chat_id) as watcher:
        await take(watcher)
        async with drive.database.begin() as session:
            await fetch(session, "DELETE FROM chats")
            await fetch(session, "SELECT pg_notify('turnstone_chats', %(p)s)", {"p": notice(drive, 99)})
        with pytest.raises(Ended):
            await take(watcher)


async def test_who_connects_while_the_database_is_away_is_told_so_and_kept(settings: Settings) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    hub = Hub(nowhere, settings)
    await hub.start()
    with hub.watch(uuid4()) as watcher:
        [told] = await take(watcher)
        assert told["error"] == {"message": "failed to load initial snapshot", "retryable": False}
    await hub.close()
    await nowhere.close()


async def test_without_notifications_nobody_is_told_that_they_watch(settings: Settings) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    hub = Hub(nowhere, settings)
    await hub.start()
    with pytest.raises(Unavailable, match="Failed to subscribe to chat events"):
        await hub.listening()
    await hub.close()
    await nowhere.close()


async def _bump(drive: Drive) -> None:
    """A change that tells watchers nothing new."""
    async with drive.database.begin() as session:
        [chat] = await fetch(
            session,
            "UPDATE chats SET snapshot_version = snapshot_version + 1 WHERE id = %(id)s RETURNING *",
            {"id": drive.chat_id},
        )
        told = notice(
            drive, chat["snapshot_version"], chat["history_version"], chat["generation_attempt"], chat["status"]
        )
        await fetch(session, "SELECT pg_notify('turnstone_chats', %(p)s)", {"p": told})


async def test_what_a_step_has_cost_follows_its_message_and_is_in_no_snapshot(hub: Hub, drive: Drive) -> None:
    budget = Budget(organization_id=drive.organization_id, scope="user", scope_id=drive.owner_id, limit_micros=100)
    budget.warn_percents = []
    async with drive.database.begin() as session:
        await insert(session, budget)
    screen, events = Screen(), list[Any]()
    with hub.watch(drive.chat_id, inside=True) as watcher, hub.watch(drive.chat_id) as outside:
        await catch_up(watcher, screen, drive)
        await catch_up(outside, beyond := Screen(), drive)
        for cost in (7, None, 5):
            await drive.open()
            usage = {"input_tokens": 3, "output_tokens": 2}
            await drive.commit(StepRow("assistant", [text("so")], usage=usage, total_cost_micros=cost))
            events += await catch_up(watcher, screen, drive)
            await drive.say("more")
        events += await catch_up(watcher, screen, drive)
        shown = await catch_up(outside, beyond, drive)
    told = [each for each in events if each["type"] in ("usage", "message")]
    for each in [each for each in events if each["type"] == "usage"]:
        without = {name: value for name, value in each["usage"].items() if name != "budget"}
        assert without != each["usage"]
        assert {**each, "usage": without} in shown, "who reads a shared chat is not told of its owner's budget"
    spent = [UsageEvent.model_validate(each).usage for each in told if each["type"] == "usage"]
    assert [(each.cost_micros, each.chat_cost_micros, each.input_tokens) for each in spent] == [(7, 7, 3), (5, 12, 3)]
    assert {each.budget.remaining_micros for each in spent if each.budget} == {100}  # nothing was reserved
    for before, each in pairwise(told):
        assert each["type"] != "usage" or before["message"]["id"] == each["usage"]["message_id"]
    joined = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await catch_up(watcher, joined, drive)
    assert "usage" not in joined.types
