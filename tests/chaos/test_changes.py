"""Keys, providers, defaults and settings change while turns run on two workers behind two API processes.

A running turn ends as it began; the next one is made of what holds now, whichever worker has it.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest_asyncio

from models.store.secrets import key_id
from tests.chaos.stack import CHAOS, CHATS, Stack, ask, said, words
from tests.fakes.provider import Received

pytestmark = CHAOS
PROVIDERS = "/api/v2/ai/providers"
MOST = 40  # chats, until both workers had one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pids(running: Stack) -> AsyncIterator[list[int]]:
    """The processes of two workers."""
    async with running.second_worker() as second:
        yield [*running.pids("worker"), second.pid]


async def slow(stack: Stack) -> tuple[str, str, Received]:
    """A chat whose turn streams by now; its text and the provider's request."""
    text = ask("before the change", tokens=60, interval_ms=40)
    chat_id = await stack.create(text)
    return chat_id, text, await stack.asked(text, tokens=5)


async def on_both(stack: Stack, pids: Sequence[int]) -> list[Received]:
    """What the provider is asked by turns that begin now, at least one of them on each of these workers."""
    found: list[Received] = []
    served: set[int] = set()
    chats: list[str] = []
    while not served >= set(pids):
        assert len(chats) < MOST, f"only {served} of {pids} took turns"
        texts = [ask("after the change", tokens=20, interval_ms=30) for _ in range(4)]
        chats += await asyncio.gather(*(stack.create(text) for text in texts))
        for text in texts:
            found.append(await stack.asked(text, tokens=1))
            served.add(stack.worker_of(found[-1]))
    for chat_id in chats:
        assert said(await stack.rest(chat_id)) == [words(20)]
    return found


def key_of(received: Received) -> str:
    return received.headers["authorization"].removeprefix("Bearer ")


async def model_of(stack: Stack, name: str) -> dict[str, Any]:
    async with stack.api() as api:
        found: dict[str, Any] = next(each for each in await api.get(f"{CHATS}/model-configs") if each["model"] == name)
    return found


async def command(stack: Stack, keys: Sequence[str], *arguments: str) -> tuple[int, Any]:
    """`turnstone keys …` with these keys; its exit code and what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTONE_")}
    own = {"TURNSTONE_DATABASE_URL": stack.facts["database_url"], "TURNSTONE_SECRET_KEYS": ",".join(keys)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "turnstone", "keys", *arguments, "--json", env=clean | own, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return process.returncode or 0, json.loads(told)


async def test_the_encryption_key_is_changed_under_running_turns(stack: Stack, pids: list[int]) -> None:
    old, new = stack.secret_keys
    chat_id, text, _ = await slow(stack)
    code, done = await command(stack, [new, old], "rotate", "--batch", "1")
    assert (code, done["key"], done["unreadable"]) == (0, key_id(new), {})
    assert done["rotated"] >= 1
    # Every worker forgets what it has opened, and opens it again.
    async with stack.api(0) as one, stack.api(1) as two:
        for api in (one, two):
            await api.change("PATCH", f"{PROVIDERS}/fake", {"display_name": ""})
        code, listed = await command(stack, [new, old], "list", "--without", key_id(old))
        assert (code, [each["state"] for each in listed]) == (0, ["encrypts"])
        assert {key_of(each) for each in await on_both(stack, pids)} == {"sk-fake"}
        assert said(await stack.rest(chat_id)) == [words(60)]
        assert len(stack.requests(text)) == 1
        # These processes store under the old key still: it cannot be dropped before they know better.
        settings = {"_type": "azure", "_version": 1, "api_version": "2025-01-01"}
        body = {"type": "azure", "name": "late", "base_url": "https://example.com", "settings": settings}
        made = await one.post(PROVIDERS, body)
        assert (await command(stack, [new, old], "list", "--without", key_id(old)))[0] == 1
        assert (await command(stack, [new, old], "rotate"))[1]["rotated"] == 1
        assert (await two.get(f"{PROVIDERS}/late"))["settings"] == made["settings"]
        # Now it can be: a worker that has never heard of the old key opens all there is.
        async with stack.second_worker(TURNSTONE_SECRET_KEYS=new) as newcomer:
            assert {key_of(each) for each in await on_both(stack, [newcomer.pid])} == {"sk-fake"}
        await two.change("DELETE", f"{PROVIDERS}/late")


async def test_a_provider_is_deleted_and_the_default_moves_on_under_running_turns(
    stack: Stack, pids: list[int]
) -> None:
    usual = await model_of(stack, "fake-1")
    body = {"type": "openai-compat", "name": "doomed", "enabled": True, "base_url": stack.fake.openai_url}
    async with stack.api(0) as one, stack.api(1) as two:
        try:
            doomed = await one.post(PROVIDERS, body | {"api_keys": ["sk-doomed"]})
            model = {"ai_provider_id": doomed["id"], "model": "doomed-1", "context_limit": 100_000}
            config = await two.post(f"{CHATS}/model-configs", model | {"is_default": True})
            chat_id, text, received = await slow(stack)
            assert (received.body["model"], key_of(received)) == ("doomed-1", "sk-doomed")
            await two.change("DELETE", f"{PROVIDERS}/doomed")
            # The default goes to the first in the list, the same one for everybody.
            lists = [await api.get(f"{CHATS}/model-configs") for api in (one, two)]
            assert lists[0] == lists[1]
            assert [each["is_default"] for each in lists[0]] == [True, *[False] * (len(lists[0]) - 1)]
            assert config["id"] not in {each["id"] for each in lists[0]}
            await one.change("PATCH", f"{CHATS}/model-configs/{usual['id']}", {"is_default": True})
            asked = await on_both(stack, pids)
            assert {(each.body["model"], key_of(each)) for each in asked} == {("fake-1", "sk-fake")}
            messages = await stack.rest(chat_id)
            assert said(messages) == [words(60)]
            assert len(stack.requests(text)) == 1
            assert messages[-1]["model_config_id"] == config["id"]
            # Its history is read, and it goes on with the default.
            again = ask("go on", tokens=3)
            await stack.send(chat_id, again)
            messages = await stack.rest(chat_id)
            assert said(messages) == [words(60), words(3)]
            assert messages[-1]["model_config_id"] == usual["id"]
        finally:
            await one.change("PATCH", f"{CHATS}/model-configs/{usual['id']}", {"is_default": True})


async def test_a_new_key_and_a_new_setting_hold_for_the_next_turn_on_every_worker(
    stack: Stack, pids: list[int]
) -> None:
    async with stack.api(0) as one, stack.api(1) as two:
        chat_id, text, received = await slow(stack)
        try:
            await one.change("PUT", f"{CHATS}/config/system-prompt", {"system_prompt": "Speak as a pirate does."})
            await two.change("PATCH", f"{PROVIDERS}/fake", {"api_keys": [{"api_key": "sk-renewed"}]})
            assert (await two.get(f"{CHATS}/config/system-prompt"))["system_prompt"] == "Speak as a pirate does."
            asked = await on_both(stack, pids)
            assert {key_of(each) for each in asked} == {"sk-renewed"}
            assert all("Speak as a pirate does." in json.dumps(each.body["messages"]) for each in asked)
            assert said(await stack.rest(chat_id)) == [words(60)]
            assert stack.requests(text) == [received]
            assert key_of(received) == "sk-fake"
        finally:
            await one.change("PUT", f"{CHATS}/config/system-prompt", {"system_prompt": ""})
            await one.change("PATCH", f"{PROVIDERS}/fake", {"api_keys": [{"api_key": "sk-fake"}]})
