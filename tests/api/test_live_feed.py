"""Laws of the live feed: whoever watches sees what the database says, once, in order, from wherever they resume."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from pydantic import TypeAdapter

from api.live.delta import NOTHING, Told
from api.live.hub import Hub
from api.live.watcher import Ended, Watcher
from models.errors import Unavailable
from models.events import StreamEvent, assemble
from models.rules import cursors
from models.settings import Settings
from models.store import live
from models.store.database import Database, fetch
from models.store.moves import StepRow
from models.store.notices import ChatNotice
from tests.api.live_drive import CALL, STORY, Drive, Screen, publishing, text
from tests.seeds import World

ONE_EVENT: TypeAdapter[Any] = TypeAdapter(StreamEvent)


@asynccontextmanager
async def hub_of(settings: Settings, **changes: Any) -> AsyncIterator[Hub]:
    """Another API process, as far as live streams go."""
    database = Database(settings.database_url, pool_size=3)
    hub = Hub(database, settings.model_copy(update=changes))
    await hub.start()
    await hub.listening()
    try:
        yield hub
    finally:
        await hub.close()
        await database.close()


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[Hub]:
    async with hub_of(settings) as made:
        yield made


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Hub]:
    async with hub_of(settings) as made:
        yield made


@pytest.fixture
async def drive(database: Database, settings: Settings, seed: World) -> AsyncIterator[Drive]:
    async with publishing(database, settings) as publisher:
        yield await Drive(database, publisher, seed.owner_id, seed.organization_id, seed.model_config_id).create()


async def take(watcher: Watcher) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        return [orjson.loads(event.data) for event in await watcher.take()]


async def take_until(watcher: Watcher, screen: Screen, *types: str) -> list[dict[str, Any]]:
    """Show the screen all events up to the one that completes these types, in any order."""
    told: list[dict[str, Any]] = []
    missing = list(types)
    while missing:
        for event in await take(watcher):
            told.append(event)
            screen.show([event])
            if event["type"] in missing:
                missing.remove(event["type"])
    return told


async def truth(drive: Drive) -> tuple[Any, ...]:
    """What a screen shows now, by the database."""
    async with drive.database.read() as session:
        reading = await live.read(session, drive.chat_id, cursors.NOWHERE)
    assert reading is not None
    events, _ = Told(reading).changes(NOTHING)
    return Screen().show(orjson.loads(event.data) for event in events).state


async def catch_up(watcher: Watcher, screen: Screen, drive: Drive) -> list[dict[str, Any]]:
    """Show the screen events until it shows what the database says."""
    told = []
    while screen.state != await truth(drive):
        events = await take(watcher)
        screen.show(events)
        told += events
    return told


async def fresh(hub: Hub, drive: Drive) -> Screen:
    with hub.watch(drive.chat_id) as watcher:
        screen = Screen()
        await catch_up(watcher, screen, drive)
        return screen


async def record(hub: Hub, drive: Drive) -> list[dict[str, Any]]:
    """The events of an uncut watcher of the whole story."""
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        told = await catch_up(watcher, screen, drive)
        for step in STORY:
            await step(drive)
            told += await catch_up(watcher, screen, drive)
    return told


async def test_cut_at_any_event_and_resumed_elsewhere_the_content_is_the_same(
    hub: Hub, other: Hub, drive: Drive
) -> None:
    told = await record(hub, drive)
    whole = Screen().show(told)
    assert whole.state == (await fresh(other, drive)).state
    assert whole.preview
    assert {"history_reset", "preview_reset", "retry", "error", "queue_update"} <= set(whole.types)
    for cut in range(len(told) + 1):
        screen = Screen().show(told[:cut])
        cursor = cursors.parse(screen.cursor) if screen.cursor else None
        with other.watch(drive.chat_id, cursor) as watcher:
            await catch_up(watcher, screen, drive)
        assert screen.state == whole.state, f"cut after event {cut}: {told[cut - 1]}"
        assert "resync" not in screen.types


@pytest.mark.parametrize("seed_of_chance", range(6))
async def test_a_client_that_reconnects_all_the_time_sees_the_same_as_one_that_stays(
    hub: Hub, other: Hub, drive: Drive, seed_of_chance: int
) -> None:
    chance = random.Random(seed_of_chance)
    steady, restless = Screen(), Screen()
    with hub.watch(drive.chat_id) as watcher:
        for step in STORY:
            await step(drive)
            for _ in range(chance.randrange(3)):
                cursor = cursors.parse(restless.cursor) if restless.cursor else None
                with chance.choice((hub, other)).watch(drive.chat_id, cursor) as second:
                    if cursor is None or restless.state != await truth(drive):
                        restless.show((await take(second))[: chance.randrange(1, 9)])
            await catch_up(watcher, steady, drive)
            if chance.random() < 0.5:
                cursor = cursors.parse(restless.cursor) if restless.cursor else None
                with chance.choice((hub, other)).watch(drive.chat_id, cursor) as second:
                    await catch_up(second, restless, drive)
                assert restless.state == steady.state
        cursor = cursors.parse(restless.cursor) if restless.cursor else None
        with other.watch(drive.chat_id, cursor) as second:
            await catch_up(second, restless, drive)
    assert restless.state == steady.state


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
        await drive.commit(StepRow("assistant", [CALL]))
        await drive.require_action()
        await _bump(drive)
        told = await take_until(watcher, screen, "action_required")
        with hub.watch(drive.chat_id) as second:
            assert "action_required" in [event["type"] for event in await take(second)]
    assert screen.types.count("action_required") == 1
    assert told[-1]["action_required"] == {
        "tool_calls": [{"tool_call_id": "c1", "tool_name": "look", "args": '{"a":"é\\u0000"}'}]
    }


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


async def test_after_id_limits_the_snapshot_to_newer_messages(hub: Hub, drive: Drive) -> None:
    await drive.open()
    await drive.answer("one")
    await drive.say("two")
    everything = await fresh(hub, drive)
    first = min(everything.messages)
    for watched in (False, True):
        screen = Screen()
        with hub.watch(drive.chat_id) as steady:
            if watched:
                await take(steady)
            with hub.watch(drive.chat_id, after_id=first) as watcher:
                screen.show(await take(watcher))
        assert sorted(screen.messages) == sorted(everything.messages)[1:]


async def test_a_cursor_that_claims_more_than_there_is_gets_a_resync(hub: Hub, drive: Drive) -> None:
    await drive.open()
    await drive.stream("one", "two")
    whole = await fresh(hub, drive)
    here = cursors.parse(whole.cursor)
    for ahead in (here._replace(snapshot=99), here._replace(history=98, snapshot=2), here._replace(seq=9)):
        screen = Screen()
        with hub.watch(drive.chat_id, ahead) as watcher:
            await catch_up(watcher, screen, drive)
        assert screen.types[0] == "resync"
        assert screen.types.count("resync") == 1
        assert screen.state == whole.state


async def test_a_slow_watcher_is_resynced_and_slows_nobody(settings: Settings, drive: Drive) -> None:
    async with hub_of(settings, watcher_buffer_bytes=65536) as hub:
        slow, quick = Screen(), Screen()
        with hub.watch(drive.chat_id) as sleeper, hub.watch(drive.chat_id) as watcher:
            slow.show(await take(sleeper))
            await drive.open()
            for _ in range(40):
                await drive.stream("x" * 4000)
                await catch_up(watcher, quick, drive)
            assert "resync" not in quick.types
            events = await take(sleeper)
            slow.show(events)
            await catch_up(sleeper, slow, drive)
        assert events[0]["type"] == "resync"
        assert slow.types.count("resync") == 1
        assert slow.state == quick.state


async def test_a_burst_is_no_reason_to_resync_a_watcher_that_has_taken_everything(
    settings: Settings, drive: Drive
) -> None:
    async with hub_of(settings, watcher_buffer_bytes=65536) as hub:
        screen = Screen()
        with hub.watch(drive.chat_id) as watcher:
            screen.show(await take(watcher))
            await drive.open()
            await drive.answer("z" * 200_000)
            await catch_up(watcher, screen, drive)
    assert "resync" not in screen.types


async def test_a_watcher_cut_in_the_middle_of_a_resync_misses_nothing(settings: Settings, drive: Drive) -> None:
    await drive.open()
    async with hub_of(settings, watcher_buffer_bytes=65536) as hub:
        with hub.watch(drive.chat_id) as sleeper:
            screen = Screen().show(await take(sleeper))
            await drive.stream(*["x" * 4000] * 20)
            resync = await take(sleeper)
        for cut in range(1, len(resync)):
            again = Screen().show([*resync[:cut]])
            again.cursor = again.cursor or screen.cursor
            with hub.watch(drive.chat_id, cursors.parse(again.cursor)) as watcher:
                await catch_up(watcher, again, drive)


async def test_a_snapshot_larger_than_the_buffer_is_delivered(settings: Settings, drive: Drive) -> None:
    await drive.open()
    await drive.answer("y" * 300_000)
    async with hub_of(settings, watcher_buffer_bytes=65536) as hub:
        screen = await fresh(hub, drive)
    assert len(screen.messages) == 2
    assert "resync" not in screen.types


async def test_a_lost_listen_connection_loses_nothing(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await catch_up(watcher, screen, drive)
        async with drive.database.read() as session:
            await fetch(
                session,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'",
            )
        await drive.stream("said ", "into ", "the void")
        await catch_up(watcher, screen, drive)
        assert assemble(screen.preview) == [("assistant", text("said into the void"))]
        await drive.answer("done")
        await catch_up(watcher, screen, drive)


async def test_lost_notifications_are_made_up_for_by_the_poll(settings: Settings, drive: Drive) -> None:
    async with hub_of(settings, stream_poll_interval=timedelta(milliseconds=100)) as hub:
        screen = Screen()
        with hub.watch(drive.chat_id) as watcher:
            await drive.open()
            await catch_up(watcher, screen, drive)
            async with drive.database.begin() as session:  # written, but nobody is told
                await fetch(
                    session,
                    "INSERT INTO stream_log SELECT id, history_version, generation_attempt, 1, 'assistant', "
                    """'{"type": "text", "text": "quiet"}' FROM chats WHERE id = %(id)s""",
                    {"id": drive.chat_id},
                )
            await catch_up(watcher, screen, drive)
            assert assemble(screen.preview) == [("assistant", text("quiet"))]
            async with drive.database.begin() as session:
                await fetch(
                    session,
                    "UPDATE chats SET status = 'waiting', snapshot_version = snapshot_version + 1 WHERE id = %(id)s",
                    {"id": drive.chat_id},
                )
            await catch_up(watcher, screen, drive)
            assert screen.status == "waiting"


async def test_a_part_too_large_for_a_notification_is_read_from_the_log(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.stream("small, ", "x" * 50_000, " small")
        await catch_up(watcher, screen, drive)
    assert assemble(screen.preview) == [("assistant", text("small, " + "x" * 50_000 + " small"))]


async def test_a_gap_that_nothing_fills_ends_the_preview_and_not_the_stream(hub: Hub, drive: Drive) -> None:
    screen = Screen()
    with hub.watch(drive.chat_id) as watcher:
        await drive.open()
        await drive.stream("one")
        await catch_up(watcher, screen, drive)
        assert drive.episode is not None
        drive.episode.push("assistant", text("lost"))
        await drive.episode.flush()
        async with drive.database.begin() as session:
            await fetch(session, "DELETE FROM stream_log WHERE seq = 1")
        other = Screen()
        with hub.watch(drive.chat_id) as late:
            other.show(await take(late))
            await drive.stream("three")
            await drive.answer("all of it")
            await catch_up(late, other, drive)
        await catch_up(watcher, screen, drive)
    assert "message_part" not in other.types
    assert screen.state == other.state


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
            await fetch(session, "SELECT pg_notify('turnstone_chats', %(p)s)", {"p": _notice(drive, 99)})
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


def _notice(drive: Drive, snapshot: int, history: int = 1, attempt: int = 0, status: str = "running") -> str:
    return ChatNotice(drive.chat_id, drive.owner_id, snapshot, history, attempt, status).encode()


async def _bump(drive: Drive) -> None:
    """A change that tells watchers nothing new."""
    async with drive.database.begin() as session:
        [chat] = await fetch(
            session,
            "UPDATE chats SET snapshot_version = snapshot_version + 1 WHERE id = %(id)s RETURNING *",
            {"id": drive.chat_id},
        )
        told = _notice(
            drive, chat["snapshot_version"], chat["history_version"], chat["generation_attempt"], chat["status"]
        )
        await fetch(session, "SELECT pg_notify('turnstone_chats', %(p)s)", {"p": told})
