"""The laws of people's own keys at work: their chats use them first, nobody else's do, and none is recorded."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from activities.catalog import ReadyModel
from activities.resources import Resources
from models.errors import Precondition
from models.rules.credentials import Policy
from models.store import catalog, providers, user_keys
from models.store.database import fetch
from models.store.secrets import Cipher
from models.tables.people import Member, User
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour
from tests.seeds import insert

OURS, MINE = "Bearer sk-test", "Bearer sk-of-my-own"


async def keep(stack: Stack, key: str) -> None:
    """The world's owner keeps a key for its provider."""
    cipher = Cipher(stack.settings.secret_keys.get_secret_value())
    owner = stack.world.owner_id
    async with stack.database.begin() as session:
        provider = await user_keys.provider(session, owner, stack.world.provider_id)
        await user_keys.put(session, cipher, owner, provider, key, by=owner)


def keys_sent(stack: Stack) -> list[str | None]:
    """Each key once, in the order of first use: titles and labels use them as well."""
    return list(dict.fromkeys(request.headers.get("authorization") for request in stack.fake.received))


async def until_known(stack: Stack, worker: Resources) -> ReadyModel:
    """The model, once the worker has heard of the owner's key."""
    while True:
        model = None
        with suppress(Precondition):  # where one is needed
            model = await worker.catalog.resolve([], stack.world.owner_id)
        if model is not None and model.api_key == "sk-of-my-own":
            return model
        await asyncio.sleep(0.01)


async def test_the_owners_key_goes_before_the_providers_from_the_next_step_on(stack: Stack) -> None:
    async with worker(stack) as resources:
        chat = await stack.create("hello")
        await stack.rest(chat)
        await keep(stack, "sk-of-my-own")
        model = await until_known(stack, resources)
        await stack.send(chat, "again")
        await stack.rest(chat)
    assert keys_sent(stack) == [OURS, MINE]
    assert "sk-of-my-own" not in repr(model)


async def test_nobody_else_uses_it(stack: Stack) -> None:
    await keep(stack, "sk-of-my-own")
    other = User(username="bob", email="bob@example.com", name="Bob", roles=[])
    member = Member(organization_id=stack.world.organization_id, user_id=other.id, roles=["agents-access"])
    async with stack.database.begin() as session:
        await insert(session, other, member)
    mine = stack.world
    async with worker(stack):
        await stack.rest(await stack.create("hello"))
        stack.world = replace(mine, owner_id=other.id)
        await stack.rest(await stack.create("hello"))
    assert keys_sent(stack) == [MINE, OURS]


async def test_where_keys_of_ones_own_are_not_allowed_none_is_used(stack: Stack) -> None:
    await keep(stack, "sk-of-my-own")
    stack.settings = stack.settings.model_copy(update={"allow_byok": False})
    async with worker(stack):
        await stack.rest(await stack.create("hello"))
    assert keys_sent(stack) == [OURS]


async def test_a_provider_that_insists_on_own_keys_lends_its_own_to_nobody(stack: Stack) -> None:
    """Also where the type needs no key at all: what is not allowed is not tried."""
    async with stack.database.begin() as session:
        policy = Policy(allow_central_api_key_fallback=False)
        await providers.update(session, stack.world.provider_id, policy=policy)
    async with worker(stack) as resources:
        first = await stack.rest(await stack.create("hello"))
        assert first.last_error is not None
        assert (first.status, first.last_error["kind"]) == ("error", "missing_key")
        assert "an API key of your own is needed" in first.last_error["message"]
        assert keys_sent(stack) == []
        await keep(stack, "sk-of-my-own")
        await until_known(stack, resources)
        assert (await stack.rest(await stack.create("hello"))).status == "waiting"
        async with stack.database.begin() as session:
            await providers.update(
                session,
                stack.world.provider_id,
                policy=Policy(allow_user_api_key=False, allow_central_api_key_fallback=False),
            )
        while (model := await resources.catalog.resolve([], stack.world.owner_id)) and model.api_key != "sk-test":
            await asyncio.sleep(0.01)
        await stack.rest(await stack.create("hello"))
    assert keys_sent(stack) == [MINE, OURS]


async def test_with_ones_own_key_the_providers_other_credentials_stay_away(stack: Stack) -> None:
    cipher = Cipher(stack.settings.secret_keys.get_secret_value())
    settings = {"region": "eu-central-1", "access_key": "AKIA", "access_key_secret": "s3", "session_token": "t"}
    async with stack.database.begin() as session:
        await fetch(session, "UPDATE ai_providers SET type = 'bedrock'")
        await providers.update(session, stack.world.provider_id, settings=cipher.encrypt_document(settings))
    async with worker(stack) as resources:
        lent = await resources.catalog.resolve([], stack.world.owner_id)
        assert lent is not None
        assert lent.settings["aws_access_key_id"] == "AKIA"
        await keep(stack, "sk-of-my-own")
        assert (await until_known(stack, resources)).settings == {"aws_region_name": "eu-central-1"}


async def test_a_provider_without_keys_works_for_whoever_has_one(stack: Stack) -> None:
    async with stack.database.begin() as session:
        await fetch(session, "DELETE FROM ai_provider_keys")
        await fetch(session, "UPDATE ai_providers SET type = 'openai'")
        await catalog.changed(session)
    async with worker(stack) as resources:
        first = await stack.rest(await stack.create("hello"))
        assert first.last_error is not None
        assert (first.status, first.last_error["kind"]) == ("error", "missing_key")
        await keep(stack, "sk-of-my-own")
        await until_known(stack, resources)
        second = await stack.create("hello")
        assert (await stack.rest(second)).status == "waiting"
    assert keys_sent(stack) == [MINE]


async def test_a_provider_that_repeats_the_key_does_not_get_it_recorded(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"debug_logging": True})
    await keep(stack, "sk-of-my-own")
    stack.fake.script(Behaviour(status=401, message="Incorrect API key provided: sk-of-my-own"))
    async with worker(stack):
        chat = await stack.rest(await stack.create("hello"))
        assert chat.status == "error"
    assert keys_sent(stack) == [MINE]
    async with stack.database.read() as session:
        tables = await fetch(session, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for table in tables:
            rows = await fetch(session, f'SELECT t::text AS row FROM "{table["tablename"]}" t')
            assert all("sk-of-my-own" not in row["row"] for row in rows), table
        assert await fetch(session, "SELECT 1 FROM chat_debug_steps")


async def test_a_key_that_cannot_be_read_ends_the_turn_and_ours_is_not_used_in_its_place(stack: Stack) -> None:
    await keep(stack, "sk-of-my-own")
    async with stack.database.begin() as session:
        await fetch(session, "UPDATE user_ai_provider_keys SET api_key = 'from another deployment'")
    async with worker(stack):
        chat = await stack.rest(await stack.create("hello"))
    assert chat.last_error is not None
    assert (chat.status, chat.last_error["kind"]) == ("error", "missing_key")
    assert keys_sent(stack) == []
