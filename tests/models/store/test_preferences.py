"""Settings in the database: set, read, set back."""

from models.store import preferences
from models.store.database import Database
from tests.seeds import World


async def test_what_is_set_is_read_and_the_rest_is_missing(database: Database) -> None:
    async with database.begin() as session:
        await preferences.put_site(session, {"b": "2", "a": "1"})
        await preferences.put_site(session, {"a": "one"})
        assert await preferences.site(session, "a", "c") == {"a": "one"}
        assert await preferences.site(session) == {"a": "one", "b": "2"}
        assert await preferences.delete_site(session, "a", "c") == ["a"]
        assert await preferences.site(session) == {"b": "2"}


async def test_a_persons_settings_are_their_own(database: Database, seed: World) -> None:
    async with database.begin() as session:
        await preferences.put_site(session, {"k": "site"})
        await preferences.put_user(session, seed.owner_id, {"k": "1", "other": "2"})
        await preferences.put_user(session, seed.owner_id, {"k": "mine"})
        assert await preferences.user(session, seed.owner_id, "k") == {"k": "mine"}
        assert await preferences.user(session, seed.organization_id) == {}
        assert await preferences.delete_user(session, seed.owner_id, "k", "k2") == ["k"]
        assert await preferences.user(session, seed.owner_id) == {"other": "2"}
        assert await preferences.site(session, "k") == {"k": "site"}


async def test_nothing_to_set_is_nothing_done(database: Database, seed: World) -> None:
    async with database.begin() as session:
        await preferences.put_site(session, {})
        await preferences.put_user(session, seed.owner_id, {})
        assert await preferences.site(session) == await preferences.user(session, seed.owner_id) == {}
