"""Record the histories that every later version of the workflows must replay: `python -m tests.workflows.record`.

Each is a run of the real workflow on a real server, with fake performers. Record a new one for a new shape of turn;
never record an old one again to make a failing replay pass: runs like it may still be open somewhere.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

from temporalio.client import Client, WorkflowHandle

from models.steps import (
    BuildRequest,
    DeliveryReply,
    DeliveryRequest,
    Naming,
    Note,
    StepReply,
    Then,
    TitleRequest,
    TurnInput,
)
from tests.temporal import Server
from tests.workflows.performers import Script, Step, rest, worker
from workflows.build import WorkspaceBuild
from workflows.client import build_workflow_id, delivery_workflow_id, title_workflow_id, workflow_id
from workflows.delivery import WebhookDelivery
from workflows.housekeeping import Housekeeping
from workflows.sweep import Sweep
from workflows.title import ChatTitle
from workflows.turn import ChatTurn

HISTORIES = Path(__file__).parent / "histories"
CHAT = UUID("019a0000-0000-7000-8000-000000000001")
OWNER = UUID("019a0000-0000-7000-8000-000000000002")

Handle = WorkflowHandle[ChatTurn, str]
Act = Callable[[Handle], Awaitable[None]]


async def start(client: Client, queue: str) -> Handle:
    return await client.start_workflow(
        ChatTurn.run,
        TurnInput(CHAT, 1, OWNER),
        id=workflow_id(CHAT),
        task_queue=queue,
        start_signal="message_queued",
        start_signal_args=[1],
    )


async def nothing(_: Handle) -> None:
    """The turn goes by itself."""


def after(step: Step, signal: Callable[..., None], version: int) -> Act:
    async def act(handle: Handle) -> None:
        await step.begun.wait()
        await handle.signal(signal, version)
        step.release.set()

    return act


async def stop_in_back_off(handle: Handle) -> None:
    while "back-off" not in (await handle.query(ChatTurn.state)).doing:
        await asyncio.sleep(0.02)
    await handle.signal(ChatTurn.interrupt_requested, 4)


def turns() -> dict[str, tuple[Script, Act]]:
    """Every shape of turn, by name."""
    stopped = Step(rest(9), stopped=rest(4, Note.INTERRUPTED))
    edited = Step(rest(9), stopped=StepReply(Then.GENERATE, 4))
    queued = Step(StepReply(Then.NEXT_TURN, 4))
    heard = Step(rest(3))
    again = StepReply(Then.BACK_OFF, 3, 0.05, Note.RATE_LIMIT)
    return {
        "plain": (Script(generate=[rest(3)]), nothing),
        "tools": (
            Script(
                generate=[StepReply(Then.USE_TOOLS, 3), rest(7)],
                use_tools=[StepReply(Then.GENERATE, 5)],
            ),
            nothing,
        ),
        "retry": (Script(generate=[again, rest(5)]), nothing),
        "stop_in_back_off": (
            Script(generate=[StepReply(Then.BACK_OFF, 3, 600, Note.OVERLOADED)], interrupt=[rest(5, Note.INTERRUPTED)]),
            stop_in_back_off,
        ),
        "interrupt": (Script(generate=[stopped]), after(stopped, ChatTurn.interrupt_requested, 3)),
        "interrupt_without_producer": (
            Script(generate=[StepReply(Then.INTERRUPT, 3)], interrupt=[rest(4, Note.INTERRUPTED)]),
            nothing,
        ),
        "edit": (Script(generate=[edited, rest(7)]), after(edited, ChatTurn.history_edited, 3)),
        "compact": (
            Script(generate=[StepReply(Then.COMPACT, 3), rest(7)], compact=[StepReply(Then.GENERATE, 5)]),
            nothing,
        ),
        "next_turn": (Script(generate=[queued, rest(6)]), after(queued, ChatTurn.message_queued, 3)),
        "look_again": (Script(generate=[heard, rest(6)]), after(heard, ChatTurn.woken, 5)),
    }


async def histories(client: Client) -> AsyncIterator[tuple[str, str]]:
    """Names and histories; a turn that went on as another run has one each."""
    for name, (script, act) in turns().items():
        queue = f"record-{uuid4()}"
        async with worker(client, queue, script):
            handle = await start(client, queue)
            await act(handle)
            await handle.result()
        first = client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
        yield name, (await first.fetch_history()).to_json()
        last = client.get_workflow_handle(handle.id)
        if (await last.describe()).run_id != handle.first_execution_run_id:
            yield f"{name}_second_run", (await last.fetch_history()).to_json()
    queue = f"record-{uuid4()}"
    async with worker(client, queue, Script()):
        sweep = await client.start_workflow(Sweep.run, "recorded", id="turnstone-sweep", task_queue=queue)
        await sweep.result()
    yield "sweep", (await sweep.fetch_history()).to_json()
    queue = f"record-{uuid4()}"
    async with worker(client, queue, Script()):
        request = TitleRequest(CHAT, Naming.AUTOMATIC)
        title = await client.start_workflow(
            ChatTitle.run, request, id=title_workflow_id(CHAT, request.naming), task_queue=queue
        )
        await title.result()
    yield "title", (await title.fetch_history()).to_json()
    queue = f"record-{uuid4()}"
    async with worker(client, queue, Script()):
        round_ = await client.start_workflow(
            Housekeeping.run, "every few minutes", id="turnstone-housekeeping", task_queue=queue
        )
        await round_.result()
    yield "housekeeping", (await round_.fetch_history()).to_json()
    queue = f"record-{uuid4()}"
    async with worker(client, queue, Script(deliver=[DeliveryReply(Note.UNDELIVERED, 0.1, 500)])):
        going = DeliveryRequest(CHAT, 7)
        delivery = await client.start_workflow(
            WebhookDelivery.run, going, id=delivery_workflow_id(going), task_queue=queue
        )
        await delivery.result()
    yield "delivery", (await delivery.fetch_history()).to_json()
    queue = f"record-{uuid4()}"
    async with worker(client, queue, Script()):
        asked = BuildRequest(CHAT, OWNER)
        build = await client.start_workflow(
            WorkspaceBuild.run, asked, id=build_workflow_id(asked.build_id), task_queue=queue
        )
        await build.result()
    yield "build", (await build.fetch_history()).to_json()


async def record(wanted: set[str]) -> None:
    """Write what is not there yet, or was asked for by name."""
    server = Server()
    server.start()
    try:  # under a name of its own, not the machine's
        async for name, history in histories(await Client.connect(server.address, identity="recorder")):
            path = HISTORIES / f"{name}.json"
            if not path.exists() or name in wanted:
                path.write_text(json.dumps(json.loads(history), indent=1) + "\n")
                print(f"recorded {path.name}")
    finally:
        server.stop()


if __name__ == "__main__":
    asyncio.run(record(set(sys.argv[1:])))
