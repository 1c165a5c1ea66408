"""The laws of our way to Temporal: it never fails a caller, and says what is known."""

from uuid import UUID, uuid4

import pytest
from temporalio.client import Client

from models.settings import Settings
from models.steps import StepReply, Then
from tests.temporal import Server, free_port
from tests.workflows.performers import Script, Step, rest, worker
from workflows.client import CHAT, OWNER, Temporal, workflow_id


def settings_for(address: str, task_queue: str) -> Settings:
    return Settings(temporal_address=address, task_queue=task_queue, temporal_ui_url="http://ui.example/")


@pytest.fixture
async def ours(temporal_server: Server, task_queue: str) -> Temporal:
    return await Temporal.connect(settings_for(temporal_server.address, task_queue))


async def test_without_a_server_nothing_fails(task_queue: str) -> None:
    away = await Temporal.connect(settings_for(f"127.0.0.1:{free_port()}", task_queue))
    await away.nudge(uuid4(), uuid4(), 1)
    assert not await away.nudged(uuid4(), uuid4(), 1)
    assert not await away.healthy()
    explained = await away.explain(uuid4())
    assert explained["available"] is False
    assert explained["error"] == "Temporal is away.", "where it should be is nothing to readers"
    await away.close()


async def test_it_finds_a_server_that_comes_later(task_queue: str) -> None:
    server = Server()
    early = await Temporal.connect(settings_for(server.address, task_queue))
    assert not await early.healthy()
    server.start()
    try:
        while not await early.healthy():
            pass
        assert await early.nudged(uuid4(), uuid4(), 1)
    finally:
        server.stop()


async def test_an_unknown_signal_is_a_mistake_in_our_code(ours: Temporal) -> None:
    with pytest.raises(ValueError, match="unknown signal"):
        await ours.nudge(uuid4(), uuid4(), 1, signal="wokn")


async def test_a_nudge_starts_a_run_that_people_and_servers_can_tell_apart(
    ours: Temporal, temporal: Client, task_queue: str
) -> None:
    chat_id, owner_id = uuid4(), uuid4()
    script = Script(generate=[StepReply(Then.NEXT_TURN, 3), rest(5)])
    async with worker(temporal, task_queue, script):
        await ours.nudge(chat_id, owner_id, 1, signal="message_queued")
        handle = temporal.get_workflow_handle(workflow_id(chat_id))
        await handle.result()
    runs = [run async for run in temporal.list_workflows(f"ChatId = '{chat_id}' AND OwnerId = '{owner_id}'")]
    assert len(runs) == 2, "a promoted message's run has the attributes too"
    described = await handle.describe()
    assert described.typed_search_attributes[CHAT] == str(chat_id)
    assert described.typed_search_attributes[OWNER] == str(owner_id)
    assert described.raw_description.workflow_execution_info.priority.fairness_key == str(owner_id)
    first = await temporal.get_workflow_handle(handle.id, run_id=runs[-1].run_id).describe()
    assert await first.static_summary() == f"a turn of chat {chat_id}"


async def test_explain_tells_what_a_run_waits_for(ours: Temporal, temporal: Client, task_queue: str) -> None:
    chat_id = uuid4()
    slow = Step(rest(5))
    async with worker(temporal, task_queue, Script(generate=[slow])):
        assert await ours.explain(chat_id) == {
            "available": True,
            "workflow_id": f"chat-{chat_id}",
            "running": False,
        }
        await ours.nudge(chat_id, uuid4(), 1)
        await slow.begun.wait()
        during = await ours.explain(chat_id)
        slow.release.set()
        await temporal.get_workflow_handle(workflow_id(chat_id)).result()
    assert during["state"] == {"step": 1, "doing": "step 1: model", "snapshot_version": 1, "stopping": False}
    [pending] = during["pending_activities"]
    assert (pending["effect"], pending["state"], pending["attempt"]) == ("generate", "started", 1)
    assert during["ui_url"].startswith(f"http://ui.example/namespaces/default/workflows/chat-{chat_id}/")
    after = await ours.explain(chat_id)
    assert (after["running"], after["status"]) == (False, "completed")


async def test_explain_does_without_the_state_when_no_worker_answers(ours: Temporal) -> None:
    chat_id = uuid4()
    await ours.nudge(chat_id, uuid4(), 1)
    explained = await ours.explain(chat_id)
    assert (explained["running"], explained["state"]) == (True, None)


async def test_a_server_without_our_search_attributes_runs_the_turn_all_the_same(task_queue: str) -> None:
    server = Server(search_attributes=())
    server.start()
    try:
        ours = await Temporal.connect(settings_for(server.address, task_queue))
        assert await ours.nudged(uuid4(), uuid4(), 1)
        await ours.ensure_search_attributes()
        await ours.ensure_search_attributes()
    finally:
        server.stop()


async def test_running_chats_are_those_with_an_open_run(ours: Temporal, temporal: Client, task_queue: str) -> None:
    chat_id: UUID = uuid4()
    await ours.nudge(chat_id, uuid4(), 1)
    while chat_id not in await ours.running_chats():
        pass
    async with worker(temporal, task_queue, Script()):
        await temporal.get_workflow_handle(workflow_id(chat_id)).result()
    while chat_id in await ours.running_chats():
        pass


async def test_explain_names_the_kind_of_a_failure_and_no_hosts(
    ours: Temporal, temporal: Client, task_queue: str
) -> None:
    async def fail() -> StepReply:
        raise ConnectionError('connection to server at "10.1.2.3" failed')

    chat_id = uuid4()
    async with worker(temporal, task_queue, Script(generate=[fail, fail, fail, fail, Step(rest(5))])):
        await ours.nudge(chat_id, uuid4(), 1)
        while (
            not (pending := (await ours.explain(chat_id)).get("pending_activities")) or not pending[0]["last_failure"]
        ):
            pass
        await temporal.get_workflow_handle(workflow_id(chat_id)).terminate()
    assert pending[0]["last_failure"] == "ConnectionError"
