"""The laws of housekeeping, with its real performer on a real database, day after day on a clock that skips."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.housekeeping import Housekeeping, tick
from activities.resources import Resources, open_resources
from models.rules.states import State
from models.settings import Settings
from models.steps import HousekeepingRequest, Job
from models.store import inbox, preferences, retention
from models.store.database import Database, fetch
from tests.models.store.chats import chat_in
from tests.seeds import World
from tests.temporal import skipping_program
from workflows.client import Temporal
from workflows.effect import Queue
from workflows.housekeeping import Housekeeping as Round

DAY = timedelta(days=1)


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=skipping_program()
    ) as environment:
        yield environment


class Service:
    """A worker's housekeeping on a skipping clock, and a hand on the settings."""

    def __init__(self, database: Database, world: World, resources: Resources, skipping: WorkflowEnvironment) -> None:
        self.database = database
        self.world = world
        self.resources = resources
        self._skipping = skipping
        self.queue = f"test-{uuid4()}"

    async def round(self) -> dict[str, int]:
        """What a round does now."""
        with self._skipping.auto_time_skipping_disabled():
            done: dict[str, int] = await self._skipping.client.execute_workflow(
                Round.run, "test", id=f"round-{uuid4()}", task_queue=self.queue
            )
        return done

    async def now(self) -> datetime:
        return await self._skipping.get_current_time()

    async def until(self, hour: int, minute: int = 0) -> None:
        """Skip to this time of day, UTC; to tomorrow's, if today's is past."""
        now = await self.now()
        then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        await self._skipping.sleep(then - now if then > now else then + DAY - now)

    async def choose(self, **days: int) -> None:
        keys = {
            "retention": retention.RETENTION,
            "archive": retention.AUTO_ARCHIVE,
            "debug": retention.DEBUG_RETENTION,
        }
        async with self.database.begin() as session:
            await preferences.put_site(session, {keys[name]: str(value) for name, value in days.items()})

    async def chat(self, spoken_at: datetime, state: State = State.W) -> UUID:
        """A chat in which the last word was said at this moment."""
        chat_id = await chat_in(self.database, self.world, state)
        told = {"at": spoken_at, "title": str(chat_id), "id": chat_id}
        await self.run("UPDATE chats SET created_at = %(at)s, title = %(title)s WHERE id = %(id)s", **told)
        await self.run("UPDATE chat_messages SET created_at = %(at)s WHERE chat_id = %(id)s", **told)
        return chat_id

    async def run(self, statement: Any, **params: Any) -> list[dict[str, Any]]:
        async with self.database.begin() as session:
            return await fetch(session, statement, params)

    async def archived(self) -> set[UUID]:
        return {row["id"] for row in await self.run("SELECT id FROM chats WHERE archived")}

    async def inbox(self) -> list[dict[str, Any]]:
        async with self.database.read() as session:
            return await inbox.listed(session, self.world.owner_id)


@asynccontextmanager
async def housekeeper(settings: Settings, skipping: WorkflowEnvironment) -> AsyncIterator[Resources]:
    async with open_resources(settings, Temporal(settings, skipping.client)) as resources:
        yield resources


@pytest.fixture
async def service(
    database: Database, seed: World, settings: Settings, skipping: WorkflowEnvironment
) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        resources = await stack.enter_async_context(housekeeper(settings, skipping))
        made = Service(database, seed, resources, skipping)
        runner = UnsandboxedWorkflowRunner()
        performing = [Housekeeping(resources).housekeep]
        await stack.enter_async_context(
            Worker(skipping.client, task_queue=made.queue, workflows=[Round], workflow_runner=runner, build_id="test")
        )
        aside = Queue.ASIDE.beside(made.queue)
        await stack.enter_async_context(
            Worker(skipping.client, task_queue=aside, activities=performing, build_id="test")
        )
        yield made


async def test_chats_are_archived_by_utc_dates_and_each_owner_is_told_once_a_day(service: Service) -> None:
    await service.choose(archive=2, retention=0)
    await service.until(12)
    today = await service.now()
    morning = await service.chat(today.replace(hour=0, minute=1))
    noon = await service.chat(today)
    yesterday = await service.chat(today - DAY)
    assert (await service.round())[Job.ARCHIVE.value] == 0
    await service.until(0, 5)  # tomorrow: yesterday's chat is from two days before, but not before that day
    assert (await service.round())[Job.ARCHIVE.value] == 0
    await service.until(0, 5)
    assert (await service.round())[Job.ARCHIVE.value] == 1
    assert await service.archived() == {yesterday}
    await service.until(23, 55)
    assert (await service.round())[Job.ARCHIVE.value] == 0, "later on the same date nothing more is over"
    await service.until(0, 5)
    done = await service.round()
    assert (done[Job.ARCHIVE.value], done[Job.DIGESTS.value]) == (2, 1)
    assert await service.archived() == {yesterday, morning, noon}, "one date goes together, whatever the hour"
    notices = await service.inbox()
    assert [len(each["details"]["archived_chats"]) for each in notices] == [2, 1]
    assert notices[0]["details"]["archived_chats"][0] == {
        "title": str(morning),
        "last_activity_humanized": "3 days ago",
    }
    assert "Archived chats are kept." in notices[0]["content"]
    assert (await service.round())[Job.DIGESTS.value] == 0


async def test_a_chat_lives_as_long_as_both_windows_together(service: Service) -> None:
    await service.choose(archive=1, retention=3)
    await service.until(12)  # a day that begins now would be one more
    chat_id = await service.chat(await service.now())
    lived = 0
    while await service.run("SELECT 1 FROM chats WHERE id = %(id)s", id=chat_id):
        await service.until(0, 5)
        await service.round()
        # Archiving happens by the database's clock, which does not skip.
        late, real = (await service.now()) + timedelta(hours=1), datetime.now(UTC)
        await service.run("UPDATE chats SET archived_at = %(late)s WHERE archived_at <= %(real)s", late=late, real=real)
        lived += 1
        assert lived < 12
    assert lived == 2 + 4, "archived on the second midnight; deleted on the first after three whole days"


async def test_without_days_nothing_is_archived_or_deleted(service: Service) -> None:
    await service.choose(archive=0, retention=0, debug=0)
    old = (await service.now()) - 1000 * DAY
    await service.chat(old)
    await service.chat(old, State.XW)
    await service.run("UPDATE chats SET archived_at = %(old)s WHERE archived", old=old)
    assert set((await service.round()).values()) == {0}
    assert len(await service.run("SELECT 1 FROM chats")) == 2


async def test_a_setting_that_makes_no_sense_stops_its_own_jobs_only(service: Service) -> None:
    await service.choose(archive=5)
    chat_id = await service.chat((await service.now()) - 30 * DAY)
    async with service.database.begin() as session:
        await preferences.put_site(session, {retention.RETENTION: "soon"})
    with pytest.raises(WorkflowFailureError) as failed:
        await service.round()
    assert Job.CHATS.value in str(failed.value.cause)
    assert Job.ARCHIVE.value not in str(failed.value.cause)
    assert await service.archived() == {chat_id}


async def test_a_round_that_a_dead_worker_left_is_finished_by_another_and_told_as_one(
    service: Service, settings: Settings, skipping: WorkflowEnvironment
) -> None:
    """The first worker dies after one chat, before anybody was told."""
    await service.choose(archive=5)
    at = await service.now()
    roots = [await service.chat(at - (30 + number) * DAY) for number in range(3)]
    cutoff = retention.midnight_before(at, 5)
    async with service.database.begin() as session:
        assert await retention.archive_idle(session, roots[0], cutoff, tick(at)) == 1
    async with housekeeper(settings, skipping) as resources:
        keeping = Housekeeping(resources)
        assert (await keeping.housekeep(HousekeepingRequest(Job.ARCHIVE, at))).done == 2
        for told in (1, 0):  # asked a second time, because the first reply was lost
            assert (await keeping.housekeep(HousekeepingRequest(Job.DIGESTS, at))).done == told
    [notice] = await service.inbox()
    assert [each["title"] for each in notice["details"]["archived_chats"]] == [str(root) for root in reversed(roots)]


async def test_two_workers_may_do_the_same_job_at_once(
    service: Service, settings: Settings, skipping: WorkflowEnvironment
) -> None:
    await service.choose(archive=5, retention=5)
    at = await service.now()
    roots = {await service.chat(at - 30 * DAY) for _ in range(12)}
    async with housekeeper(settings, skipping) as other:
        keepers = [Housekeeping(service.resources), Housekeeping(other)]

        async def both(job: Job, at: datetime) -> int:
            replies = await asyncio.gather(*(each.housekeep(HousekeepingRequest(job, at)) for each in keepers))
            return sum(reply.done for reply in replies)

        archived = await both(Job.ARCHIVE, at)
        while await service.archived() != roots:  # what one held for the other is the next round's
            archived += await both(Job.ARCHIVE, at)
        assert archived == 12
        assert await both(Job.DIGESTS, at) == 1
        assert await both(Job.CHATS, at + 30 * DAY) == 12
    [entries] = await service.run("SELECT count(*) AS n FROM audit_logs WHERE action = 'write'")
    assert entries["n"] == 12
    assert await service.run("SELECT 1 FROM chats") == []


async def test_a_round_takes_a_bounded_number_and_the_next_takes_the_rest(service: Service) -> None:
    """1,000 of a kind: here by SQL, for the sake of time."""
    old = (await service.now()) - 60 * DAY
    await service.run(
        "INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, archived, archived_at) "
        "SELECT gen_random_uuid(), %(owner)s, %(org)s, %(model)s, true, %(old)s FROM generate_series(1, 1005)",
        owner=service.world.owner_id, org=service.world.organization_id, model=service.world.model_config_id, old=old,
    )  # fmt: skip
    await service.choose(retention=30)
    assert [(await service.round())[Job.CHATS.value] for _ in range(3)] == [1000, 5, 0]
