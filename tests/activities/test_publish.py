"""The publisher: deltas become few rows, all of them, in order; and nothing that befalls the log touches the turn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from activities.publish import EPISODE_BYTES, Episode, Publisher, slowed
from models.parts import Part
from models.settings import Settings
from models.store import stream
from models.store.database import Database, fetch
from models.store.notices import PARTS

LONG = timedelta(minutes=10)


def text(value: str) -> Part:
    return {"type": "text", "text": value}


@pytest.fixture
async def publisher(database: Database, settings: Settings) -> AsyncIterator[Publisher]:
    made = Publisher(database, settings)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def patient(database: Database, settings: Settings) -> AsyncIterator[Publisher]:
    """One whose interval never passes: it writes only what must be written at once."""
    made = Publisher(database, settings.model_copy(update={"stream_flush_interval": LONG}))
    await made.start()
    yield made
    await made.close()


async def logged(database: Database, episode: Episode) -> list[tuple[int, str, Part]]:
    async with database.read() as session:
        return await stream.episode_parts(session, episode.chat_id, *episode.key)


async def until(
    database: Database, episode: Episode, wanted: Callable[[list[tuple[int, str, Part]]], bool]
) -> list[Part]:
    async with asyncio.timeout(60):
        while not wanted(rows := await logged(database, episode)):
            await asyncio.sleep(0.01)
    return [part for _, _, part in rows]


async def test_the_first_delta_is_written_at_once_and_the_next_ones_wait_together(
    patient: Publisher, database: Database
) -> None:
    episode = patient.episode(uuid4(), 1, 1)
    episode.push("assistant", text("a"))
    await until(database, episode, lambda rows: len(rows) == 1)
    for piece in "bcd":
        episode.push("assistant", text(piece))
    assert await episode.flush()
    assert await logged(database, episode) == [(1, "assistant", text("a")), (2, "assistant", text("bcd"))]


async def test_deltas_that_wait_are_written_when_they_are_large(patient: Publisher, database: Database) -> None:
    episode = patient.episode(uuid4(), 1, 1)
    episode.push("assistant", text("a"))
    await until(database, episode, lambda rows: len(rows) == 1)
    episode.push("assistant", text("b" * 2000))
    episode.push("assistant", text("c" * 2096))
    await until(database, episode, lambda rows: len(rows) == 2)


async def test_deltas_that_wait_are_written_when_the_interval_has_passed(
    publisher: Publisher, database: Database
) -> None:
    episode = publisher.episode(uuid4(), 1, 1)
    episode.push("assistant", text("a"))
    await until(database, episode, lambda rows: len(rows) == 1)
    episode.push("assistant", text("b"))
    await until(database, episode, lambda rows: len(rows) == 2)


async def test_what_cannot_wait_does_not_hurry_what_can(patient: Publisher, database: Database) -> None:
    hurried, waiting = (patient.episode(uuid4(), 1, 1) for _ in range(2))
    for episode in (hurried, waiting):
        episode.push("assistant", text("a"))
        await until(database, episode, lambda rows: len(rows) == 1)
        episode.push("assistant", text("b"))
    assert await hurried.flush()
    assert len(await logged(database, hurried)) == 2
    assert len(await logged(database, waiting)) == 1
    assert await waiting.flush()
    assert len(await logged(database, waiting)) == 2


def test_ticks_come_as_asked_until_many_steps_stream_and_then_at_most_half_as_often() -> None:
    assert [slowed(busy) for busy in (0, 1, 25, 30, 1000)] == [1.0, 1.0, 1.0, 1.2, 1.5]


async def test_only_pieces_of_the_same_thing_are_joined(patient: Publisher, database: Database) -> None:
    episode = patient.episode(uuid4(), 1, 1)
    call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "look"}
    pushed = [
        ("assistant", {"type": "reasoning", "text": "h", "created_at": "2026-01-01T00:00:00Z"}),
        ("assistant", {"type": "reasoning", "text": "m"}),
        ("assistant", text("x")),
        ("assistant", text("y")),
        ("assistant", {**call, "args_delta": "{"}),
        ("assistant", {**call, "args_delta": "}"}),
        ("assistant", {**call, "tool_call_id": "c2", "args_delta": "{}"}),
        ("assistant", {**call, "args": {}}),
        ("tool", {"type": "tool-result", "tool_call_id": "c1", "tool_name": "look", "result_delta": "1"}),
        ("tool", {"type": "tool-result", "tool_call_id": "c1", "tool_name": "look", "result_delta": "2"}),
        ("assistant", text("z")),
    ]
    for role, part in pushed:
        episode.push(role, part)
    assert await episode.flush()
    assert [part for _, _, part in await logged(database, episode)] == [
        {"type": "reasoning", "text": "hm", "created_at": "2026-01-01T00:00:00Z"},
        text("xy"),
        {**call, "args_delta": "{}"},
        {**call, "tool_call_id": "c2", "args_delta": "{}"},
        {**call, "args": {}},
        {"type": "tool-result", "tool_call_id": "c1", "tool_name": "look", "result_delta": "12"},
        text("z"),
    ]
    assert pushed[2] == ("assistant", text("x"))  # the producer's own part is not written to


async def test_all_episodes_share_one_statement(patient: Publisher, database: Database) -> None:
    episodes = [patient.episode(uuid4(), 1, 1) for _ in range(20)]
    for episode in episodes:
        episode.push("assistant", text(f"for {episode.chat_id}"))
    assert await episodes[-1].flush()
    async with database.read() as session:
        assert await fetch(session, "SELECT count(*) n, count(DISTINCT xmin::text) x FROM stream_log") == [
            {"n": 20, "x": 1}
        ]


async def test_watchers_hear_the_parts_themselves(publisher: Publisher, database: Database) -> None:
    episode = publisher.episode(uuid4(), 3, 2)
    notices = database.listen([PARTS])
    assert await anext(notices) is None
    episode.push("assistant", text("nul \x00 and <&>"))
    heard = await anext(notices)
    assert heard is not None
    [notice] = stream.decode_notices(heard.payload)
    assert (notice.chat_id, notice.episode, notice.seq) == (episode.chat_id, (3, 2), 1)
    await notices.aclose()


async def test_a_flush_means_that_everything_pushed_is_in_the_log(publisher: Publisher, database: Database) -> None:
    episode = publisher.episode(uuid4(), 1, 1)
    for number in range(300):
        episode.push("assistant", text(f"{number},"))
        if number % 50 == 0:
            await asyncio.sleep(0)
    assert await episode.flush()
    whole = "".join(part["text"] for _, _, part in await logged(database, episode))
    assert whole == "".join(f"{number}," for number in range(300))


async def test_what_is_pushed_after_the_close_is_ignored_and_what_was_pushed_before_is_written(
    publisher: Publisher, database: Database
) -> None:
    episode = publisher.episode(uuid4(), 1, 1)
    episode.push("assistant", text("before"))
    episode.close()
    episode.push("assistant", text("after"))
    assert await until(database, episode, bool) == [text("before")]


async def test_beyond_its_bound_an_episode_is_cut_without_a_gap(publisher: Publisher, database: Database) -> None:
    episode = publisher.episode(uuid4(), 1, 1)
    for _ in range(12):
        episode.push("assistant", {"type": "text", "text": "x" * 100_000, "block": _})
    episode.push("assistant", text("small, but too late"))
    assert await episode.flush()
    assert episode.truncated
    rows = await logged(database, episode)
    assert [seq for seq, _, _ in rows] == list(range(1, len(rows) + 1))
    assert sum(len(part["text"]) for _, _, part in rows) <= EPISODE_BYTES
    assert len(rows) == 10


async def test_a_lost_connection_loses_nothing(publisher: Publisher, database: Database) -> None:
    episode = publisher.episode(uuid4(), 1, 1)
    episode.push("assistant", text("one "))
    assert await episode.flush()
    await _terminate_others(database)
    episode.push("assistant", text("two"))
    await until(database, episode, lambda rows: "".join(part["text"] for _, _, part in rows) == "one two")


async def test_a_log_that_was_lost_with_its_server_is_written_again(publisher: Publisher, database: Database) -> None:
    episode = publisher.episode(uuid4(), 1, 1)
    episode.push("assistant", text("one "))
    assert await episode.flush()
    async with database.begin() as session:  # what a crash of the server does to an unlogged table
        await fetch(session, "TRUNCATE stream_log")
    await _terminate_others(database)
    episode.push("assistant", text("two"))
    await until(database, episode, lambda rows: "".join(part["text"] for _, _, part in rows) == "one two")


async def test_without_a_database_pushing_and_flushing_just_go_on(settings: Settings) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    publisher = Publisher(nowhere, settings)
    await publisher.start()
    episode = publisher.episode(uuid4(), 1, 1)
    for _ in range(100):
        episode.push("assistant", text("x" * 20_000))
    assert not await episode.flush()
    assert episode.truncated  # the bound holds while nothing can be written
    await publisher.close()
    await nowhere.close()


async def test_what_the_log_refuses_ends_its_own_preview_only(publisher: Publisher, database: Database) -> None:
    bad, good = publisher.episode(uuid4(), 1, 1), publisher.episode(uuid4(), 1, 1)
    bad.push("\x00", text("no role that Postgres can hold"))
    good.push("assistant", text("fine"))
    assert await good.flush()
    assert [part for _, _, part in await logged(database, good)] == [text("fine")]
    assert await logged(database, bad) == []
    assert bad.truncated


@pytest.mark.parametrize("args", [10**5000, {1, 2}, float("nan")], ids=["huge", "set", "nan"])
async def test_no_part_can_fail_its_turn(publisher: Publisher, database: Database, args: object) -> None:
    odd, good = publisher.episode(uuid4(), 1, 1), publisher.episode(uuid4(), 1, 1)
    odd.push("assistant", {"type": "tool-call", "tool_call_id": "c", "tool_name": "t", "args": {"n": args}})
    good.push("assistant", text("fine"))
    assert await good.flush()
    assert await odd.flush()


async def test_an_integer_beyond_64_bits_is_shown(publisher: Publisher, database: Database) -> None:
    episode = publisher.episode(uuid4(), 1, 1)
    episode.push("assistant", {"type": "tool-call", "tool_call_id": "c", "tool_name": "t", "args": {"n": 2**70}})
    assert await episode.flush()
    assert len(await logged(database, episode)) == 1


async def _terminate_others(database: Database) -> None:
    async with database.read() as session:
        await fetch(
            session,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
