"""What we do differently from the reference on purpose, as docs/compatibility.md says, where no other test shows it."""

from uuid import UUID

import pytest

from tests.api.talk import said
from tests.contracts.wire.world import NOWHERE, World, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_NOW = "The chat does not allow this now."


async def test_a_bearer_token_signs_in_and_a_token_in_the_address_changes_nothing(world: World) -> None:
    bearer = {"Authorization": f"Bearer {world.member.token}"}
    assert (await world.api.stranger.get("/api/v2/chats", headers=bearer)).status_code == 200
    query = {"coder_session_token": world.member.token}
    assert (await world.api.stranger.post("/api/v2/chats", params=query, json=world.new())).status_code == 401


async def test_a_pending_chat_that_is_stopped_is_interrupting(world: World) -> None:
    chat = await world.talk.start()
    assert (await world.ask("POST", f"/{chat}/interrupt")).json()["status"] == "interrupting"
    sent = await world.talk.say(chat, "more")
    assert sent["queued"] is True


async def test_promoting_what_is_not_in_the_queue_is_404(world: World) -> None:
    chat = await world.talk.start()
    response = await world.ask("POST", f"/{chat}/queue/4611686018427387904/promote")
    refused(response, 404, "Failed to promote queued message.", "queued message not found")


async def test_in_an_archived_chat_nothing_can_be_stopped_or_taken_back(world: World) -> None:
    chat = await world.talk.start()
    await world.talk.answer(chat)
    await world.talk.archive(chat)
    for method, path in (("POST", "/interrupt"), ("DELETE", "/queue/1")):
        refused(await world.ask(method, f"/{chat}{path}"), 409, NOT_NOW, "*")


async def test_an_answer_that_cost_nothing_is_priced(world: World) -> None:
    chat = await world.talk.start()
    model = UUID(await world.model())
    await world.talk.answer(chat, usage={"output_tokens": 5}, total_cost_micros=0, model_config_id=model)
    shown = (await world.ask("GET", f"/{chat}/cost")).json()
    assert (shown["priced_message_count"], shown["unpriced_message_count"]) == (1, 0)


async def test_a_cursor_too_large_for_an_id_is_a_bad_query_and_no_500(world: World) -> None:
    chat = await world.talk.start()
    response = await world.ask("GET", f"/{chat}/messages", params={"after_id": str(2**70)})
    assert response.status_code == 400


async def test_every_answer_has_a_request_id(world: World) -> None:
    for path in ("", f"/{NOWHERE}", "/nonsense"):
        assert (await world.ask("GET", path)).headers["x-request-id"]


async def test_with_nobody_to_run_it_a_message_is_still_taken(world: World) -> None:
    """Nothing drives chats here: the reference would answer 500 `Chat processor is unavailable.`"""
    chat = await world.talk.start()
    await world.talk.say(chat, "queued")
    assert (await world.ask("POST", f"/{chat}/interrupt")).status_code == 200
    message = (await world.talk.history(chat))["messages"][0]["id"]
    assert (await world.ask("PATCH", f"/{chat}/messages/{message}", {"content": said("b")})).status_code == 200
