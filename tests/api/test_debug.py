"""The laws of debug logging on the wire: who may switch it, who may read what was recorded."""

from uuid import UUID, uuid4

import pytest

from api.routes.switches import FORCED, NOT_ALLOWED
from models.settings import Settings
from models.store import debug
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk

GATE, OWN = f"{CHATS}/config/debug-logging", f"{CHATS}/config/user-debug-logging"


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def record(talk: Talk, chat: UUID, *, kind: str = "chat_turn") -> debug.Place:
    """A worker's step, recorded to its end."""
    async with talk.api.resources.database.begin() as session:
        [tip] = await fetch(session, "SELECT max(id) AS id FROM chat_messages WHERE chat_id = %(id)s", {"id": chat})
        run_id = None if kind == "chat_turn" else uuid4()
        begun = debug.Begun(chat, kind, "stream", {"messages": []}, tip["id"], run_id, None, "openai", "gpt")
        place = await debug.begin(session, begun)
        assert place is not None
        ended = debug.Ended("completed", "completed", {"content": []}, {"input_tokens": 3}, None, [{"number": 1}])
        await debug.end(session, place, ended)
    return place


async def test_the_gate_is_an_administrators_and_hidden_from_others(owner: Person, member: Person, api: Api) -> None:
    auditor = await api.person("auditor", site_roles=("auditor",))
    closed = {"allow_users": False, "forced_by_deployment": False}
    assert (await owner.client.get(GATE)).json() == closed
    assert (await auditor.client.get(GATE)).json() == closed
    assert (await member.client.get(GATE)).status_code == 404
    for person in (member, auditor):
        assert (await person.client.put(GATE, json={"allow_users": True})).status_code == 403
    assert (await owner.client.put(GATE, json={"allow_users": True})).status_code == 204
    assert (await auditor.client.get(GATE)).json() == {"allow_users": True, "forced_by_deployment": False}


async def test_ones_own_switch_works_behind_an_open_gate_only(owner: Person, member: Person) -> None:
    refused = await member.client.put(OWN, json={"debug_logging_enabled": True})
    assert (refused.status_code, refused.json()["message"]) == (403, NOT_ALLOWED)
    await owner.client.put(GATE, json={"allow_users": True})
    assert (await member.client.put(OWN, json={"debug_logging_enabled": True})).status_code == 204
    on = {"debug_logging_enabled": True, "user_toggle_allowed": True, "forced_by_deployment": False}
    assert (await member.client.get(OWN)).json() == on
    assert (await owner.client.get(OWN)).json()["debug_logging_enabled"] is False, "it is each person's own"
    await owner.client.put(GATE, json={"allow_users": False})
    assert (await member.client.get(OWN)).json()["debug_logging_enabled"] is False
    await owner.client.put(GATE, json={"allow_users": True})
    assert (await member.client.get(OWN)).json() == on, "the choice was kept"


class TestForced:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"temporal_address": "127.0.0.1:9", "debug_logging": True})

    async def test_a_deployment_that_records_everything_says_so(self, owner: Person, member: Person) -> None:
        refused = await member.client.put(OWN, json={"debug_logging_enabled": False})
        assert (refused.status_code, refused.json()["message"]) == (409, FORCED)
        told = {"debug_logging_enabled": True, "user_toggle_allowed": False, "forced_by_deployment": True}
        assert (await member.client.get(OWN)).json() == told
        assert (await owner.client.get(GATE)).json()["forced_by_deployment"] is True


async def test_runs_are_listed_newest_first_and_shown_with_their_steps(talk: Talk) -> None:
    chat = await talk.start("what is a mutex?")
    await record(talk, chat, kind="title_generation")
    place = await record(talk, chat)
    listed = (await talk.client.get(f"{CHATS}/{chat}/debug/runs")).json()
    assert [each["kind"] for each in listed] == ["chat_turn", "title_generation"]
    run = (await talk.client.get(f"{CHATS}/{chat}/debug/runs/{place.run_id}")).json()
    assert {key: run[key] for key in listed[0]} == listed[0]
    assert run["summary"] == {
        "label": "what is a mutex?",
        "step_count": 1,
        "attempt_count": 1,
        "input_tokens": 3,
        "output_tokens": 0,
    }
    [step] = run["steps"]
    assert (step["step_number"], step["operation"], step["status"]) == (1, "stream", "completed")
    assert step["attempts"] == [{"number": 1}]
    assert "error" not in step, "what is absent has no key"


async def test_what_is_not_a_run_of_this_chat_is_not_there(talk: Talk) -> None:
    chat, other = await talk.start(), await talk.start()
    place = await record(talk, other)
    wrong = await talk.client.get(f"{CHATS}/{chat}/debug/runs/nonsense")
    assert (wrong.status_code, wrong.json()["message"]) == (400, "Invalid debug run ID.")
    for run in (place.run_id, uuid4()):
        assert (await talk.client.get(f"{CHATS}/{chat}/debug/runs/{run}")).status_code == 404
    assert (await talk.client.get(f"{CHATS}/{chat}/debug/runs")).json() == []


async def test_what_was_edited_away_or_archived_is_not_shown_any_more(talk: Talk) -> None:
    chat = await talk.start("first")
    await talk.answer(chat)
    first = (await talk.history(chat))["messages"][-1]
    await record(talk, chat)
    edited = {"content": [{"type": "text", "text": "second"}]}
    assert (await talk.client.patch(f"{CHATS}/{chat}/messages/{first['id']}", json=edited)).status_code == 200
    assert (await talk.client.get(f"{CHATS}/{chat}/debug/runs")).json() == []
    await record(talk, chat)
    assert len((await talk.client.get(f"{CHATS}/{chat}/debug/runs")).json()) == 1
    await talk.archive(chat)
    assert (await talk.client.get(f"{CHATS}/{chat}/debug/runs")).json() == []


async def test_a_payload_that_is_not_an_object_is_shown_as_malformed(talk: Talk) -> None:
    chat = await talk.start()
    place = await record(talk, chat)
    async with talk.api.resources.database.begin() as session:
        query = "UPDATE chat_debug_steps SET normalized_request = '[1]', attempts = '{}', details = 'null'"
        await fetch(session, query)
    run = (await talk.client.get(f"{CHATS}/{chat}/debug/runs/{place.run_id}")).json()
    [step] = run["steps"]
    assert (step["normalized_request"]["error"], step["normalized_request"]["raw"]) == ("malformed debug payload", [1])
    assert step["attempts"][0]["error"] == "malformed attempts payload"
    assert step["metadata"] == {}
