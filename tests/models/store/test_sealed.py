"""The laws of a change of the encryption key: nothing is lost, nothing is left behind, and what is missing is said."""

import asyncio
import importlib
import pkgutil
from collections.abc import Iterator
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from sqlmodel import SQLModel

from models import tables
from models.store import providers, sealed, user_keys, webhooks
from models.store.database import Database, fetch
from models.store.secrets import Cipher, SecretUnreadable, key_id
from models.store.webhooks import Holder
from models.tables.mcp import McpServerConfig
from tests.seeds import World, insert

OLD, NEW, FOREIGN = (Fernet.generate_key().decode() for _ in range(3))
BEFORE, BOTH, AFTER = Cipher(OLD), Cipher(f"{NEW},{OLD}"), Cipher(NEW)
KEYS = [f"sk-number-{number}" for number in range(23)]


async def fill(database: Database, world: World, cipher: Cipher) -> None:
    """A secret in most places, and in one of them many."""
    async with database.begin() as session:
        made = await providers.create(
            session,
            cipher,
            kind="bedrock",
            name="rented",
            display_name="",
            enabled=True,
            base_url="https://bedrock.example.com",
            api_keys=KEYS,
            settings={"_type": "bedrock", "_version": 1, "access_key_secret": "s3"},
        )
        row = await user_keys.provider(session, world.owner_id, made["id"])
        await user_keys.put(session, cipher, world.owner_id, row, "sk-own", by=world.owner_id)
        holder = Holder(user_id=world.owner_id)
        hook = await webhooks.create(
            session,
            holder,
            url="https://example.com",
            description="",
            events=[],
            secret=cipher.encrypt("first"),
            by=world.owner_id,
        )
        await webhooks.rotate(session, holder, hook["id"], cipher.encrypt("second"))
        # Of its three secrets only one is there.
        await insert(
            session,
            McpServerConfig(
                slug="wiki",
                display_name="Wiki",
                transport="sse",
                url="https://wiki.example.com",
                auth_type="api_key",
                api_key_value=cipher.encrypt("wiki key"),
                availability="default_off",
            ),
        )


async def ciphertexts(database: Database) -> list[str]:
    found = []
    async with database.read() as session:
        for place in sealed.PLACES:
            rows = await fetch(session, f"SELECT {place.column} AS it FROM {place.table} WHERE {place.column} <> ''")
            found += [row["it"] for row in rows]
    return found


async def totals(database: Database) -> dict[str, int]:
    async with database.read() as session:
        return await sealed.by_key(session)


def declared() -> Iterator[str]:
    for module in pkgutil.iter_modules(tables.__path__):
        importlib.import_module(f"{tables.__name__}.{module.name}")
    for table in SQLModel.__subclasses__():
        for name, field in table.model_fields.items():
            if (field.description or "").startswith("encrypted"):
                yield f"{table.__tablename__}.{name}"


async def test_all_secrets_come_under_the_newest_key_and_say_the_same(database: Database, seed: World) -> None:
    await fill(database, seed, BEFORE)
    before = sorted(BEFORE.decrypt(each) for each in await ciphertexts(database))
    assert len(before) == len(KEYS) + 5
    done = await sealed.rotate(database, BOTH, batch=4)
    assert (done.rotated, done.unreadable) == (len(before), {})
    assert sorted(AFTER.decrypt(each) for each in await ciphertexts(database)) == before
    assert await totals(database) == {key_id(NEW): len(before)}
    again = await sealed.rotate(database, BOTH, batch=4)
    assert again.rotated == 0


async def test_what_was_stored_without_the_name_of_its_key_is_read_and_named(database: Database, seed: World) -> None:
    await fill(database, seed, BEFORE)
    async with database.begin() as session:
        await fetch(session, "UPDATE ai_provider_keys SET api_key = split_part(api_key, ':', 2)")
    assert (await totals(database))[sealed.UNNAMED] == len(KEYS)
    assert (await sealed.rotate(database, BOTH, batch=100)).unreadable == {}
    assert [*await totals(database)] == [key_id(NEW)]
    assert {AFTER.decrypt(each) for each in await ciphertexts(database)} >= set(KEYS)


async def test_what_no_key_opens_is_left_as_it_is_and_told_with_its_place(database: Database, seed: World) -> None:
    await fill(database, seed, BEFORE)
    foreign, nonsense = Cipher(FOREIGN).encrypt("else"), "nonsense"
    async with database.begin() as session:
        await fetch(session, "UPDATE user_ai_provider_keys SET api_key = %(it)s", {"it": foreign})
        await fetch(session, "UPDATE webhook_endpoints SET secret = %(it)s", {"it": nonsense})
    done = await sealed.rotate(database, BOTH, batch=3)
    assert {str(place): count for place, count in done.unreadable.items()} == {
        "user_ai_provider_keys.api_key": 1,
        "webhook_endpoints.secret": 1,
    }
    left = await ciphertexts(database)
    assert {foreign, nonsense} <= set(left)
    async with database.read() as session:
        assert await sealed.missing(session, AFTER) == {key_id(FOREIGN): 1}
        assert set(await sealed.missing(session, Cipher(""))) == {key_id(FOREIGN), key_id(NEW)}


async def test_those_who_write_secrets_meanwhile_lose_none(database: Database, seed: World) -> None:
    await fill(database, seed, BEFORE)
    async with database.read() as session:
        [provider] = [row for row in await providers.listed(session) if row["name"] == "rented"]
        row = await user_keys.provider(session, seed.owner_id, provider["id"])
    written: list[str] = []

    async def write(cipher: Cipher) -> None:
        for _ in range(12):
            written.append(f"sk-written-{len(written)}")
            async with database.begin() as session:
                await user_keys.put(session, cipher, seed.owner_id, row, written[-1], by=seed.owner_id)

    # One process has the keys in the old order still, the other in the new one.
    await asyncio.gather(write(Cipher(f"{OLD},{NEW}")), write(BOTH), sealed.rotate(database, BOTH, batch=2))
    await sealed.rotate(database, BOTH)
    assert [*await totals(database)] == [key_id(NEW)]
    async with database.read() as session:
        kept = await user_keys.stored(session, seed.owner_id, UUID(str(provider["id"])))
    assert kept is not None
    assert AFTER.decrypt(kept) in written


def test_every_encrypted_column_takes_part() -> None:
    assert {str(place) for place in sealed.PLACES} == set(declared())


def test_a_secret_under_a_key_that_is_gone_names_the_key() -> None:
    with pytest.raises(SecretUnreadable) as told:
        AFTER.decrypt(BEFORE.encrypt("s"))
    assert key_id(OLD) in told.value.detail
    assert OLD not in str(told.value)
