"""Sub-agents' chats as the API shows them: below their root, newest first, with their kind, and what is waited for."""

from datetime import timedelta
from uuid import UUID

import pytest

from activities.tools.endings import Event, Pause
from models.parts import text
from models.rules.executions import Policy
from models.store import ledger, moves
from models.store.ledger import Intent
from models.store.moves import StepRow
from models.store.stream import Episode
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk
from tests.models.store.chats import opened
from tests.models.store.families import row_of

CALL = {"type": "tool-call", "tool_call_id": "w", "tool_name": "wait_agent", "args": {}}


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def spawned(talk: Talk, root: UUID, mode: str | None) -> UUID:
    """A sub-agent's chat, as the tool makes it."""
    async with talk.api.resources.database.begin() as session:
        parent = (await moves.lock(session, root)).chat
        made = await moves.create(
            session,
            owner_id=parent["owner_id"],
            organization_id=parent["organization_id"],
            title="t",
            content=[text("look")],
            model_config_id=parent["last_model_config_id"],
            created_by=parent["owner_id"],
            parent=parent,
            mode=mode,
        )
    child: UUID = made.chat["id"]
    return child


async def test_sub_agents_are_shown_below_their_root_and_what_is_waited_for_is_explained(talk: Talk) -> None:
    database, root = talk.api.resources.database, await talk.start()
    first = await opened(database, root)
    async with database.begin() as session:
        await moves.commit_step(session, first.fence, [StepRow("assistant", [text("so"), CALL])])
    fence, message = (second := await opened(database, root)).fence, second.history[-1]["id"]
    made = [await spawned(talk, root, mode) for mode in (None, "explore")]
    async with database.begin() as session:
        episode = Episode(fence.history_version, fence.generation_attempt)
        await ledger.claim(session, root, episode, message, [Intent("w", "wait_agent", Policy.IDEMPOTENT)])
        pause = Pause("a sub-agent to end", Event.CHILD_OVER, made[0], timedelta(minutes=5))
        await ledger.pause(session, root, episode, message, {"w": pause})
    listed = (await talk.client.get(CHATS)).json()
    for shown in (await talk.get(root), next(each for each in listed if each["id"] == str(root))):
        assert "mode" not in shown
        assert [(child["id"], child.get("mode")) for child in shown["children"]] == [
            (str(made[1]), "explore"),
            (str(made[0]), None),
        ]
    alone = await talk.get(made[1])
    assert (alone["parent_chat_id"], alone["root_chat_id"], alone["mode"]) == (str(root), str(root), "explore")
    explained = (await talk.client.get(f"{CHATS}/{root}/explain")).json()
    assert [(each["tool_name"], each["waits_for"]) for each in explained["tool_calls"]] == [
        ("wait_agent", "a sub-agent to end")
    ]
    refused = await talk.client.patch(f"{CHATS}/{made[0]}", json={"pin_order": 1})
    assert (refused.status_code, refused.json()["message"]) == (400, "Cannot pin a child chat.")
    sent = {"content": [{"type": "text", "text": "more"}], "mcp_server_ids": []}
    assert (await talk.client.post(f"{CHATS}/{made[1]}/messages", json=sent)).status_code == 200
    assert (await row_of(database, made[1]))["queue_version"] == 2, "its owner may talk to it as well"
