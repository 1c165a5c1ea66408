"""Clients that answer their own tool calls, against each other, against people who change their mind, and kills."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from models.rules.history import CANCELLED_BY_SEND_INTERRUPT, CANCELLED_BY_USER, CANCELLED_TIMEOUT
from tests.chaos.api import CHATS
from tests.chaos.stack import CHAOS, Stack, ask, content, eventually, said, words
from tests.chaos.watcher import Watcher

pytestmark = CHAOS

TOGETHER = 6
WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALL = {"name": "get_weather", "arguments": {"city": "Bonn"}, "id": "weather"}
RESULT = {"results": [{"tool_call_id": "weather", "output": "grey"}]}


def question(**then: Any) -> str:
    """A message that the model answers with a call of the client's tool, and then so."""
    return ask("what is the weather", tool_calls=[CALL], tokens=0, then=then or {"tokens": 5})


async def create(stack: Stack, text: str) -> str:
    body = content(text) | {
        "organization_id": stack.facts["organization_id"],
        "unsafe_dynamic_tools": [WEATHER],
    }
    async with stack.api() as api:
        return str((await api.post(CHATS, body))["id"])


async def asking(stack: Stack, text: str) -> str:
    """A chat that waits for its client."""
    chat_id = await create(stack, text)
    await stack.rest(chat_id, "requires_action")
    return chat_id


async def submit(stack: Stack, chat_id: str, api: int = 0, body: Any = RESULT) -> httpx.Response:
    async with stack.api(api) as client:
        return await client.http.post(f"{CHATS}/{chat_id}/tool-results", json=body)


async def post(stack: Stack, path: str, body: Any = None, method: str = "POST") -> httpx.Response:
    async with stack.api(1) as client:
        return await client.http.request(method, f"{CHATS}/{path}", json=body)


def results(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["content"][0]["result"] for message in messages if message["role"] == "tool"]


async def test_of_two_clients_that_answer_at_once_one_is_taken(stack: Stack) -> None:
    async def race(_: int) -> None:
        text = question()
        chat_id = await asking(stack, text)
        bodies = [{"results": [{"tool_call_id": "weather", "output": number}]} for number in range(2)]
        came = await asyncio.gather(*(submit(stack, chat_id, number, bodies[number]) for number in range(2)))
        assert sorted(each.status_code for each in came) == [204, 409]
        messages = await stack.rest(chat_id)
        [taken] = results(messages)
        assert came[taken].status_code == 204
        assert said(messages)[-1] == words(5)
        assert len(stack.requests(text)) == 2

    await asyncio.gather(*map(race, range(TOGETHER)))


async def test_whoever_answers_the_moment_they_are_asked_is_heard(stack: Stack) -> None:
    async def race(number: int) -> None:
        chat_id = await create(stack, question())
        async with Watcher(stack, chat_id, "websocket" if number % 2 else "sse") as watcher:

            async def called() -> list[dict[str, Any]]:
                return [event for event in watcher.events if event["type"] == "action_required"]

            [event] = await eventually(called, "the client is asked")
            assert event["action_required"] == {
                "tool_calls": [{"tool_call_id": "weather", "tool_name": "get_weather", "args": '{"city":"Bonn"}'}]
            }
            assert (await submit(stack, chat_id, number % 2)).status_code == 204
            messages = await stack.rest(chat_id)
            await watcher.rests()
            assert watcher.count("action_required") == 1
            assert watcher.messages() == messages
        assert (results(messages), said(messages)[-1]) == (["grey"], words(5))

    await asyncio.gather(*map(race, range(TOGETHER)))


async def _late(stack: Stack, chat_id: str, _: list[dict[str, Any]]) -> None:
    late = "UPDATE chats SET requires_action_deadline_at = now() WHERE id = %(id)s AND status = 'requires_action'"
    await stack.query(f"{late} RETURNING id", id=chat_id)


async def _interrupt(stack: Stack, chat_id: str, _: list[dict[str, Any]]) -> None:
    assert (await post(stack, f"{chat_id}/interrupt")).status_code == 200


async def _say(stack: Stack, chat_id: str, _: list[dict[str, Any]]) -> None:
    body = content(ask("something else", tokens=3)) | {"busy_behavior": "interrupt"}
    sent = await post(stack, f"{chat_id}/messages", body)
    assert (sent.status_code, sent.json()["queued"]) == (200, True)


async def _edit(stack: Stack, chat_id: str, messages: list[dict[str, Any]]) -> None:
    body = content(ask("something else", tokens=3))
    edited = await post(stack, f"{chat_id}/messages/{messages[0]['id']}", body, "PATCH")
    assert edited.status_code == 200


Rival = Callable[[Stack, str, list[dict[str, Any]]], Awaitable[None]]


@pytest.mark.parametrize(
    ("rival", "instead"),
    [
        (_late, CANCELLED_TIMEOUT),
        (_interrupt, CANCELLED_BY_USER),
        (_say, CANCELLED_BY_SEND_INTERRUPT),
        (_edit, ""),
    ],
)
async def test_results_and_what_ends_the_waiting_come_in_one_order_and_nothing_is_left(
    stack: Stack, rival: Rival, instead: str
) -> None:
    """Posted at once to two API processes, with now one and now the other a moment ahead."""

    async def race(number: int) -> None:
        chat_id = await asking(stack, question(tokens=10, interval_ms=20))
        before = await stack.messages(chat_id)

        async def ours() -> httpx.Response:
            await asyncio.sleep(0.005 * (number % 3))
            return await submit(stack, chat_id)

        submitted, _ = await asyncio.gather(ours(), rival(stack, chat_id, before))
        assert submitted.status_code in (204, 409)
        messages = await stack.rest(chat_id)
        if rival is _edit:
            assert (results(messages), said(messages)) == ([], [words(3)])
            return
        [result] = results(messages)
        assert result == ("grey" if submitted.status_code == 204 else {"error": instead})
        if rival is _say:
            assert said(messages)[-1] == words(3)
        elif rival is _late:
            assert said(messages)[-1] == words(10)
        else:
            assert words(10).startswith("".join(said(messages)[1:]))

    await asyncio.gather(*map(race, range(TOGETHER)))


@pytest.mark.parametrize("failpoint", ["worker.before_commit", "worker.after_commit"])
async def test_a_worker_that_dies_around_the_commit_of_a_call_leaves_a_client_that_is_asked(
    stack: Stack, failpoint: str
) -> None:
    text = question()
    async with stack.only_worker(failpoint=failpoint) as armed:
        chat_id = await create(stack, text)
        assert await armed.wait() == -9
        if failpoint == "worker.after_commit":  # nobody is there to bring it anywhere
            assert [message["role"] for message in await stack.rest(chat_id, "requires_action")] == [
                "user",
                "assistant",
            ]
            assert (await submit(stack, chat_id)).status_code == 204
    if failpoint == "worker.before_commit":
        await stack.rest(chat_id, "requires_action")
        assert (await submit(stack, chat_id)).status_code == 204
    messages = await stack.rest(chat_id)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert (results(messages), said(messages)[-1]) == (["grey"], words(5))
    assert len(stack.requests(text)) == (2 if failpoint == "worker.after_commit" else 3)


async def test_a_chat_that_waits_for_its_client_survives_all_roles(stack: Stack) -> None:
    chat_id = await asking(stack, question())
    [before] = await stack.query("SELECT * FROM chats WHERE id = %(id)s", id=chat_id)
    for role in ("worker", "temporal", "postgres", "api"):
        await (await stack.kill(role))
    [after] = await stack.query("SELECT * FROM chats WHERE id = %(id)s", id=chat_id)
    assert after == before
    await stack.rest(chat_id, "requires_action")  # the last process to be replaced answers again
    assert (await submit(stack, chat_id)).status_code == 204
    messages = await stack.rest(chat_id)
    assert (results(messages), said(messages)[-1]) == (["grey"], words(5))
