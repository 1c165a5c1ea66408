"""The laws of recording: complete where it is wanted, absent where it is not, and never in a turn's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from activities.ask import Payer, ask
from activities.catalog import Catalog
from activities.providers.provider import ModelRequest
from activities.recorder import MOST, Recorder, Subject
from models.errors import ProviderFailed
from models.steps import Outcome
from models.store import debug, switches
from models.store.database import Database, fetch
from models.store.secrets import Cipher
from tests.activities.stack import Stack, worker
from tests.activities.test_serve import LONG, process
from tests.fakes.behaviour import Behaviour


@asynccontextmanager
async def recording_worker(stack: Stack) -> AsyncIterator[None]:
    """A worker of a deployment that records everything."""
    stack.settings = stack.settings.model_copy(update={"debug_logging": True})
    async with worker(stack):
        yield


async def runs(stack: Stack, chat_id: UUID) -> list[dict[str, Any]]:
    """The recorded runs with their steps, oldest first."""
    async with stack.database.read() as session:
        listed = await debug.runs(session, chat_id)
        return [await debug.run(session, chat_id, each["id"]) for each in reversed(listed)]


async def recorded(stack: Stack, chat_id: UUID, count: int = 1) -> list[dict[str, Any]]:
    """The same, once so many turns are recorded to their end: it is done after the turn."""
    while True:
        turns = [run for run in await runs(stack, chat_id) if run["kind"] == "chat_turn"]
        if len([run for run in turns if run["status"] != "in_progress"]) >= count:
            return turns
        await asyncio.sleep(0.02)


async def test_a_turn_of_several_steps_is_one_run(stack: Stack) -> None:
    call = {"name": "current_time", "arguments": {}}
    stack.fake.script(Behaviour(tokens=2, tool_calls=[call]), Behaviour(text="It is late."))
    async with recording_worker(stack):
        chat_id = await stack.create("what time is it?")
        await stack.rest(chat_id)
        [run] = await recorded(stack, chat_id)
    messages = await stack.messages(chat_id)
    assert (run["kind"], run["status"], run["provider"], run["model"]) == (
        "chat_turn",
        "completed",
        "openai-compat",
        "fake-model",
    )
    assert run["summary"]["label"] == "what time is it?"
    assert run["trigger_message_id"] == messages[0].id
    assert run["finished_at"] >= run["started_at"]
    first, second = run["steps"]
    assert [each["step_number"] for each in run["steps"]] == [1, 2]
    assert (first["assistant_message_id"], second["assistant_message_id"]) == (messages[1].id, messages[3].id)
    assert first["normalized_request"]["messages"][-1]["content"] == "what time is it?"
    assert [part["type"] for part in first["normalized_response"]["content"]] == ["text", "tool-call"]
    assert second["normalized_response"]["content"][0]["text"] == "It is late."
    assert second["usage"]["output_tokens"]
    [attempt] = second["attempts"]
    assert (attempt["number"], attempt["status"], attempt["response_status"]) == (1, "completed", 200)
    assert attempt["url"] == f"{stack.fake.openai_url}/chat/completions"
    assert attempt["request_body"]["model"] == "fake-model"
    assert "late" in attempt["response_body"]
    assert attempt["duration_ms"] >= 0


async def test_no_credential_is_in_what_is_recorded(stack: Stack) -> None:
    async with recording_worker(stack):
        chat_id = await stack.create("my key is sk-abcdefghijklmnopqrstuvwxyz")
        await stack.rest(chat_id)
        [run] = await recorded(stack, chat_id)
    [attempt] = run["steps"][0]["attempts"]
    assert attempt["request_headers"]["authorization"] == "[redacted]"
    whole = orjson.dumps(run).decode()
    assert "sk-test" not in whole
    assert "abcdefghijklmnop" not in whole.replace(run["summary"]["label"], "")


async def test_a_step_that_is_tried_again_is_one_step_with_several_attempts(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=500), Behaviour(status=429), Behaviour(text="at last"))
    async with recording_worker(stack):
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
        [run] = await recorded(stack, chat_id)
    [step] = run["steps"]
    assert (run["status"], step["status"]) == ("completed", "completed")
    assert [(each["number"], each["status"], each["response_status"]) for each in step["attempts"]] == [
        (1, "error", 500),
        (2, "error", 429),
        (3, "completed", 200),
    ]
    assert all(each["error"] for each in step["attempts"][:2])
    assert "error" not in step


async def test_a_final_failure_is_the_end_of_its_run(stack: Stack) -> None:
    stack.fake.script(Behaviour(status=401))
    async with recording_worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
        [run] = await recorded(stack, chat_id)
    [step] = run["steps"]
    assert (run["status"], step["status"]) == ("error", "error")
    assert chat.last_error is not None
    assert step["error"]["message"] == chat.last_error["message"]


async def test_a_stopped_turn_is_recorded_with_what_it_had_said(stack: Stack) -> None:
    stack.fake.script(Behaviour(tokens=500, interval_ms=10))
    async with recording_worker(stack):
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        await stack.interrupt(chat_id)
        await stack.rest(chat_id)
        [run] = await recorded(stack, chat_id)
    [step] = run["steps"]
    assert (run["status"], step["status"]) == ("interrupted", "interrupted")
    assert step["normalized_response"]["content"][0]["text"].startswith("w0 ")


async def test_nothing_is_recorded_unless_somebody_asked_for_it(stack: Stack) -> None:
    async with worker(stack):
        chat_id = await stack.create("hello")
        await stack.rest(chat_id)
        assert await runs(stack, chat_id) == []
        async with stack.database.begin() as session:
            await switches.set_enabled_for(session, stack.world.owner_id, True)
        await stack.send(chat_id, "the gate is closed")
        await stack.rest(chat_id)
        assert await runs(stack, chat_id) == []


async def test_a_switch_takes_effect_from_the_next_call_on(stack: Stack) -> None:
    async with worker(stack):
        chat_id = await stack.create("before")
        await stack.rest(chat_id)
        async with stack.database.begin() as session:
            await switches.set_allow_users(session, True)
            await switches.set_enabled_for(session, stack.world.owner_id, True)
        recorder = stack.resources[-1].recorder
        while recorder._known is not None:  # the notice is on its way
            await asyncio.sleep(0.005)
        await stack.send(chat_id, "during")
        await stack.rest(chat_id)
        [run] = await recorded(stack, chat_id)
        async with stack.database.begin() as session:
            await switches.set_enabled_for(session, stack.world.owner_id, False)
        while recorder._known is not None:
            await asyncio.sleep(0.005)
        await stack.send(chat_id, "after")
        await stack.rest(chat_id)
    assert run["summary"]["label"] == "during"
    assert [each["summary"]["label"] for each in await runs(stack, chat_id)] == ["during"]


async def test_a_turn_does_not_wait_for_its_record(stack: Stack) -> None:
    """The tables of records are locked by somebody else: the turn ends as if nobody recorded."""
    async with recording_worker(stack):
        connection = await stack.database.connect()
        async with connection, connection.transaction():
            await connection.execute("LOCK TABLE chat_debug_runs IN ACCESS EXCLUSIVE MODE")
            chat_id = await stack.create("hello")
            chat = await stack.rest(chat_id)
            assert chat.status == "waiting"
        [run] = await recorded(stack, chat_id)
    assert run["status"] == "completed"


async def test_a_record_that_cannot_be_written_costs_the_turn_nothing(stack: Stack) -> None:
    async with stack.database.begin() as session:
        await fetch(session, "DROP TABLE chat_debug_steps")
    async with recording_worker(stack):
        chat_id = await stack.create("hello")
        chat = await stack.rest(chat_id)
    assert (chat.status, chat.last_error) == ("waiting", None)


@pytest.fixture
async def recorder(stack: Stack) -> AsyncIterator[Recorder]:
    made = Recorder(stack.database, stack.settings.model_copy(update={"debug_logging": True}))
    yield made
    await made.close()


async def test_an_end_of_less_weight_does_not_undo_another(stack: Stack, recorder: Recorder) -> None:
    """A zombie's attempt ends after that of the worker which took over."""
    chat_id = await stack.create("hello", signal="")
    subject = Subject("chat_turn", chat_id, stack.world.owner_id, (await stack.messages(chat_id))[0].id)
    model = await _model(stack)
    attempts = [await recorder.recording(subject, model, number=number) for number in (1, 2)]
    for each in attempts:
        assert each is not None
        each.asked(ModelRequest("openai-compat", "m", []), dict)
    for each, outcome in zip(reversed(attempts), (Outcome.FINISHED, Outcome.INTERRUPTED), strict=True):
        assert each is not None
        each.end(outcome)
        await asyncio.gather(*recorder._tasks)
    [run] = await runs(stack, chat_id)
    assert (run["status"], run["steps"][0]["status"]) == ("completed", "completed")


async def test_a_call_beside_a_turn_is_a_run_by_itself(stack: Stack, recorder: Recorder) -> None:
    chat_id = await stack.create("hello", signal="")
    for _ in range(2):
        recording = await recorder.recording(Subject("quickgen", chat_id, stack.world.owner_id), await _model(stack))
        assert recording is not None
        with recording.alone():
            recording.asked(ModelRequest("openai-compat", "m", []), dict)
        await asyncio.gather(*recorder._tasks)
    assert [(run["kind"], run["status"], len(run["steps"])) for run in await runs(stack, chat_id)] == [
        ("quickgen", "completed", 1),
        ("quickgen", "completed", 1),
    ]


async def test_what_was_edited_away_meanwhile_is_not_recorded(
    stack: Stack, recorder: Recorder, database: Database
) -> None:
    chat_id = await stack.create("hello", signal="")
    subject = Subject("chat_turn", chat_id, stack.world.owner_id, (await stack.messages(chat_id))[0].id)
    async with database.begin() as session:
        await fetch(session, "UPDATE chat_messages SET deleted = true")
    recording = await recorder.recording(subject, await _model(stack))
    assert recording is not None
    recording.asked(ModelRequest("openai-compat", "m", []), dict)
    recording.end(Outcome.FINISHED)
    await asyncio.gather(*recorder._tasks)
    async with database.read() as session:
        assert await fetch(session, "SELECT 1 FROM chat_debug_runs") == []


async def _model(stack: Stack) -> Any:
    found = await Catalog(
        stack.database, Cipher(stack.settings.secret_keys.get_secret_value()), own_keys=False
    ).resolve([], stack.world.owner_id)
    assert found is not None
    return found


async def test_a_question_aside_is_recorded_as_what_it_is_for(stack: Stack) -> None:
    stack.settings = stack.settings.model_copy(update={"debug_logging": True})
    stack.fake.script(Behaviour(text="A fine title"), Behaviour(status=500))
    chat_id = await stack.create("hello", signal="")
    asked: list[dict[str, Any]] = [{"role": "user", "content": "a title, please"}]
    subject = Subject("title_generation", chat_id, stack.world.owner_id)
    async with worker(stack) as resources:
        model = await _model(stack)
        more: dict[str, Any] = {"max_tokens": 9, "timeout": timedelta(seconds=30), "subject": subject}
        more["payer"] = Payer({"id": chat_id, "is_budgeted": False})
        answer = await ask(resources, model, asked, **more)
        with pytest.raises(ProviderFailed):
            await ask(resources, model, asked, **more)
        while len(found := await runs(stack, chat_id)) < 2 or any(run["status"] == "in_progress" for run in found):
            await asyncio.sleep(0.02)
    good, bad = sorted(found, key=lambda run: str(run["status"]))  # completed, error
    assert answer.text == "A fine title"
    assert (good["kind"], good["status"], good["steps"][0]["operation"]) == (
        "title_generation",
        "completed",
        "generate",
    )
    assert good["steps"][0]["normalized_response"]["content"][0]["text"] == "A fine title"
    assert good["steps"][0]["normalized_request"]["messages"] == asked
    assert (bad["status"], bad["steps"][0]["attempts"][0]["response_status"]) == ("error", 500)
    assert bad["steps"][0]["error"]["status_code"] == 500


async def test_a_step_that_a_dead_worker_began_is_ended_by_the_next(stack: Stack, recorder: Recorder) -> None:
    chat_id = await stack.create("hello", signal="")
    subject = Subject("chat_turn", chat_id, stack.world.owner_id, (await stack.messages(chat_id))[0].id)
    for number in (1, 2):
        recording = await recorder.recording(subject, await _model(stack), number=number)
        assert recording is not None
        recording.asked(ModelRequest("openai-compat", "m", []), dict)
        await asyncio.gather(*recorder._tasks)
    assert (await runs(stack, chat_id))[0]["status"] == "in_progress"
    assert recording is not None
    recording.end(Outcome.FINISHED)
    await asyncio.gather(*recorder._tasks)
    [run] = await runs(stack, chat_id)
    assert (run["status"], [step["status"] for step in run["steps"]]) == ("completed", ["completed"])


async def test_a_turn_whose_worker_was_killed_is_still_one_run(stack: Stack, tmp_path: Path) -> None:
    stack.fake.script(LONG, Behaviour(text="from another"))
    async with process(stack, tmp_path, TURNSTONE_DEBUG_LOGGING="true") as first:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        while not await runs(stack, chat_id):
            await asyncio.sleep(0.02)
        first.kill()
        await first.wait()
    async with recording_worker(stack):
        await stack.rest(chat_id)
        [run] = await recorded(stack, chat_id)
    [step] = run["steps"]
    assert (run["status"], step["status"], step["attempts"][0]["number"]) == ("completed", "completed", 2)
    assert step["normalized_response"]["content"][0]["text"] == "from another"


async def test_a_recorder_that_is_closed_gives_up_what_it_cannot_write(stack: Stack) -> None:
    recorder = Recorder(stack.database, stack.settings.model_copy(update={"debug_logging": True}))
    chat_id = await stack.create("hello", signal="")
    connection = await stack.database.connect()
    async with connection, connection.transaction():
        await connection.execute("LOCK TABLE chat_debug_runs IN ACCESS EXCLUSIVE MODE")
        recording = await recorder.recording(Subject("quickgen", chat_id, stack.world.owner_id), await _model(stack))
        assert recording is not None
        recording.asked(ModelRequest("openai-compat", "m", []), dict)
        await recorder.close()
    assert recorder._tasks == set()


async def test_more_calls_than_can_be_written_are_not_recorded(stack: Stack, recorder: Recorder) -> None:
    chat_id = await stack.create("hello", signal="")
    waiting = asyncio.Event()
    for _ in range(MOST):
        recorder.spawn(waiting.wait(), 60)
    assert await recorder.recording(Subject("quickgen", chat_id, stack.world.owner_id), await _model(stack)) is None
    waiting.set()
