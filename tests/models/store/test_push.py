"""The laws of what is told to browsers: which moves tell whom of what, and what subscribing and the key come to."""

import asyncio
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from models.rules.states import State
from models.store import moves, push
from models.store.database import Database, fetch
from models.store.push import ServerKey
from models.store.secrets import Cipher
from tests.models.store.chats import born, chat_in, opened, send
from tests.seeds import World

CIPHER = Cipher(Fernet.generate_key().decode())


async def subscribe(database: Database, user_id: UUID, endpoint: str = "https://push.example.com/1") -> UUID:
    async with database.begin() as session:
        row = await push.subscribe(session, CIPHER, user_id, endpoint=endpoint, p256dh_key="p", auth_key="a")
    made: UUID = row["id"]
    return made


async def told(database: Database) -> list[tuple[str, UUID | None]]:
    async with database.read() as session:
        rows = await fetch(session, "SELECT kind, subject_id FROM webpush_deliveries ORDER BY id")
    return [(row["kind"], row["subject_id"]) for row in rows]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State.W, "finished"),
        (State.E0, "failed"),
        (State.E1, "failed"),
        (State.A0, "action"),
        (State.R0, None),
        (State.I0, None),
        (State.XW, "finished"),  # it ended before it was archived
    ],
)
async def test_an_end_is_told_to_each_browser_of_the_owner_with_the_move_that_makes_it(
    database: Database, seed: World, state: State, kind: str | None
) -> None:
    await chat_in(database, seed, state)
    assert await told(database) == []  # nobody is subscribed
    for number in range(2):
        await subscribe(database, seed.owner_id, f"https://push.example.com/{number}")
    chat_id = await chat_in(database, seed, state)
    assert await told(database) == ([(kind, chat_id)] * 2 if kind else [])


@pytest.mark.parametrize(
    "case", ["a sub-agent", "stopped by its owner", "its queue goes on", "its owner asked to sum up"]
)
async def test_what_is_no_end_of_a_turn_of_ones_own_is_told_to_nobody(
    database: Database, seed: World, case: str
) -> None:
    await subscribe(database, seed.owner_id)
    parent, chat_id = await born(database, seed), await born(database, seed)
    attempt = await opened(database, chat_id)
    changes = {
        "a sub-agent": "parent_chat_id = %(parent)s, root_chat_id = %(parent)s",
        "its owner asked to sum up": "compaction_requested_at = now(), compaction_rests = true",
    }
    async with database.begin() as session:
        if case in changes:
            await fetch(
                session, f"UPDATE chats SET {changes[case]} WHERE id = %(id)s", {"parent": parent, "id": chat_id}
            )
    if case == "its queue goes on":
        await send(database, seed, chat_id, "and then?")
    async with database.begin() as session:
        if case == "stopped by its owner":
            await moves.interrupt(session, await moves.lock(session, chat_id))
            await moves.finish_interruption(session, chat_id, [], episode=None)
        else:
            await moves.finish_turn(session, attempt.fence)
    assert await told(database) == []


async def test_a_chat_that_was_brought_to_an_error_from_an_invalid_state_is_told_of(
    database: Database, seed: World
) -> None:
    await subscribe(database, seed.owner_id)
    chat_id = await born(database, seed)
    async with database.begin() as session:
        await fetch(session, "UPDATE chats SET status = 'requires_action', archived = true")
    async with database.begin() as session:
        await moves.cancel_action(session, chat_id)
    assert await told(database) == [("failed", chat_id)]


async def test_a_browser_is_one_persons_and_of_too_many_the_oldest_goes(database: Database, seed: World) -> None:
    async with database.begin() as session:
        query = (
            "INSERT INTO users (id, username, email) VALUES (gen_random_uuid(), 'bob', 'b@example.com') RETURNING id"
        )
        [bob] = await fetch(session, query)
    first = await subscribe(database, seed.owner_id)
    assert await subscribe(database, seed.owner_id) == first
    assert await subscribe(database, bob["id"]) != first
    for number in range(push.MOST_SUBSCRIPTIONS + 2):
        await subscribe(database, seed.owner_id, f"https://push.example.com/many/{number}")
    async with database.read() as session:
        rows = await fetch(session, "SELECT * FROM webpush_subscriptions ORDER BY created_at")
    assert "push.example.com" not in str(rows)
    kept = [CIPHER.decrypt(row["endpoint"]) for row in rows]
    assert kept[0] == "https://push.example.com/1"  # Bob's
    assert [each.rsplit("/", 1)[1] for each in kept[1:]] == [str(n) for n in range(2, push.MOST_SUBSCRIPTIONS + 2)]


async def test_many_who_ask_at_once_get_one_key_that_stays(database: Database, seed: World) -> None:
    keys = await asyncio.gather(*(ServerKey(database, CIPHER).public() for _ in range(5)))
    async with database.read() as session:
        [row] = await fetch(session, "SELECT * FROM webpush_keys")
    assert set(keys) == {row["public_key"]}
    assert CIPHER.decrypt(row["private_key"]) not in str(row)
    assert await ServerKey(database, Cipher("")).public() == row["public_key"]


async def test_without_a_secret_key_there_is_no_key_to_subscribe_to(database: Database, seed: World) -> None:
    assert await ServerKey(database, Cipher("")).told() is None
