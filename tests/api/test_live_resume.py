"""Laws of resuming: cut, slow, lost or late, a watcher ends up seeing what the database says."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from api.live.hub import Hub
from models.events import assemble
from models.rules import cursors
from models.settings import Settings
from models.store.database import Database, fetch
from tests.api.live_drive import STORY, Drive, Screen, publishing, text
from tests.api.live_hubs import catch_up, fresh, hub_of, record, take, truth
from tests.seeds import World


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


async def test_an_edit_that_is_read_for_a_newcomer_resets_those_who_were_there(
    settings: Settings, drive: Drive
) -> None:
    deaf = Hub(drive.database, settings)  # never started: it reads when somebody joins, and only then
    here, new, back = Screen(), Screen(), Screen()
    await drive.open()
    await drive.answer("one")
    with deaf.watch(drive.chat_id) as watcher, deaf.watch(drive.chat_id) as other:
        here.show(await take(watcher))
        back.show(await take(other))
        await drive.edit("better")
        with (
            deaf.watch(drive.chat_id, after_id=10**6) as newcomer,
            deaf.watch(drive.chat_id, cursors.parse(back.cursor)) as returned,
        ):
            new.show(await take(newcomer))
            await catch_up(returned, back, drive)
        await catch_up(watcher, here, drive)
    assert here.types.count("history_reset") == back.types.count("history_reset") == 1
    assert new.types == ["status"]
    await deaf.close()
