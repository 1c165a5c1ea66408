"""wire-api.md 3.10 to 3.13: the queue, interrupting, tool results, titles."""

from typing import Any
from uuid import UUID

import pytest

from models.store import moves, titles
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.talk import said
from tests.contracts.wire.world import BAD_JSON, World, not_found, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOL = {"name": "look", "description": "Look.", "input_schema": {"type": "object"}}
IN_PROGRESS = "Title regeneration already in progress for this chat."


async def busy(world: World, *queued: str) -> tuple[UUID, list[int]]:
    """A chat that runs, and the ids of what is queued in it."""
    chat = await world.talk.start()
    await world.talk.begin(chat)
    return chat, [(await world.talk.say(chat, words))["queued_message"]["id"] for words in queued]


async def waiting(world: World, chat: UUID) -> list[int]:
    return [each["id"] for each in (await world.talk.history(chat))["queued_messages"]]


async def asking(world: World, *calls: str) -> UUID:
    """A chat whose model waits for its client's results of these calls."""
    chat = await world.talk.start(unsafe_dynamic_tools=[TOOL])
    made = [
        {
            "type": "tool-call",
            "tool_call_id": call,
            "tool_name": "look",
            "args": {},
            "provider_metadata": {"dynamic": True},
        }
        for call in calls
    ]
    await world.commit(chat, StepRow("assistant", [*said("one moment"), *made]))
    assert (await world.talk.get(chat))["status"] == "requires_action"
    return chat


async def submit(world: World, chat: UUID, *results: dict[str, Any], **more: Any) -> Any:
    return await world.ask("POST", f"/{chat}/tool-results", {"results": list(results)}, **more)


def result(call: str, output: Any = 1, **more: Any) -> dict[str, Any]:
    return {"tool_call_id": call, "output": output, **more}


async def test_3_10_a_queued_message_is_deleted_and_deleting_again_is_fine(world: World) -> None:
    chat, [one, two] = await busy(world, "one", "two")
    for _ in range(2):
        response = await world.ask("DELETE", f"/{chat}/queue/{one}")
        assert (response.status_code, response.content) == (204, b"")
    assert await waiting(world, chat) == [two]
    assert (await world.ask("DELETE", f"/{chat}/queue/{two}", by=world.boss)).status_code == 204


@pytest.mark.parametrize("bad", ["x", "1.5", "9223372036854775808"])
async def test_3_10_an_id_that_is_none(world: World, bad: str) -> None:
    chat, _ = await busy(world)
    for method, path in (("DELETE", f"/{chat}/queue/{bad}"), ("POST", f"/{chat}/queue/{bad}/promote")):
        response = await world.ask(method, path)
        refused(response, 400, "Invalid queued message ID.", "*")
        assert "invalid syntax" in response.json()["detail"]


async def test_3_10_promoting_in_a_running_chat_moves_to_the_head_and_is_202(world: World) -> None:
    chat, [one, two] = await busy(world, "one", "two")
    response = await world.ask("POST", f"/{chat}/queue/{two}/promote")
    assert (response.status_code, response.json()) == (202, {"message": "Queued message promotion accepted."})
    assert await waiting(world, chat) == [two, one]


async def test_3_10_promoting_after_an_error_runs_the_message_now(world: World) -> None:
    chat = await world.talk.start()
    queued = (await world.talk.say(chat, "next"))["queued_message"]["id"]
    await world.talk.fail(chat)
    assert (await world.ask("POST", f"/{chat}/queue/{queued}/promote")).status_code == 202
    assert await waiting(world, chat) == []
    assert (await world.talk.history(chat))["messages"][0]["content"] == said("next")
    assert (await world.talk.get(chat))["status"] == "pending"


async def test_3_10_promoting_while_the_client_is_asked_answers_for_it(world: World) -> None:
    chat = await asking(world, "a")
    queued = (await world.talk.say(chat, "never mind"))["queued_message"]["id"]
    assert (await world.ask("POST", f"/{chat}/queue/{queued}/promote")).status_code == 202
    page = await world.talk.history(chat)
    assert [each["role"] for each in page["messages"]] == ["user", "tool", "assistant", "user"]
    assert page["messages"][1]["content"][0]["is_error"] is True


async def test_3_10_faults_of_a_promotion_in_the_documented_order(world: World) -> None:
    chat, [queued] = await busy(world, "one")
    for bad in ("x", str(queued)):
        response = await world.ask("POST", f"/{chat}/queue/{bad}/promote", by=world.boss)
        refused(response, 403, "Only the chat owner may promote queued messages.")
        not_found(await world.ask("POST", f"/{chat}/queue/{bad}/promote", by=world.other))
    not_found(await world.ask("DELETE", f"/{chat}/queue/x", by=world.other))
    await world.talk.archive(chat)
    response = await world.ask("POST", f"/{chat}/queue/x/promote")
    refused(response, 400, "Cannot promote queued messages in an archived chat.")


async def test_3_11_an_idle_chat_is_given_back_unchanged(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.answer(chat)
    before = await world.talk.get(chat)
    response = await world.ask("POST", f"/{chat}/interrupt")
    assert (response.status_code, response.json()) == (200, before)


async def test_3_11_a_running_chat_stops_and_its_answer_is_a_bare_chat(world: World) -> None:
    chat, _ = await busy(world)
    shown = (await world.ask("POST", f"/{chat}/interrupt")).json()
    assert shown["status"] == "interrupting"
    assert (shown["children"], {"files", "diff_status"} & set(shown)) == ([], set())
    assert (await world.ask("POST", f"/{chat}/interrupt", by=world.boss)).status_code == 200
    not_found(await world.ask("POST", f"/{chat}/interrupt", by=world.other))


async def test_3_11_while_the_client_is_asked_its_calls_are_answered_with_an_error(world: World) -> None:
    chat = await asking(world, "a", "b")
    shown = (await world.ask("POST", f"/{chat}/interrupt")).json()
    assert shown["status"] == "waiting"
    answered = [each for each in (await world.talk.history(chat))["messages"] if each["role"] == "tool"]
    parts = [part for message in answered for part in message["content"]]
    assert {part["tool_call_id"] for part in parts} == {"a", "b"}
    assert all(part["is_error"] and "Tool execution interrupted by user" in str(part["result"]) for part in parts)


async def test_3_12_results_are_one_tool_message_each_and_the_turn_goes_on(world: World) -> None:
    chat = await asking(world, "a", "b")
    response = await submit(world, chat, result("b", {"x": [1]}), result("a", "broken", is_error=True))
    assert (response.status_code, response.content) == (204, b"")
    page = await world.talk.history(chat)
    answered = [each for each in page["messages"] if each["role"] == "tool"]
    assert sorted((message["content"][0]["tool_call_id"], len(message["content"])) for message in answered) == [
        ("a", 1),
        ("b", 1),
    ]
    by_call = {message["content"][0]["tool_call_id"]: message["content"][0] for message in answered}
    assert (by_call["a"]["result"], by_call["a"]["is_error"]) == ("broken", True)
    assert (by_call["b"]["result"], "is_error" in by_call["b"]) == ({"x": [1]}, False)
    assert (await world.talk.get(chat))["status"] == "pending"


async def test_3_12_faults_of_results_in_the_documented_order(world: World) -> None:
    chat = await asking(world, "a", "b")
    no_output = {"tool_call_id": "a"}
    cases: tuple[tuple[list[dict[str, Any]], str, str | None], ...] = (
        ([], "At least one tool result is required.", None),
        ([result("a"), no_output, result("x")], "Duplicate tool_call_id in results.", 'Duplicate tool call ID "a".'),
        ([no_output, result("x")], "Missing tool result.", 'Missing result for tool call "b".'),
        ([no_output, result("b"), result("x")], "Unexpected tool result.", 'No pending tool call with ID "x".'),
        (
            [no_output, result("b")],
            "Tool result output must be valid JSON.",
            'Output for tool call "a" is not valid JSON.',
        ),
    )
    for results, message, detail in cases:
        refused(await submit(world, chat, *results), 400, message, detail)
    refused(await world.ask("POST", f"/{chat}/tool-results", content=b"{"), 400, BAD_JSON, "*")
    assert (await world.talk.get(chat))["status"] == "requires_action"


async def test_3_12_who_and_whether_come_before_what(world: World) -> None:
    chat = await asking(world, "a")
    not_found(await submit(world, chat, by=world.other))
    refused(await submit(world, chat, by=world.boss), 403, "Only the chat owner may submit tool results.")
    idle = await world.talk.start()
    refused(await submit(world, idle), 400, "At least one tool result is required.")
    wanted = 'Chat status is "pending", expected "requires_action".'
    refused(await submit(world, idle, result("a")), 409, "Chat is not waiting for tool results.", wanted)
    await world.talk.archive(chat)
    response = await world.ask("POST", f"/{chat}/tool-results", content=b"{")
    refused(response, 400, "Cannot submit tool results to an archived chat.")


async def test_3_12_a_body_over_its_cap_is_bad_json(world: World) -> None:
    chat = await asking(world, "a")
    response = await submit(world, chat, result("a", "x" * 262_144))
    refused(response, 400, BAD_JSON, "http: request body too large")


@pytest.mark.parametrize(("path", "verb"), [("regenerate", "regenerate the title"), ("propose", "propose a title")])
async def test_3_13_titles_are_for_the_owner_and_one_at_a_time(world: World, path: str, verb: str) -> None:
    chat = await world.talk.start()
    address = f"/{chat}/title/{path}"
    refused(await world.ask("POST", address), 409, IN_PROGRESS)  # it is pending: its first title may come
    await world.talk.answer(chat)
    not_found(await world.ask("POST", address, by=world.other))
    refused(await world.ask("POST", address, by=world.boss), 403, f"Only the chat owner may {verb}.")
    async with world.api.resources.database.begin() as session:
        assert await titles.hold(session, chat) is not None
    refused(await world.ask("POST", address), 409, IN_PROGRESS)


async def test_3_13_over_the_spend_limit_no_title_is_made_but_a_held_one_is_told_first(world: World) -> None:
    free, held = await world.talk.start(), await world.talk.start()
    for chat in (free, held):
        await world.talk.answer(chat, usage={"output_tokens": 1}, total_cost_micros=7)
    async with world.api.resources.database.begin() as session:
        assert await titles.hold(session, held) is not None
    try:
        await world.ask("PUT", "/usage-limits", {"spend_limit_micros": 1, "period": "month"}, by=world.owner)
        for path in ("regenerate", "propose"):
            response = await world.ask("POST", f"/{free}/title/{path}")
            assert (response.status_code, response.json()["message"]) == (409, "Chat usage limit exceeded.")
            refused(await world.ask("POST", f"/{held}/title/{path}"), 409, IN_PROGRESS)
    finally:
        await world.ask("PUT", "/usage-limits", {"spend_limit_micros": None}, by=world.owner)
    async with world.api.resources.database.read() as session:
        [row] = await fetch(session, "SELECT title_locked_at FROM chats WHERE id = %(id)s", {"id": free})
    assert row["title_locked_at"] is None


async def test_10_2_a_finished_turn_with_a_queue_goes_straight_to_the_next(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.say(chat, "next")
    await world.talk.answer(chat)
    shown, page = await world.talk.get(chat), await world.talk.history(chat)
    assert (shown["status"], page["queued_messages"]) == ("pending", [])
    assert page["messages"][0]["content"] == said("next")
    assert page["messages"][0]["created_by"] == str(world.member.id)


async def test_10_2_after_an_error_the_queue_is_kept(world: World) -> None:
    chat = await world.talk.start()
    queued = (await world.talk.say(chat, "next"))["queued_message"]["id"]
    async with world.api.resources.database.begin() as session:
        opened = await moves.open_attempt(session, chat, max_attempts=25, max_steps=100)
    async with world.api.resources.database.begin() as session:
        error = {"message": "no", "kind": "auth", "retryable": False}
        await moves.finish_error(session, opened.fence, error)
    assert await waiting(world, chat) == [queued]
    assert (await world.talk.get(chat))["status"] == "error"
