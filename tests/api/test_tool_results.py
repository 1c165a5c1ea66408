"""Client-provided tools over HTTP: declared at create, answered through `tool-results`."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.rules.history import CANCELLED_BY_USER, DYNAMIC
from models.store import moves
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.trips import trips

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def ask(talk: Talk, *calls: str, chat: UUID | None = None) -> UUID:
    """A chat whose model has called the client's tool, once for each of these ids."""
    chat = chat or await talk.start(unsafe_dynamic_tools=[WEATHER])
    fence = await talk.begin(chat)
    made = [
        {
            "type": "tool-call",
            "tool_call_id": call,
            "tool_name": "get_weather",
            "args": {"city": "Köln"},
            "provider_metadata": {DYNAMIC: True},
        }
        for call in calls
    ]
    async with talk.api.resources.database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", [*said("let me see"), *made])])
    return chat


async def submit(talk: Talk, chat: UUID, *results: dict[str, Any], **headers: str) -> tuple[int, str, str | None]:
    response = await talk.client.post(f"{CHATS}/{chat}/tool-results", json={"results": list(results)}, headers=headers)
    if response.status_code == 204:
        assert response.content == b""
        return 204, "", None
    body = response.json()
    return response.status_code, body["message"], body.get("detail")


def result(call: str, output: Any, **more: Any) -> dict[str, Any]:
    return {"tool_call_id": call, "output": output, **more}


async def results_of(talk: Talk, chat: UUID) -> list[dict[str, Any]]:
    page = await talk.history(chat)
    return [part for message in reversed(page["messages"]) if message["role"] == "tool" for part in message["content"]]


async def test_results_that_answer_every_call_are_stored_and_the_turn_goes_on(talk: Talk) -> None:
    chat = await ask(talk, "one", "two")
    assert (await talk.get(chat))["status"] == "requires_action"
    answers = result("two", {"error": "no such city"}, is_error=True), result("one", "rain\x00")
    assert (await submit(talk, chat, *answers))[0] == 204
    shown = await results_of(talk, chat)
    assert [(part["tool_call_id"], part["tool_name"], part["result"]) for part in shown] == [
        ("one", "get_weather", "rain\x00"),
        ("two", "get_weather", {"error": "no such city"}),
    ]
    assert [part.get("is_error", False) for part in shown] == [False, True]
    assert (await talk.get(chat))["status"] == "pending"
    await talk.answer(chat)
    assert (await talk.get(chat))["status"] == "waiting"


@pytest.mark.parametrize("output", [None, 0, False, "", "text", [], {"a": {"b": [1.5, None]}}])
async def test_any_json_value_is_an_output(talk: Talk, output: Any) -> None:
    chat = await ask(talk, "one")
    assert (await submit(talk, chat, result("one", output)))[0] == 204
    [shown] = await results_of(talk, chat)
    assert shown["result"] == output
    assert type(shown["result"]) is type(output)


async def test_what_is_wrong_with_results_is_told_in_the_documented_order_and_words(talk: Talk) -> None:
    chat = await ask(talk, "one", "two")
    good = result("one", 1), result("two", 2)
    cases = [
        ([], 400, "At least one tool result is required.", None),
        ([good[0], good[0]], 400, "Duplicate tool_call_id in results.", 'Duplicate tool call ID "one".'),
        ([good[0]], 400, "Missing tool result.", 'Missing result for tool call "two".'),
        ([*good, result("x", 1)], 400, "Unexpected tool result.", 'No pending tool call with ID "x".'),
        (
            [good[1], {"tool_call_id": "one"}],
            400,
            "Tool result output must be valid JSON.",
            'Output for tool call "one" is not valid JSON.',
        ),
        ([{**good[0], "is_error": "perhaps"}, good[1]], 400, "Validation failed.", None),
    ]
    before = await talk.get(chat)
    for results, status, message, detail in cases:
        assert await submit(talk, chat, *results) == (status, message, detail)
    for body in (b"", b"{", b"[]", b'{"results": [' + b" " * 262_144 + b"]}"):
        response = await talk.client.post(f"{CHATS}/{chat}/tool-results", content=body)
        assert (response.status_code, response.json()["message"]) == (400, "Request body must be valid JSON."), body[:9]
    assert (await talk.client.post(f"{CHATS}/{chat}/tool-results", json={"results": None})).json()["message"] == (
        "At least one tool result is required."
    )
    assert await talk.get(chat) == before
    assert (await submit(talk, chat, *good, **{"Content-Type": "text/plain"}))[0] == 204


async def test_results_of_the_largest_body_are_taken(talk: Talk) -> None:
    chat = await ask(talk, "one")
    assert (await submit(talk, chat, result("one", "x" * 262_000)))[0] == 204


async def test_a_chat_that_does_not_wait_for_results_says_where_it_is(talk: Talk) -> None:
    chat = await talk.start()
    wanted = 'Chat status is "{}", expected "requires_action".'
    assert await submit(talk, chat, result("a", 1)) == (
        409,
        "Chat is not waiting for tool results.",
        wanted.format("pending"),
    )
    assert (await submit(talk, chat))[1] == "At least one tool result is required.", "what is asked is judged first"
    await talk.fail(chat)
    assert (await submit(talk, chat, result("a", 1)))[2] == wanted.format("error")


async def test_only_the_owner_answers_and_never_in_an_archived_chat(talk: Talk, owner: Person, api: Api) -> None:
    chat = await ask(talk, "one")
    assert await submit(Talk(api, owner), chat, result("one", 1)) == (
        403,
        "Only the chat owner may submit tool results.",
        None,
    )
    other = await api.person("other", org_roles=("agents-access",))
    assert (await submit(Talk(api, other), chat, result("one", 1)))[0] == 404
    assert (await submit(talk, uuid4(), result("one", 1)))[0] == 404
    async with api.resources.database.begin() as session:
        await moves.archive(session, chat)
    assert await submit(talk, chat) == (400, "Cannot submit tool results to an archived chat.", None)


async def test_results_under_one_key_are_taken_once_and_their_answer_is_repeated(talk: Talk) -> None:
    chat = await ask(talk, "one")
    key = {"Idempotency-Key": "answer-1"}
    assert (await submit(talk, chat, result("one", 1), **key))[0] == 204
    assert (await submit(talk, chat, result("one", 1)))[0] == 409
    assert (await submit(talk, chat, result("one", 1), **key))[0] == 204
    assert (await submit(talk, chat, result("one", 2), **key))[0] == 422
    assert len(await results_of(talk, chat)) == 1


async def test_of_two_clients_that_submit_at_once_one_is_taken(talk: Talk) -> None:
    chat = await ask(talk, "one")
    came = await asyncio.gather(*(submit(talk, chat, result("one", number)) for number in range(2)))
    assert sorted(status for status, _, _ in came) == [204, 409]
    [shown] = await results_of(talk, chat)
    assert came[shown["result"]][0] == 204


async def test_results_take_few_round_trips(talk: Talk) -> None:
    chat = await ask(talk, "one")
    await talk.get(chat)  # who asks is known for a while
    with trips(talk.api.resources.database) as counted:
        assert (await submit(talk, chat, result("one", 1)))[0] == 204
    # lock and look, write, commit
    assert counted.count == 3


async def test_a_stop_while_the_client_is_asked_answers_for_it_and_rests(talk: Talk) -> None:
    chat = await ask(talk, "one")
    stopped = await talk.client.post(f"{CHATS}/{chat}/interrupt")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "waiting")
    [shown] = await results_of(talk, chat)
    assert (shown["result"], shown["is_error"]) == ({"error": CANCELLED_BY_USER}, True)
    assert (await submit(talk, chat, result("one", 1)))[0] == 409


async def test_a_stop_while_the_client_is_asked_runs_what_is_queued(talk: Talk) -> None:
    chat = await ask(talk, "one")
    await talk.say(chat, "something else")
    stopped = await talk.client.post(f"{CHATS}/{chat}/interrupt")
    assert stopped.json()["status"] == "pending"
    page = await talk.history(chat)
    assert page["messages"][0]["content"] == said("something else")
    assert page["queued_messages"] == []


async def test_explain_says_until_when_the_client_may_take(talk: Talk) -> None:
    chat = await ask(talk, "one")
    told = (await talk.client.get(f"{CHATS}/{chat}/explain")).json()
    assert (told["state"], told["waits_for"]) == ("A0", "A client's results for its tool calls.")
    assert told["requires_action_deadline_at"]


async def test_declared_tools_are_stored_with_the_chat_and_not_shown(talk: Talk) -> None:
    plain = {"name": "a b", "description": "nul \x00", "input_schema": None}
    chat = await talk.start(unsafe_dynamic_tools=[WEATHER, plain])
    async with talk.api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT dynamic_tools FROM chats WHERE id = %(id)s", {"id": chat})
    assert row["dynamic_tools"] == [WEATHER, {"name": "a b", "description": "nul \ue000\ue001"}]
    assert "dynamic_tools" not in await talk.get(chat)


async def test_a_schema_that_could_not_be_written_again_is_refused(talk: Talk) -> None:
    deep: Any = {}
    for _ in range(250):
        deep = [deep]
    body = {
        "organization_id": str(talk.api.organization_id),
        "content": said("hi"),
        "unsafe_dynamic_tools": [{"name": "deep", "input_schema": deep}],
    }
    response = await talk.client.post(CHATS, json=body)
    assert (response.status_code, response.json()["message"]) == (400, "Invalid dynamic tool.")
