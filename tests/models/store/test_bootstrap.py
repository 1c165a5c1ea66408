"""The first rows: made once, safe to repeat, and safe to race."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from models.errors import Precondition
from models.settings import Settings
from models.store import catalog, people, secrets, templates
from models.store.bootstrap import bootstrap
from models.store.database import Database, Row, fetch
from models.store.secrets import Cipher

KEYS = {"OPENAI_API_KEY": "sk-openai-0123456789"}


async def rows(database: Database, statement: Any) -> list[Row]:
    async with database.read() as session:
        return await fetch(session, statement)


async def default_model(database: Database) -> tuple[str, str]:
    async with database.read() as session:
        found = await catalog.resolve(session, None)
    assert found is not None
    return found.provider, found.model


async def test_the_first_start_makes_an_owner_who_comes_in_by_token(settings: Settings, database: Database) -> None:
    made = await bootstrap(settings, admin_token=None, environ={})
    assert made.created
    assert made.admin_token is not None
    async with database.read() as session:
        found = await people.find_by_token(session, secrets.digest(made.admin_token))
    assert found is not None
    assert (found.principal.username, found.principal.is_owner) == ("admin", True)
    assert found.principal.may_create_chat(made.organization_id)
    assert found.expires_in.days > 3000


async def test_a_second_start_changes_nothing(settings: Settings, database: Database) -> None:
    first = await bootstrap(settings, admin_token=None, environ=KEYS)
    counts = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM api_keys), (SELECT count(*) FROM ai_providers)"
    before = await rows(database, counts)
    second = await bootstrap(settings, admin_token=None, environ=KEYS)
    assert await rows(database, counts) == before
    assert (second.created, second.admin_token) == (False, None)
    assert second.organization_id == first.organization_id


async def test_many_first_starts_at_once_make_one_owner(settings: Settings, database: Database) -> None:
    made = await asyncio.gather(*(bootstrap(settings, admin_token=None, environ={}) for _ in range(4)))
    assert sorted(each.created for each in made) == [False, False, False, True]
    assert len(await rows(database, "SELECT id FROM users")) == 1
    assert len(await rows(database, "SELECT id FROM chat_model_configs")) == 1


async def test_a_given_token_works_and_so_does_a_later_one(settings: Settings, database: Database) -> None:
    for token in ("the operator's own token", "the operator's own token", "another one, chosen later"):
        assert (await bootstrap(settings, admin_token=token, environ={})).admin_token == token
    async with database.read() as session:
        for token in ("the operator's own token", "another one, chosen later"):
            assert await people.find_by_token(session, secrets.digest(token)) is not None
    assert len(await rows(database, "SELECT id FROM api_keys")) == 2


async def test_a_short_token_is_warned_of_and_not_written_down(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await bootstrap(settings, admin_token="hunter2", environ={})
    assert "shorter than 16" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_newcomer_gets_the_demo_model(settings: Settings, database: Database) -> None:
    await bootstrap(settings, admin_token=None, environ={})
    assert await default_model(database) == ("demo", "demo")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (KEYS, ("openai", "gpt-5-mini")),
        ({"ANTHROPIC_API_KEY": "sk-ant-0123456789"}, ("anthropic", "claude-sonnet-4-5")),
        ({**KEYS, "ANTHROPIC_API_KEY": "sk-ant-0123456789"}, ("openai", "gpt-5-mini")),
        ({"TURNSTONE_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, ("openai-compat", "gpt-5-mini")),
        (
            {"TURNSTONE_OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "TURNSTONE_OPENAI_MODEL": "llama", **KEYS},
            ("openai-compat", "llama"),
        ),
    ],
)
async def test_a_key_in_the_environment_makes_a_real_model_the_default(
    settings: Settings, database: Database, environ: dict[str, str], expected: tuple[str, str]
) -> None:
    await bootstrap(settings, admin_token=None, environ=environ)
    assert await default_model(database) == expected
    async with database.read() as session:
        found = await catalog.resolve(session, None)
        everything = await catalog.models(session, usable_only=True)
    assert found is not None
    key = environ.get("OPENAI_API_KEY", "") if expected[0] != "anthropic" else environ["ANTHROPIC_API_KEY"]
    assert found.api_key(Cipher(settings.secret_keys.get_secret_value())) == key
    assert "demo" in {each["provider"] for each in everything}


async def test_a_key_that_comes_later_replaces_the_demo_as_the_default(settings: Settings, database: Database) -> None:
    await bootstrap(settings, admin_token=None, environ={})
    await bootstrap(settings, admin_token=None, environ=KEYS)
    assert await default_model(database) == ("openai", "gpt-5-mini")


async def test_a_deleted_provider_is_not_made_again(settings: Settings, database: Database) -> None:
    await bootstrap(settings, admin_token=None, environ=KEYS)
    async with database.begin() as session:
        await fetch(session, "UPDATE ai_providers SET deleted = true, enabled = false")
    await bootstrap(settings, admin_token=None, environ=KEYS)
    assert await rows(database, "SELECT id FROM ai_providers WHERE NOT deleted") == []


async def test_a_template_of_this_machine_is_offered_once_where_it_is_asked_for(
    settings: Settings, database: Database
) -> None:
    made = await bootstrap(settings, admin_token=None, environ={})
    for _ in range(2):
        await bootstrap(settings, admin_token=None, environ={}, local_template=True)
    async with database.begin() as session:
        [offered] = await templates.listed(session, [made.organization_id])
        version = await templates.version(session, offered["active_version_id"])
        await templates.delete(session, offered["id"])
    assert (offered["name"], [each["name"] for each in version["spec"]["agents"]]) == ("local", ["main"])
    await bootstrap(settings, admin_token=None, environ={}, local_template=True)
    async with database.read() as session:
        assert await templates.listed(session, [made.organization_id]) == []


async def test_a_key_is_never_stored_in_clear(settings: Settings, database: Database) -> None:
    bare = settings.model_copy(update={"secret_keys": SecretStr("")})
    with pytest.raises(Precondition, match="TURNSTONE_SECRET_KEYS"):
        await bootstrap(bare, admin_token=None, environ=KEYS)
    assert await rows(database, "SELECT id FROM users") == []
    await bootstrap(bare, admin_token=None, environ={})
