"""The laws of which model uses desktops: of the chosen provider, able to see, and with a key for the owner."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.rules import features
from models.rules.computer_models import NO_KEY, NO_MODEL, OFF, Candidate, NoneFits, chosen
from models.store import computer_use, preferences
from models.store.database import Database, fetch
from models.tables.catalog import AIProvider, AIProviderKey, ModelConfig, UserAIProviderKey
from tests.seeds import World, insert


def candidate(model: str, provider: str = "anthropic", **more: Any) -> Candidate:
    return Candidate(
        **{"id": uuid4(), "provider": provider, "model": model, "is_default": False, "has_key": True} | more
    )


@pytest.mark.parametrize(
    ("provider", "models", "which"),
    [
        ("anthropic", ["claude-opus-4-7", "claude-sonnet-4-6"], "claude-opus-4-7"),
        ("anthropic", ["my-proxy-model", "claude-sonnet-4-6"], "claude-sonnet-4-6"),
        ("anthropic", ["claude-opus-4-7", "claude-sonnet-4-6 default"], "claude-sonnet-4-6"),
        ("anthropic", ["claude-opus-4-7 keyless", "claude-sonnet-4-5"], "claude-sonnet-4-5"),
        ("anthropic", ["gpt-5.5 of openai", "my-proxy-model"], "my-proxy-model"),
        ("openai", ["computer-use-preview", "gpt-4o-realtime-preview", "gpt-5.5"], "gpt-5.5"),
        ("openai", ["o3-mini", "gpt-3.5-turbo", "gpt-4.1"], "gpt-4.1"),
        ("openai", ["my-model", "gpt-10"], "gpt-10"),
    ],
)
def test_the_first_that_can_see_is_taken_known_names_and_the_default_before_others(
    provider: str, models: list[str], which: str
) -> None:
    found = [
        candidate(
            name.split()[0],
            "openai" if "of openai" in name else provider,
            is_default="default" in name,
            has_key="keyless" not in name,
        )
        for name in models
    ]
    assert {each.model for each in found if each.id == chosen(provider, found)} == {which}


@pytest.mark.parametrize(
    ("models", "why"), [([], NO_MODEL), (["gpt-3.5-turbo", "gpt-image-1"], NO_MODEL), (["gpt-5.5 keyless"], NO_KEY)]
)
def test_where_none_fits_it_is_said_what_is_missing(models: list[str], why: str) -> None:
    found = [candidate(name.split()[0], "openai", has_key="keyless" not in name) for name in models]
    with pytest.raises(NoneFits) as told:
        chosen("openai", found)
    assert str(told.value) == why.format(provider="openai")


async def test_what_is_stored_decides(database: Database, seed: World) -> None:
    made: dict[str, UUID] = {}
    for kind in ("anthropic", "openai"):
        provider = AIProvider(type=kind, name=kind, enabled=True, base_url="http://127.0.0.1:1")
        model = ModelConfig(ai_provider_id=provider.id, model=f"{kind}-sees", context_limit=1000, options={})
        off = ModelConfig(
            ai_provider_id=provider.id, model="claude-gpt-5", context_limit=1000, options={}, enabled=False
        )
        made[kind] = model.id
        async with database.begin() as session:
            await insert(session, provider, model, off)
            if kind == "anthropic":
                await insert(session, AIProviderKey(provider_id=provider.id, api_key="x", masked="x"))
            else:
                await insert(session, UserAIProviderKey(user_id=seed.owner_id, ai_provider_id=provider.id, api_key="x"))

    async def found(*, own_keys: bool = True) -> UUID | str:
        async with database.read() as session:
            try:
                return await computer_use.require(session, seed.owner_id, own_keys=own_keys)
            except NoneFits as why:
                return str(why)

    async def put(key: str, value: str) -> None:
        async with database.begin() as session:
            await preferences.put_site(session, {key: value})

    assert await found() == OFF
    await put(features.DESKTOP, "true")
    assert await found() == made["anthropic"]
    await put(features.COMPUTER_USE, "openai")
    assert await found() == made["openai"]
    assert await found(own_keys=False) == NO_KEY.format(provider="openai")
    async with database.begin() as session:
        await fetch(session, "UPDATE ai_providers SET enabled = false WHERE type = 'openai'")
    assert await found() == NO_MODEL.format(provider="openai")
