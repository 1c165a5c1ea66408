"""The laws of the search for words: one at a time for each chat, beside its turns, and last in line."""

import asyncio
from uuid import UUID, uuid4

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from models.errors import Unavailable
from models.settings import Settings
from models.steps import Naming, TitleOutcome, TitleReply, TitleRequest
from tests.temporal import Server, free_port
from tests.workflows.performers import Script, worker
from workflows.client import LAST, Temporal, title_workflow_id
from workflows.effect import Queue
from workflows.sandbox import WORKFLOWS, runner

OWNER = uuid4()


@pytest.fixture
async def ours(temporal_server: Server, task_queue: str) -> Temporal:
    return await Temporal.connect(Settings(temporal_address=temporal_server.address, task_queue=task_queue))


def automatic(chat_id: UUID) -> TitleRequest:
    return TitleRequest(chat_id, Naming.AUTOMATIC)


class Slow:
    """A search that takes until it is released, and counts how often it was begun."""

    def __init__(self) -> None:
        self.begun: list[Naming] = []
        self.release = asyncio.Event()

    @activity.defn(name="title")
    async def title(self, request: TitleRequest) -> TitleReply:
        self.begun.append(request.naming)
        while not self.release.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.05)
        return TitleReply(TitleOutcome.SAVED, 1)

    async def until(self, count: int) -> None:
        while len(self.begun) < count:
            await asyncio.sleep(0.02)

    def workers(self, client: Client, task_queue: str) -> tuple[Worker, Worker]:
        aside = Queue.ASIDE.beside(task_queue)
        return (
            Worker(client, task_queue=task_queue, workflows=WORKFLOWS, workflow_runner=runner(), build_id="test"),
            Worker(client, task_queue=aside, activities=[self.title], build_id="test"),
        )


async def test_a_search_is_one_effect_and_says_what_it_came_to(
    ours: Temporal, temporal: Client, task_queue: str
) -> None:
    chat_id, script = uuid4(), Script()
    async with worker(temporal, task_queue, script):
        assert await ours.start_title(automatic(chat_id), OWNER)
        handle = temporal.get_workflow_handle(title_workflow_id(chat_id, Naming.AUTOMATIC), result_type=TitleReply)
        assert await handle.result() == TitleReply(TitleOutcome.SAVED, 7)
    assert script.calls == ["title automatic"]
    described = await handle.describe()
    assert described.raw_description.workflow_execution_info.priority.priority_key == LAST


async def test_a_second_search_joins_the_one_that_runs_and_a_label_is_sought_beside_it(
    ours: Temporal, temporal: Client, task_queue: str
) -> None:
    chat_id, slow = uuid4(), Slow()
    turns, aside = slow.workers(temporal, task_queue)
    async with turns, aside:
        assert await ours.start_title(automatic(chat_id), OWNER)
        assert await ours.start_title(automatic(chat_id), OWNER)
        assert await ours.start_title(TitleRequest(chat_id, Naming.LABEL), OWNER)
        await slow.until(2)
        slow.release.set()
        for naming in (Naming.AUTOMATIC, Naming.LABEL):
            await temporal.get_workflow_handle(title_workflow_id(chat_id, naming)).result()
    assert sorted(slow.begun) == [Naming.AUTOMATIC, Naming.LABEL]


async def test_a_person_who_asks_ends_the_search_that_nobody_asked_for(
    ours: Temporal, temporal: Client, task_queue: str
) -> None:
    chat_id, slow = uuid4(), Slow()
    turns, aside = slow.workers(temporal, task_queue)
    async with turns, aside:
        await ours.start_title(automatic(chat_id), OWNER)
        first = temporal.get_workflow_handle(
            title_workflow_id(chat_id, Naming.AUTOMATIC), run_id=(await _run_id(temporal, chat_id))
        )
        await slow.until(1)
        asking = asyncio.create_task(ours.title(TitleRequest(chat_id, Naming.REGENERATE, "then"), OWNER))
        await slow.until(2)
        slow.release.set()
        assert (await asking).outcome is TitleOutcome.SAVED
    assert (await first.describe()).status is WorkflowExecutionStatus.TERMINATED


async def test_a_search_that_fails_is_told_as_a_failure(ours: Temporal, temporal: Client, task_queue: str) -> None:
    chat_id = uuid4()
    asking = asyncio.create_task(ours.title(TitleRequest(chat_id, Naming.PROPOSE, "then"), OWNER))
    handle = temporal.get_workflow_handle(
        title_workflow_id(chat_id, Naming.PROPOSE), run_id=await _run_id(temporal, chat_id)
    )
    await handle.terminate()
    reply = await asking
    assert reply.outcome is TitleOutcome.FAILED
    assert reply.note


async def test_without_a_server_nothing_is_sought_and_only_who_waits_is_told(task_queue: str) -> None:
    away = await Temporal.connect(Settings(temporal_address=f"127.0.0.1:{free_port()}", task_queue=task_queue))
    assert not await away.start_title(automatic(uuid4()), OWNER)
    with pytest.raises(Unavailable):
        await away.title(TitleRequest(uuid4(), Naming.PROPOSE, "then"), OWNER)


async def _run_id(client: Client, chat_id: UUID) -> str:
    """The run that is there first under the id of the chat's title."""
    query = f"WorkflowId = '{title_workflow_id(chat_id, Naming.AUTOMATIC)}'"
    while True:
        async for found in client.list_workflows(query):
            return found.run_id
        await asyncio.sleep(0.02)
