"""The stream log: what goes in comes out, in order, and outlives its writer."""

from datetime import timedelta
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.parts import Part, to_rest
from models.store import moves, stream
from models.store.database import Database, fetch
from models.store.stream import Episode, LogRow
from tests.seeds import World

CHAT = UUID("0198c0de-0000-7000-8000-000000000001")


FIRST = Episode(4, 1)


def row(seq: int, part: Part, chat: UUID = CHAT, episode: Episode = FIRST, role: str = "assistant") -> LogRow:
    return LogRow(chat, episode, seq, role, orjson.dumps(to_rest(part)))


async def log(database: Database, rows: list[LogRow]) -> None:
    async with await database.connect() as connection:
        await stream.write(connection, rows)


async def test_parts_come_back_in_order_and_from_where_they_are_asked(database: Database) -> None:
    await log(database, [row(seq, {"type": "text", "text": f"{seq} "}) for seq in (3, 1, 2)])
    async with database.read() as session:
        assert [seq for seq, _, _ in await stream.episode_parts(session, CHAT, 4, 1)] == [1, 2, 3]
        assert await stream.episode_parts(session, CHAT, 4, 1, after_seq=2) == [
            (3, "assistant", {"type": "text", "text": "3 "})
        ]
        assert await stream.episode_parts(session, CHAT, 4, 2) == []


async def test_text_with_nul_and_broken_surrogates_can_be_logged(database: Database) -> None:
    await log(database, [row(1, {"type": "text", "text": "a\x00b\ud800c"})])
    async with database.read() as session:
        [(_, _, part)] = await stream.episode_parts(session, CHAT, 4, 1)
    assert part["text"] == "a\x00b\ufffdc"


async def test_a_row_that_is_there_already_stays_as_it_is(database: Database) -> None:
    await log(database, [row(1, {"type": "text", "text": "first"})])
    await log(database, [row(1, {"type": "text", "text": "again"}), row(2, {"type": "text", "text": "next"})])
    async with database.read() as session:
        assert [part["text"] for _, _, part in await stream.episode_parts(session, CHAT, 4, 1)] == ["first", "next"]


async def test_a_partial_is_whole_parts_with_cut_arguments_left_out(database: Database) -> None:
    call = {"type": "tool-call", "tool_call_id": "c1", "tool_name": "look"}
    other = {"type": "tool-call", "tool_call_id": "c2", "tool_name": "look"}
    await log(
        database,
        [
            row(1, {"type": "reasoning", "text": "hm", "created_at": "2026-01-01T00:00:00Z"}),
            row(2, {"type": "reasoning", "text": "m"}),
            row(3, {"type": "text", "text": "Let me "}),
            row(4, {"type": "text", "text": "look"}),
            row(5, {**call, "args_delta": '{"a"'}),
            row(6, {**other, "args_delta": '{"b"'}),
            row(7, {**call, "args_delta": ":1}"}),
            row(9, {"type": "text", "text": "behind a gap"}),
        ],
    )
    async with database.read() as session:
        assert await stream.partial(session, CHAT, 4, 1) == [
            ("assistant", {"type": "reasoning", "text": "hmm", "created_at": "2026-01-01T00:00:00Z"}),
            ("assistant", {"type": "text", "text": "Let me look"}),
            ("assistant", {**call, "args": {"a": 1}}),
            ("assistant", other),
        ]


async def test_purging_spares_what_is_young_and_what_still_runs(database: Database, seed: World) -> None:
    running = await _running(database, seed)
    stopped, young = uuid4(), uuid4()
    await log(
        database,
        [
            row(1, {"type": "text", "text": "x"}, running, Episode(1, 1)),
            row(1, {"type": "text", "text": "old attempt"}, running, Episode(0, 1)),
            row(1, {"type": "text", "text": "x"}, stopped),
        ],
    )
    async with database.begin() as session:
        await fetch(session, "UPDATE stream_log SET created_at = now() - interval '1 hour'")
    await log(database, [row(1, {"type": "text", "text": "x"}, young)])
    async with database.begin() as session:
        assert await stream.purge(session, timedelta(minutes=10)) == 2
        left = await fetch(session, "SELECT chat_id, history_version FROM stream_log")
    assert {(each["chat_id"], each["history_version"]) for each in left} == {(running, 1), (young, 4)}


async def _running(database: Database, seed: World) -> UUID:
    async with database.begin() as session:
        made = await moves.create(
            session,
            owner_id=seed.owner_id,
            organization_id=seed.organization_id,
            title="t",
            content=[{"type": "text", "text": "hi"}],
            model_config_id=seed.model_config_id,
            created_by=seed.owner_id,
        )
        await moves.open_attempt(session, made.chat["id"], max_attempts=5, max_steps=5)
        return made.chat["id"]


CHATS = st.sampled_from([CHAT, UUID(int=1), UUID(int=2)])
SIZES = st.one_of(st.integers(0, 60), st.integers(3000, 9000))


@given(st.lists(st.tuples(CHATS, SIZES), max_size=40))
@settings(max_examples=150, deadline=None)
def test_notices_carry_every_part_in_order_within_the_limit_of_notify(written: list[tuple[UUID, int]]) -> None:
    seqs: dict[UUID, int] = {}
    rows = []
    for chat, size in written:
        seqs[chat] = seqs.get(chat, 0) + 1
        rows.append(row(seqs[chat], {"type": "text", "text": "é" * (size // 2)}, chat))
    payloads = stream.encode_notices(rows)
    assert all(len(payload.encode()) <= 7999 for payload in payloads)
    assert len(set(payloads)) == len(payloads)  # Postgres drops a payload that repeats another
    heard = []
    for payload in payloads:
        for notice in stream.decode_notices(payload):
            parts = notice.parts
            if parts is None:
                heard.append((notice.chat_id, notice.episode, notice.seq, None))
            else:
                heard += [
                    (notice.chat_id, notice.episode, notice.seq + place, part) for place, (_, part) in enumerate(parts)
                ]
    told = [(chat, episode, seq, orjson.loads(part)) for chat, episode, seq, _, part in rows]
    assert [each[:3] for each in heard] == [each[:3] for each in told]
    for (*_, got), (*_, sent) in zip(heard, told, strict=True):
        assert got == sent if got is not None else len(orjson.dumps(sent)) > 7500


@pytest.mark.parametrize("size", [7500, 7900, 8100, 100_000])
async def test_a_part_of_any_size_can_be_written(database: Database, size: int) -> None:
    await log(database, [row(1, {"type": "text", "text": "x" * size}), row(2, {"type": "text", "text": "y"})])
    async with database.read() as session:
        assert [len(part["text"]) for _, _, part in await stream.episode_parts(session, CHAT, 4, 1)] == [size, 1]
