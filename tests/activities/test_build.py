"""The laws of performing a build: it ends once, in time, also when whoever performs it dies or is asked to stop."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from activities.build import Building
from activities.provisioners import inhabitants, provisioner
from activities.provisioners.local import Local
from activities.provisioners.provisioner import Log, ProvisionFailed, State
from activities.resources import Resources
from activities.tending import Tending
from models.steps import BuildReply, BuildRequest
from models.store import build_logs, builds, templates, workspaces
from models.store.database import Row, fetch
from models.store.secrets import Cipher
from tests.activities.stack import Stack, doomed, worker
from tests.places import here, template, workspace

ROOT = Path(__file__).parents[2]

Act = Callable[[provisioner.Building, Log], Awaitable[State]]


class Scripted:
    """A provisioner of a test: what it is asked, and what it does."""

    def __init__(self, start: Act | None = None) -> None:
        self.asked: list[str] = []
        self._start = start

    async def start(self, build: provisioner.Building, log: Log) -> State:
        self.asked.append("start")
        return await self._start(build, log) if self._start else {"made": str(build.build_id)}

    async def stop(self, build: provisioner.Building, log: Log) -> State:
        self.asked.append("stop")
        return {}

    async def delete(self, build: provisioner.Building, log: Log) -> State:
        self.asked.append("delete")
        return {}


async def made(stack: Stack, provisioner_: str = "external", **more: Any) -> BuildRequest:
    async with stack.database.begin() as session:
        offered = await template(session, stack.world, provisioner=provisioner_)
        cipher = Cipher(stack.settings.secret_keys.get_secret_value())
        return (await workspace(session, stack.world, offered, cipher=cipher, **more)).request


async def begin(stack: Stack, workspace_id: UUID, transition: str) -> BuildRequest:
    async with stack.database.begin() as session:
        cipher = Cipher(stack.settings.secret_keys.get_secret_value())
        return (await builds.begin(session, cipher, workspace_id, transition)).request


async def perform(resources: Resources, request: BuildRequest, doer: Scripted) -> BuildReply:
    return await Building(resources, {"external": doer}).build(request)


async def seen(stack: Stack, request: BuildRequest) -> Row:
    async with stack.database.read() as session:
        return await builds.view(session, request.build_id)


async def over(stack: Stack, request: BuildRequest) -> Row:
    async with asyncio.timeout(60):
        while (row := await seen(stack, request))["completed_at"] is None:
            await asyncio.sleep(0.02)
    return row


async def said(stack: Stack, request: BuildRequest) -> list[str]:
    async with stack.database.read() as session:
        return [row["output"] for row in await build_logs.read(session, request.build_id)]


def shortened(stack: Stack, **settings: Any) -> None:
    stack.settings = stack.settings.model_copy(update=settings)


async def test_a_workspace_is_built_stopped_and_deleted_through_temporal(stack: Stack) -> None:
    async with worker(stack) as resources:
        request = await made(stack)
        assert await resources.temporal.build(request)
        assert (await over(stack, request))["status"] == "succeeded"
        assert await said(stack, request) == ["Agent main is to be started by hand; its credentials say how."]
        for transition in ("stop", "delete"):
            following = await begin(stack, request.workspace_id, transition)
            await resources.temporal.build(following)
            assert (await over(stack, following))["status"] == "succeeded"
    async with stack.database.read() as session:
        assert (await workspaces.get(session, request.workspace_id))["deleted"]


async def test_a_turn_that_waits_for_a_workspace_is_woken_by_the_end_of_its_build(stack: Stack) -> None:
    request = await made(stack)
    chat_id = await stack.create("hello", signal="")
    async with stack.database.begin() as session:
        bound = {"chat": chat_id, "workspace": request.workspace_id}
        await fetch(session, "UPDATE chats SET workspace_id = %(workspace)s WHERE id = %(chat)s", bound)
    async with worker(stack) as resources:
        await perform(resources, request, Scripted())
        async with asyncio.timeout(60):
            assert (await stack.rest(chat_id)).status == "waiting"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
async def test_what_ran_on_this_machine_runs_again_when_a_worker_starts(stack: Stack, tmp_path: Path) -> None:
    shortened(stack, workspaces_dir=str(tmp_path / "w"), workspace_isolation="none")
    local = Local(stack.settings, lambda: (sys.executable, "-I", str(ROOT / "tests" / "fakes" / "agent.py")))
    request = await made(stack, "local")
    lives = tmp_path / "w" / str(request.workspace_id) / "agent" / str(request.build_id) / "main" / "state" / "lives"

    async def lived(count: int) -> None:
        async with asyncio.timeout(60):
            while not lives.exists() or len(lives.read_text().splitlines()) < count:
                await asyncio.sleep(0.02)

    try:
        async with worker(stack) as resources:
            building = Building(resources, {"local": local})
            assert (await building.build(request)).status == "succeeded"
            await lived(1)
            inhabitants.end(inhabitants.ROOT, str(tmp_path / "w"), 0)
            await building.revive()
            await lived(2)
            stop = await begin(stack, request.workspace_id, "stop")
            assert (await building.build(stop)).status == "succeeded"
            await building.revive()
            assert inhabitants.marked(inhabitants.ROOT, str(tmp_path / "w")) == []
    finally:
        inhabitants.end(inhabitants.ROOT, str(tmp_path / "w"), 0)


async def test_what_a_provisioner_cannot_do_fails_the_build_in_its_words_and_is_taken_down(stack: Stack) -> None:
    async def fail(build: provisioner.Building, log: Log) -> State:
        log("half of it is there")
        raise ProvisionFailed("The disk is full.", "DISK")

    doer, request = Scripted(fail), await made(stack)
    async with worker(stack) as resources:
        reply = await perform(resources, request, doer)
    row = await seen(stack, request)
    assert reply.status == row["status"] == "failed"
    assert (row["error"], row["error_code"]) == ("The disk is full.", "DISK")
    assert doer.asked == ["start", "stop"]
    assert await said(stack, request) == ["half of it is there", "The disk is full."]


async def test_a_bug_in_a_provisioner_ends_the_build_without_telling_what_it_was(stack: Stack) -> None:
    async def fall(build: provisioner.Building, log: Log) -> State:
        raise ZeroDivisionError("a secret")

    request = await made(stack)
    async with worker(stack) as resources:
        await perform(resources, request, Scripted(fall))
    row = await seen(stack, request)
    assert (row["status"], row["error"]) == ("failed", "The provisioner failed unexpectedly.")


async def hang(build: provisioner.Building, log: Log) -> State:
    log("waiting")
    await asyncio.sleep(1000)
    return {}


async def test_a_build_that_hangs_fails_in_its_time_also_over_several_attempts(stack: Stack) -> None:
    shortened(stack, build_timeout=timedelta(seconds=1))
    request = await made(stack)
    async with worker(stack) as resources:
        async with stack.database.begin() as session:
            await builds.open_attempt(session, request.build_id)
            await fetch(session, "UPDATE workspace_builds SET started_at = now() - interval '0.9 s'")
        await perform(resources, request, Scripted(hang))
    row = await seen(stack, request)
    assert (row["status"], row["error_code"]) == ("failed", "BUILD_TIMEOUT")
    assert row["attempt"] == 2


async def test_a_build_that_is_asked_to_stop_stops_and_what_it_made_is_taken_down(stack: Stack) -> None:
    doer, request = Scripted(hang), await made(stack)
    async with worker(stack) as resources:
        performing = asyncio.create_task(perform(resources, request, doer))
        while "waiting" not in await said(stack, request):
            await asyncio.sleep(0.02)
        async with stack.database.begin() as session:
            await builds.cancel(session, request.build_id)
        reply = await performing
    assert reply.status == (await seen(stack, request))["status"] == "canceled"
    assert doer.asked == ["start", "stop"]


async def test_a_cancellation_reaches_a_build_that_nobody_performs_yet(stack: Stack) -> None:
    request = await made(stack)
    async with stack.database.begin() as session:
        await builds.open_attempt(session, request.build_id)  # by a worker that is gone
        assert (await builds.cancel(session, request.build_id))["status"] == "canceling"
    assert await stack.temporal.build(request, cancel=True)
    async with worker(stack):
        assert (await over(stack, request))["status"] == "canceled"


async def test_an_attempt_that_lost_its_build_to_another_writes_nothing(stack: Stack) -> None:
    began = asyncio.Event()

    async def slow(build: provisioner.Building, log: Log) -> State:
        began.set()
        await asyncio.sleep(1000)
        return {}

    request = await made(stack)
    async with worker(stack) as resources:
        zombie = asyncio.create_task(perform(resources, request, Scripted(slow)))
        await began.wait()
        await perform(resources, request, Scripted())
        assert (await zombie).status == "superseded"
    assert (await seen(stack, request))["status"] == "succeeded"


async def test_a_build_survives_a_worker_that_dies_in_it(stack: Stack) -> None:
    process = await doomed(stack, TURNSTONE_FAILPOINTS="worker.before_build_end")
    try:
        request = await made(stack)
        assert await stack.temporal.build(request)
        assert await process.wait() == -9
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (await seen(stack, request))["status"] == "running"
    async with worker(stack):
        row = await over(stack, request)
    assert (row["status"], row["attempt"]) == ("succeeded", 2)


async def test_the_sweep_begins_what_nobody_began_and_stops_what_is_overdue(stack: Stack) -> None:
    request = await made(stack, ttl_ms=60_000)
    async with worker(stack) as resources:
        await Tending(resources).tend()
        await over(stack, request)
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE workspaces SET deadline_at = now() - interval '1 s'")
        await Tending(resources).tend()
        async with stack.database.read() as session:
            stop = await builds.latest(session, request.workspace_id)
        assert (stop["transition"], stop["reason"]) == ("stop", "autostop")
        assert (await over(stack, BuildRequest(stop["id"], stop["workspace_id"])))["status"] == "succeeded"


async def test_a_pool_of_workspaces_is_kept_at_its_size_and_an_old_versions_is_dropped(stack: Stack) -> None:
    presets = [{"name": "ready", "desired_prebuilds": 2}]
    async with stack.database.begin() as session:
        offered = await template(session, stack.world, provisioner="external", presets=presets)
    async with worker(stack) as resources:
        tending = Tending(resources)
        await settled(stack, tending)
        assert await pool(stack) == {"running": 2}
        async with stack.database.begin() as session:
            [preset] = await fetch(session, "SELECT id FROM template_version_presets")
            [free] = await fetch(session, "SELECT id FROM workspaces LIMIT 1")
            await here(session, free["id"])
            cipher = Cipher(stack.settings.secret_keys.get_secret_value())
            claimed = await workspace(session, stack.world, offered, preset_id=preset["id"], cipher=cipher)
        assert claimed.claimed
        await settled(stack, tending)
        assert await pool(stack) == {"running": 2}
        async with stack.database.begin() as session:
            await templates.add_version(session, offered)
        await settled(stack, tending)
        assert await pool(stack) == {"deleted": 2}
    async with stack.database.read() as session:
        assert not (await workspaces.get(session, claimed.workspace_id))["deleted"]


async def test_a_preset_that_fails_is_not_tried_again_at_once(stack: Stack) -> None:
    async def fail(build: provisioner.Building, log: Log) -> State:
        raise ProvisionFailed("no")

    async with stack.database.begin() as session:
        await template(
            session, stack.world, provisioner="external", presets=[{"name": "ready", "desired_prebuilds": 1}]
        )
    async with worker(stack) as resources:
        tending = Tending(resources, starts=False)
        for _ in range(3):
            await tending.tend()
            async with stack.database.read() as session:
                waiting = await builds.under_way(session, 10)
            for request in waiting:
                await perform(resources, request, Scripted(fail))
    async with stack.database.read() as session:
        [found] = await fetch(session, "SELECT count(*) AS found FROM workspaces")
    assert found["found"] == 1


async def settled(stack: Stack, tending: Tending) -> None:
    """Tend until a round finds nothing to do."""
    async with asyncio.timeout(60):
        while True:
            done = await tending.tend()
            async with stack.database.read() as session:
                if not done and not await builds.under_way(session, 1):
                    return
            await asyncio.sleep(0.05)


async def pool(stack: Stack) -> dict[str, int]:
    """Workspaces that are nobody's, by what they are."""
    async with stack.database.read() as session:
        rows = await fetch(
            session,
            """SELECT CASE WHEN deleted THEN 'deleted' ELSE 'running' END AS word, count(*) AS found
               FROM workspaces WHERE owner_id IS NULL GROUP BY 1""",
        )
    return {row["word"]: row["found"] for row in rows}
