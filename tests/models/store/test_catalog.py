"""Which model a step runs with, and the secrets around it."""

from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet

from models.store import catalog, providers, secrets
from models.store.database import Database, fetch
from models.store.secrets import Cipher, SecretUnreadable

CIPHER = Cipher(Fernet.generate_key().decode())


class Shelf:
    """Three models of two providers; the first is the default."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.models: list[UUID] = []
        self.providers: list[UUID] = []

    async def fill(self) -> "Shelf":
        async with self.database.begin() as session:
            for name, keys in (("one", ["older-key", "newer-key"]), ("two", [])):
                row = await providers.create(
                    session,
                    CIPHER,
                    kind="openai-compat",
                    name=name,
                    display_name="",
                    enabled=True,
                    base_url="http://127.0.0.1:1/v1",
                    api_keys=keys,
                )
                self.providers.append(row["id"])
            for place, provider in enumerate((0, 0, 1)):
                model = await catalog.create(
                    session,
                    ai_provider_id=self.providers[provider],
                    model=f"m{place}",
                    display_name="",
                    enabled=True,
                    is_default=False,
                    context_limit=100,
                    compression_threshold=70,
                    options={"temperature": 0.5},
                    created_by=None,
                )
                self.models.append(model["id"])
        return self

    async def resolve(self, *wanted: UUID | None) -> str | None:
        async with self.database.read() as session:
            found = await catalog.resolve(session, wanted[0] if wanted else None, wanted[1:])
        return found.model if found else None

    async def turn_off(self, place: int) -> None:
        async with self.database.begin() as session:
            await catalog.update(session, self.models[place], enabled=False)


@pytest.fixture
async def shelf(database: Database) -> Shelf:
    return await Shelf(database).fill()


async def test_the_requested_model_comes_before_the_fallbacks_and_those_before_the_default(shelf: Shelf) -> None:
    default, second, third = shelf.models
    assert await shelf.resolve(third, second) == "m2"
    assert await shelf.resolve(None, second, third) == "m1"
    assert await shelf.resolve(uuid4(), None, third) == "m2"
    assert await shelf.resolve(uuid4()) == "m0"
    assert await shelf.resolve() == "m0"
    assert default in shelf.models


async def test_what_cannot_be_used_is_passed_over(shelf: Shelf) -> None:
    _, second, third = shelf.models
    await shelf.turn_off(1)
    assert await shelf.resolve(second, third) == "m2"
    async with shelf.database.begin() as session:
        await providers.update(session, shelf.providers[1], enabled=False)
    assert await shelf.resolve(second, third) == "m0"
    await shelf.turn_off(0)
    assert await shelf.resolve(second, third) is None
    async with shelf.database.read() as session:
        assert await catalog.for_new_chat(session, uuid4()) == (None, {})


async def test_a_resolved_model_brings_all_that_a_call_needs_with_its_secrets_closed(shelf: Shelf) -> None:
    async with shelf.database.read() as session:
        found = await catalog.resolve(session, None)
    assert found is not None
    assert (found.provider, found.provider_name, found.base_url) == ("openai-compat", "one", "http://127.0.0.1:1/v1")
    assert (found.options, found.context_limit, found.compression_threshold) == ({"temperature": 0.5}, 100, 70)
    assert [CIPHER.decrypt(key) for key in found.api_keys] == ["older-key", "newer-key"]
    assert found.api_key(CIPHER) == "older-key"
    assert found.provider_settings(CIPHER) == {}
    assert found.api_keys[0] not in repr(found)


async def test_a_deleted_model_does_not_exist_and_a_disabled_one_does(shelf: Shelf) -> None:
    await shelf.turn_off(1)
    async with shelf.database.begin() as session:
        await catalog.delete(session, shelf.models[2])
        assert await catalog.exists(session, shelf.models[1])
        assert not await catalog.exists(session, shelf.models[2])
        assert not await catalog.exists(session, uuid4())


async def test_every_write_tells_the_other_processes(shelf: Shelf) -> None:
    listener = shelf.database.listen(["turnstone_catalog"])
    assert await anext(listener) is None
    async with shelf.database.begin() as session:
        await catalog.update(session, shelf.models[0], enabled=False)
    notice = await anext(listener)
    assert notice is not None
    assert notice.channel == "turnstone_catalog"
    await listener.aclose()


async def test_no_default_is_only_possible_without_models(shelf: Shelf) -> None:
    for model in shelf.models:
        async with shelf.database.begin() as session:
            await catalog.delete(session, model)
            left = await fetch(session, "SELECT is_default FROM chat_model_configs WHERE NOT deleted")
        assert sum(row["is_default"] for row in left) == min(1, len(left))


def test_an_old_key_still_opens_and_rotation_moves_to_the_new_one() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    stored = Cipher(old).encrypt("s\u00e9cret")
    both = Cipher(f"{new}, {old}")
    assert both.decrypt(stored) == "s\u00e9cret"
    rotated = both.rotate(stored)
    assert Cipher(new).decrypt(rotated) == "s\u00e9cret"
    with pytest.raises(SecretUnreadable):
        Cipher(new).decrypt(stored)
    with pytest.raises(SecretUnreadable):
        Cipher(new).rotate("nonsense")


def test_a_key_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="Fernet"):
        Cipher("not-a-key")


@pytest.mark.parametrize(
    ("secret", "shown"),
    [("", "..."), ("short", "..."), ("fifteen-chars-x", "..."), ("sk-0123456789abcdef", "sk-0...cdef")],
)
def test_a_mask_shows_little_of_long_secrets_and_nothing_of_short_ones(secret: str, shown: str) -> None:
    assert secrets.mask(secret) == shown
