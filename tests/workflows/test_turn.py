"""The laws of ChatTurn, with fake performers on a real server."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import Priority

from models.steps import Note, StepReply, Then, TurnInput
from tests.workflows.performers import Script, Step, rest, worker
from workflows.client import workflow_id
from workflows.turn import ChatTurn

Handle = WorkflowHandle[ChatTurn, str]


async def start(client: Client, task_queue: str, chat_id: UUID | None = None, version: int = 1) -> Handle:
    chat_id = chat_id or uuid4()
    return await client.start_workflow(
        ChatTurn.run,
        TurnInput(chat_id, version, uuid4()),
        id=workflow_id(chat_id),
        task_queue=task_queue,
        start_signal="woken",
        start_signal_args=[version],
        priority=Priority(fairness_key="owner"),
    )


async def until_closed(handle: Handle) -> None:
    while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
        await asyncio.sleep(0.02)


async def test_a_plain_turn_is_one_effect(temporal: Client, task_queue: str) -> None:
    script = Script(generate=[rest()])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        assert await handle.result() == "turn finished"
    assert script.calls == ["generate"]
    assert script.requests[0].chat_id == UUID(handle.id.removeprefix("chat-"))


async def test_each_reply_names_the_next_effect(temporal: Client, task_queue: str) -> None:
    script = Script(
        generate=[StepReply(Then.USE_TOOLS, 3), StepReply(Then.INTERRUPT, 6)],
        use_tools=[StepReply(Then.GENERATE, 5)],
        interrupt=[rest(7, Note.INTERRUPTED)],
    )
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        assert await handle.result() == "interrupted"
    assert script.calls == ["generate", "use_tools", "generate", "interrupt"]
    assert [request.step for request in script.requests] == [1, 2, 3, 4]


async def test_a_promoted_message_is_a_run_of_its_own(temporal: Client, task_queue: str) -> None:
    script = Script(generate=[StepReply(Then.NEXT_TURN, 4), rest(6)])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        assert await handle.result() == "turn finished"
        while True:  # the server's list lags behind
            runs = [run async for run in temporal.list_workflows(f"WorkflowId = '{handle.id}'")]
            if len(runs) == 2 and WorkflowExecutionStatus.RUNNING not in [run.status for run in runs]:
                break
    assert script.calls == ["generate", "generate"]
    assert sorted(run.status or 0 for run in runs) == sorted(
        [WorkflowExecutionStatus.CONTINUED_AS_NEW, WorkflowExecutionStatus.COMPLETED]
    )


async def test_a_run_ends_only_if_no_newer_version_was_heard_of(temporal: Client, task_queue: str) -> None:
    slow = Step(rest(5))
    script = Script(generate=[slow, rest(7)])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await slow.begun.wait()
        await handle.signal(ChatTurn.message_queued, 6)
        slow.release.set()
        assert await handle.result() == "turn finished"
    assert script.calls == ["generate", "generate"]


async def test_a_signal_that_an_effect_has_already_seen_costs_nothing(temporal: Client, task_queue: str) -> None:
    slow = Step(rest(9))
    script = Script(generate=[slow])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await slow.begun.wait()
        for version in (1, 2, 2, 9):
            await handle.signal(ChatTurn.queue_changed, version)
        slow.release.set()
        await handle.result()
    assert script.calls == ["generate"]


@pytest.mark.parametrize("signal", [ChatTurn.interrupt_requested, ChatTurn.history_edited])
async def test_a_stop_cancels_the_running_effect_and_keeps_its_reply(
    temporal: Client, task_queue: str, signal: object
) -> None:
    streaming = Step(rest(2), stopped=rest(5, Note.INTERRUPTED))
    script = Script(generate=[streaming])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await streaming.begun.wait()
        await handle.signal(signal, 3)  # type: ignore[arg-type]
        assert await handle.result() == "interrupted"
    assert streaming.stops == 1
    assert script.calls == ["generate"]


async def test_a_late_or_doubled_stop_does_not_touch_a_newer_step(temporal: Client, task_queue: str) -> None:
    streaming = Step(rest(12))
    script = Script(generate=[StepReply(Then.NEXT_TURN, 10), streaming])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await streaming.begun.wait()
        for _ in range(2):
            await handle.signal(ChatTurn.interrupt_requested, 8)
        await asyncio.sleep(0.5)
        streaming.release.set()
        assert await handle.result() == "turn finished"
    assert streaming.stops == 0


async def test_a_stop_before_any_worker_took_the_step_asks_the_interrupt_effect(
    temporal: Client, task_queue: str
) -> None:
    script = Script(generate=[StepReply(Then.USE_TOOLS, 3)], interrupt=[rest(5, Note.INTERRUPTED)])
    async with worker(temporal, task_queue, script, tools=False):
        handle = await start(temporal, task_queue)
        while not (await handle.describe()).raw_description.pending_activities or not script.calls:
            await asyncio.sleep(0.02)
        while (await handle.query(ChatTurn.state)).doing != "step 2: tools":
            await asyncio.sleep(0.02)
        await handle.signal(ChatTurn.interrupt_requested, 4)
        while (await handle.query(ChatTurn.state)).doing != "step 3: interrupt":
            await asyncio.sleep(0.02)
    async with worker(temporal, task_queue, script):
        assert await handle.result() == "interrupted"
    assert script.calls == ["generate", "interrupt"]


async def test_a_signal_ends_the_back_off_by_looking_not_by_trying_again(temporal: Client, task_queue: str) -> None:
    script = Script(
        generate=[StepReply(Then.BACK_OFF, 3, delay_seconds=3600, note=Note.RATE_LIMIT)],
        interrupt=[StepReply(Then.BACK_OFF, 4, delay_seconds=3599), rest(6, Note.INTERRUPTED)],
    )
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        while "back-off" not in (await handle.query(ChatTurn.state)).doing:
            await asyncio.sleep(0.02)
        assert (await handle.query(ChatTurn.state)).doing == "back-off 3600.0 s: failed: rate_limit"
        await handle.signal(ChatTurn.message_queued, 4)
        while (await handle.query(ChatTurn.state)).doing != "back-off 3599.0 s":
            await asyncio.sleep(0.02)
        await handle.signal(ChatTurn.interrupt_requested, 5)
        assert await handle.result() == "interrupted"
    assert script.calls == ["generate", "interrupt", "interrupt"]


async def test_a_version_that_was_seen_does_not_end_the_back_off(temporal: Client, task_queue: str) -> None:
    script = Script(generate=[StepReply(Then.BACK_OFF, 3, delay_seconds=0.4), rest(5)])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await handle.signal(ChatTurn.message_queued, 2)
        assert await handle.result() == "turn finished"
    assert script.calls == ["generate", "generate"]


async def test_two_starts_of_one_chat_are_one_run(temporal: Client, task_queue: str) -> None:
    slow = Step(rest(5))
    script = Script(generate=[slow])
    chat_id = uuid4()
    async with worker(temporal, task_queue, script):
        first = await start(temporal, task_queue, chat_id)
        await slow.begun.wait()
        second = await start(temporal, task_queue, chat_id)
        assert second.first_execution_run_id == first.first_execution_run_id
        slow.release.set()
        await first.result()
    assert script.calls == ["generate"]


async def test_a_failing_performer_is_tried_again(temporal: Client, task_queue: str) -> None:
    async def fail() -> StepReply:
        raise RuntimeError("the database is away")

    script = Script(generate=[fail, fail, rest(3)])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        assert await handle.result() == "turn finished"
    assert script.calls == ["generate"] * 3


async def test_paused_tools_are_looked_after_when_somebody_says_so_and_then_go_on(
    temporal: Client, task_queue: str
) -> None:
    paused = StepReply(Then.AWAIT_TOOLS, 3, delay_seconds=3600, note=Note.BUILD_OVER)
    script = Script(
        generate=[StepReply(Then.USE_TOOLS, 3), rest(6)],
        use_tools=[paused, StepReply(Then.GENERATE, 5)],
        attend=[paused, StepReply(Then.USE_TOOLS, 3)],
    )
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        for looks in (1, 2):
            while (await handle.query(ChatTurn.state)).doing != "waits: build_over":
                await asyncio.sleep(0.02)
            await handle.signal(ChatTurn.woken, 0)
            while script.calls.count("attend") < looks:
                await asyncio.sleep(0.02)
        assert await handle.result() == "turn finished"
    assert script.calls == ["generate", "use_tools", "attend", "attend", "use_tools", "generate"]


async def test_a_stop_ends_the_wait_for_paused_tools(temporal: Client, task_queue: str) -> None:
    script = Script(
        generate=[StepReply(Then.USE_TOOLS, 3)],
        use_tools=[StepReply(Then.AWAIT_TOOLS, 3, delay_seconds=3600, note=Note.BUILD_OVER)],
        attend=[StepReply(Then.INTERRUPT, 4)],
        interrupt=[rest(5, Note.INTERRUPTED)],
    )
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        while (await handle.query(ChatTurn.state)).doing != "waits: build_over":
            await asyncio.sleep(0.02)
        await handle.signal(ChatTurn.interrupt_requested, 4)
        assert await handle.result() == "interrupted"
    assert script.calls == ["generate", "use_tools", "attend", "interrupt"]


async def test_what_nobody_says_of_paused_tools_is_found_in_time(temporal: Client, task_queue: str) -> None:
    script = Script(
        generate=[StepReply(Then.USE_TOOLS, 3), rest(6)],
        use_tools=[StepReply(Then.AWAIT_TOOLS, 3, delay_seconds=0.05), StepReply(Then.GENERATE, 5)],
        attend=[StepReply(Then.AWAIT_TOOLS, 3, delay_seconds=0.05), StepReply(Then.USE_TOOLS, 3)],
    )
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        assert await handle.result() == "turn finished"
    assert script.calls == ["generate", "use_tools", "attend", "attend", "use_tools", "generate"]


async def test_a_summary_is_an_effect_of_its_own_and_may_back_off(temporal: Client, task_queue: str) -> None:
    script = Script(
        generate=[StepReply(Then.COMPACT, 3), StepReply(Then.COMPACT, 4), rest(8)],
        compact=[StepReply(Then.BACK_OFF, 4, delay_seconds=0.05, note=Note.OVERLOADED), StepReply(Then.GENERATE, 6)],
    )
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        assert await handle.result() == "turn finished"
    assert script.calls == ["generate", "compact", "generate", "compact", "generate"]


async def test_a_stop_cancels_a_summary(temporal: Client, task_queue: str) -> None:
    writing = Step(rest(9), stopped=rest(5, Note.INTERRUPTED))
    script = Script(generate=[StepReply(Then.COMPACT, 3)], compact=[writing])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await writing.begun.wait()
        await handle.signal(ChatTurn.interrupt_requested, 4)
        assert await handle.result() == "interrupted"
    assert writing.stops == 1


async def test_a_run_can_be_read_in_the_temporal_ui(temporal: Client, task_queue: str) -> None:
    script = Script(
        generate=[StepReply(Then.USE_TOOLS, 3), StepReply(Then.BACK_OFF, 4, 0.01, Note.OVERLOADED), rest(6)]
    )
    script.use_tools = [StepReply(Then.GENERATE, 3)]
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await handle.result()
    history = await handle.fetch_history()
    summaries = [
        event.user_metadata.summary.data.decode().strip('"')
        for event in history.events
        if event.event_type in (EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_TIMER_STARTED)
    ]
    backing_off = "back-off 0.0 s: failed: overloaded"
    assert summaries == ["step 1: model", "step 2: tools", "step 3: model", backing_off, "step 4: model"]


async def test_a_turn_of_two_hundred_steps_has_a_short_history(temporal: Client, task_queue: str) -> None:
    steps = 60  # the law is linear: 60 steps must stay under 60/200 of the budget
    script = Script(
        generate=[StepReply(Then.USE_TOOLS, 2 * n) for n in range(1, steps)] + [rest(2 * steps)],
        use_tools=[StepReply(Then.GENERATE, 2 * n + 1) for n in range(1, steps)],
    )
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue)
        await handle.result(rpc_timeout=timedelta(seconds=60))
    history = await handle.fetch_history()
    assert len(history.events) < 5000 * steps / 200
    assert sum(event.ByteSize() for event in history.events) < 1_000_000 * steps / 200


async def test_the_state_query_names_step_and_version(temporal: Client, task_queue: str) -> None:
    slow = Step(rest(5))
    script = Script(generate=[slow])
    async with worker(temporal, task_queue, script):
        handle = await start(temporal, task_queue, version=4)
        await slow.begun.wait()
        state = await handle.query(ChatTurn.state)
        slow.release.set()
        await handle.result()
    assert (state.step, state.doing, state.snapshot_version, state.stopping) == (1, "step 1: model", 4, False)
