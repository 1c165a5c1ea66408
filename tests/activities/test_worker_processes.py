"""`turnstone worker --processes`: many are as one, but for the work they do and the deaths they survive."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from models.parts import text
from models.settings import Settings
from models.store import moves
from models.tables.people import User
from tests.activities.stack import Stack, worker
from tests.fakes.behaviour import Behaviour
from tests.seeds import insert
from turnstone.processes import command_line

LONG = Behaviour(tokens=3000, interval_ms=10)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def processes(
    settings: Settings, folder: Path, count: int, **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, with so many workers that are ready."""
    ready = folder / "ready"
    environment = {
        "PATH": os.defpath,
        "TURNSTONE_DATABASE_URL": settings.database_url,
        "TURNSTONE_TEMPORAL_ADDRESS": settings.temporal_address,
        "TURNSTONE_TASK_QUEUE": settings.task_queue,
        "TURNSTONE_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        **more,
    }
    arguments = ("worker", "--processes", str(count), "--ready-path", str(ready))
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "turnstone", *arguments, env=environment, cwd=Path(__file__).parents[2]
    )
    try:
        await appears(ready, started)
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def appears(ready: Path, started: asyncio.subprocess.Process) -> None:
    while not ready.exists():
        assert started.returncode is None, "the command ended"
        await asyncio.sleep(0.02)


async def gone(pids: list[int]) -> None:
    while any(map(command_line, pids)):
        await asyncio.sleep(0.02)


async def test_no_turn_waits_at_a_full_worker_while_another_is_idle(stack: Stack, tmp_path: Path) -> None:
    async with processes(stack.settings, tmp_path, 3, TURNSTONE_MODEL_SLOTS="1"):
        for _ in range(3):
            stack.fake.script(*[LONG] * 9)  # a worker that stalls under load may lose a turn to another
            chats = [await stack.create("hello") for _ in range(3)]
            for chat_id in chats:
                await stack.streaming(chat_id)  # all at once: each of them has a worker of its own
            assert {(await stack.chat(chat_id)).status for chat_id in chats} == {"running"}
            for chat_id in chats:
                await stack.interrupt(chat_id)
            for chat_id in chats:
                await stack.rest(chat_id)


async def test_a_killed_worker_is_replaced_and_its_turn_goes_on_beside_it(stack: Stack, tmp_path: Path) -> None:
    stack.fake.script(LONG, Behaviour(text="from another"))
    async with processes(stack.settings, tmp_path, 2) as keeper:
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        before = children(keeper.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await stack.rest(chat_id)
        await appears(tmp_path / "ready", keeper)
        after = children(keeper.pid)
        assert len(after) == 2
        assert not {*before} & {*after}
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "from another")]
    await gone(after)  # the one that keeps them was killed


async def test_told_to_stop_all_hand_over_and_the_command_ends_well(stack: Stack, tmp_path: Path) -> None:
    stack.fake.script(LONG, Behaviour(text="from another"))
    async with processes(stack.settings, tmp_path, 2) as keeper:
        workers = children(keeper.pid)
        chat_id = await stack.create("hello")
        await stack.streaming(chat_id)
        keeper.send_signal(signal.SIGTERM)
        assert await keeper.wait() == 0
    await gone(workers)
    assert not (tmp_path / "ready").exists()
    assert (await stack.chat(chat_id)).status == "running"
    async with worker(stack):
        await stack.rest(chat_id)
    assert await stack.said(chat_id) == [("user", "hello"), ("assistant", "from another")]


async def test_workers_that_cannot_begin_end_the_command_with_their_code(stack: Stack, tmp_path: Path) -> None:
    settings = stack.settings.model_copy(update={"secret_keys": type(stack.settings.secret_keys)("no key")})
    with pytest.raises(AssertionError, match="the command ended"):
        async with processes(settings, tmp_path, 2):
            pass


async def test_one_owners_flood_does_not_hold_up_another_owners_turn(stack: Stack) -> None:
    one_at_a_time = Stack(
        stack.settings.model_copy(update={"model_slots": 1}), stack.database, stack.world, stack.fake, stack.temporal
    )
    brief = Behaviour(tokens=5, interval_ms=20)
    stack.fake.script(*[brief] * 41)
    flood = [await stack.create(f"one of many {index}") for index in range(40)]
    other = await chat_of_another(stack)
    async with worker(one_at_a_time):
        await stack.rest(other)
        waiting = [chat_id for chat_id in flood if (await stack.chat(chat_id)).status != "waiting"]
        assert len(waiting) > len(flood) / 2
        for chat_id in flood:
            await stack.rest(chat_id)


async def chat_of_another(stack: Stack) -> UUID:
    async with stack.database.begin() as session:
        another = User(username="another", email="another@example.com")
        await insert(session, another)
        moved = await moves.create(
            session,
            owner_id=another.id,
            organization_id=stack.world.organization_id,
            title="Theirs",
            content=[text("hello")],
            model_config_id=stack.world.model_config_id,
            created_by=another.id,
        )
    await stack.nudge(moved, "message_queued")
    chat_id: UUID = moved.chat["id"]
    return chat_id
