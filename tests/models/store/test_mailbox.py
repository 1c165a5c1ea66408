"""The mailbox's laws: a job is made once, sent after it is marked, taken back only before, and told once."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.store import mailbox, moves, presence, secrets
from models.store.database import Database, fetch
from models.store.mailbox import Job
from models.store.moves import StepRow
from models.store.notices import AGENTS, JOBS, JobNotice
from models.store.stream import Episode
from tests.models.store.chats import CALL, born, opened
from tests.seeds import World
from tests.workplace import Workplace, furnish, rebuild


@pytest.fixture
async def place(database: Database, seed: World) -> Workplace:
    return await furnish(database, seed.owner_id, seed.organization_id)


async def post(
    database: Database, agent_id: UUID, job_id: UUID | None = None, chat_id: UUID | None = None, **request: Any
) -> Job:
    async with database.begin() as session:
        job = await mailbox.post(session, job_id or uuid4(), agent_id, "exec", request, chat_id=chat_id)
    assert job is not None
    return job


async def arrive(database: Database, place: Workplace) -> UUID:
    connection_id = uuid4()
    async with database.begin() as session:
        assert await presence.arrive(session, secrets.digest(place.token), connection_id, {}) is not None
    return connection_id


async def take(database: Database, place: Workplace, connection_id: UUID, *, again: bool = False) -> list[Job]:
    async with database.begin() as session:
        return await mailbox.take(session, place.agent_id, connection_id, again=again)


async def found(database: Database, job: Job) -> Job:
    async with database.read() as session:
        return (await mailbox.find(session, [job.id]))[job.id]


async def finish(database: Database, job: Job, **outcome: Any) -> None:
    async with database.begin() as session:
        await mailbox.finish(session, job.agent_id, job.id, **outcome)


async def test_a_job_posted_twice_is_one_job_and_keeps_what_came_of_it(database: Database, place: Workplace) -> None:
    job = await post(database, place.agent_id, command="nul \x00")
    assert (await post(database, place.agent_id, job.id, command="another")).request == {"command": "nul \x00"}
    connection_id = await arrive(database, place)
    assert [each.id for each in await take(database, place, connection_id)] == [job.id]
    await finish(database, job, result={"output": "o\x00k"})
    again = await post(database, place.agent_id, job.id, command="another")
    assert (again.state, again.result) == ("done", {"output": "o\x00k"})


async def test_jobs_are_delivered_once_in_order_and_again_to_who_comes_back(
    database: Database, place: Workplace
) -> None:
    jobs = [await post(database, place.agent_id, number=number) for number in range(5)]
    first = await arrive(database, place)
    assert [job.request["number"] for job in await take(database, place, first)] == [0, 1, 2, 3, 4]
    assert await take(database, place, first) == []
    await finish(database, jobs[2], result={})
    second = await arrive(database, place)
    assert [job.request["number"] for job in await take(database, place, second, again=True)] == [0, 1, 3, 4]


async def test_a_connection_that_is_not_the_newest_gets_nothing(database: Database, place: Workplace) -> None:
    older, newer = await arrive(database, place), await arrive(database, place)
    await post(database, place.agent_id)
    assert await take(database, place, older, again=True) == []
    async with database.begin() as session:
        assert not await presence.seen(session, place.agent_id, older)
        await presence.leave(session, place.agent_id, older)
    assert len(await take(database, place, newer)) == 1


async def test_two_that_take_at_once_do_not_both_get_a_job(database: Database, place: Workplace) -> None:
    connection_id = await arrive(database, place)
    posted = {(await post(database, place.agent_id)).id for _ in range(20)}
    taken = await asyncio.gather(*(take(database, place, connection_id) for _ in range(5)))
    ids = [job.id for jobs in taken for job in jobs]
    assert sorted(ids) == sorted(posted)


async def test_what_was_not_sent_can_be_taken_back_and_is_never_sent(database: Database, place: Workplace) -> None:
    job = await post(database, place.agent_id)
    async with database.begin() as session:
        withdrawn = await mailbox.withdraw(session, job.id)
    assert withdrawn is not None
    assert (withdrawn.state, withdrawn.over) == ("canceled", True)
    assert await take(database, place, await arrive(database, place), again=True) == []
    assert (await post(database, place.agent_id, job.id)).state == "canceled"


async def test_what_was_sent_is_asked_to_stop_and_its_result_still_counts(database: Database, place: Workplace) -> None:
    job = await post(database, place.agent_id)
    await take(database, place, await arrive(database, place))
    async with database.begin() as session:
        withdrawn = await mailbox.withdraw(session, job.id)
        assert withdrawn is not None
        assert (withdrawn.state, withdrawn.cancel) == ("delivered", True)
        assert await mailbox.given_up(session, place.agent_id) == {job.id}
    await finish(database, job, result={"exit_code": 143})
    assert (await found(database, job)).result == {"exit_code": 143}


async def test_the_first_word_on_a_job_counts_and_only_its_own_agents(database: Database, place: Workplace) -> None:
    job = await post(database, place.agent_id)
    await finish(database, job, result={"too": "early"})
    assert (await found(database, job)).state == "queued"
    await take(database, place, await arrive(database, place))
    async with database.begin() as session:
        await mailbox.finish(session, uuid4(), job.id, result={"from": "another"})
    await finish(database, job, error={"message": "no", "kind": "denied"})
    await finish(database, job, result={"second": "word"})
    told = await found(database, job)
    assert (told.state, told.result, told.error) == ("done", None, {"message": "no", "kind": "denied"})


async def test_a_job_that_was_not_sent_goes_to_the_agent_of_the_next_build(
    database: Database, place: Workplace
) -> None:
    job = await post(database, place.agent_id)
    later = await rebuild(database, place)
    moved = await post(database, later.agent_id, job.id)
    assert moved.agent_id == later.agent_id
    assert [each.id for each in await take(database, later, await arrive(database, later))] == [job.id]
    assert (await post(database, place.agent_id, job.id)).agent_id == later.agent_id


async def test_a_new_build_loses_what_was_sent_keeps_the_rest_and_refuses_the_old_token(
    database: Database, place: Workplace
) -> None:
    sent = await post(database, place.agent_id)
    connection_id = await arrive(database, place)
    await take(database, place, connection_id)
    unsent = await post(database, place.agent_id)
    later = await rebuild(database, place)
    async with database.begin() as session:
        await mailbox.lose(session, place.workspace_id, later.build_id)
    assert ((await found(database, sent)).state, (await found(database, unsent)).state) == ("lost", "queued")
    async with database.begin() as session:
        assert await presence.arrive(session, secrets.digest(place.token), uuid4(), {}) is None
        assert not await presence.known(session, secrets.digest(place.token))
        assert await presence.known(session, secrets.digest(later.token))


async def test_a_stopped_chat_takes_back_its_own_jobs_only(database: Database, place: Workplace, seed: World) -> None:
    chats = [await born(database, seed), await born(database, seed)]
    jobs = [await post(database, place.agent_id, chat_id=chat_id) for chat_id in chats]
    async with database.begin() as session:
        await mailbox.stop(session, chats[0])
    assert [(await found(database, job)).state for job in jobs] == ["canceled", "queued"]


async def test_of_all_that_is_asked_while_a_chat_is_stopped_nothing_is_left_to_be_sent(
    database: Database, place: Workplace, seed: World
) -> None:
    chat_id = await born(database, seed)
    fence = (await opened(database, chat_id)).fence
    async with database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", [CALL])])
    fence = (await opened(database, chat_id)).fence

    async def ask(attempt: int = fence.generation_attempt) -> Job | None:
        episode = Episode(fence.history_version, attempt)
        async with database.begin() as session:
            return await mailbox.post(session, uuid4(), place.agent_id, "exec", {}, chat_id=chat_id, episode=episode)

    async def stop() -> None:
        async with database.begin() as session:
            await moves.interrupt(session, await moves.lock(session, chat_id))
        async with database.begin() as session:
            await moves.finish_interruption(session, chat_id, [], episode=None)

    first = await ask()
    assert await ask(fence.generation_attempt + 1) is None, "an attempt that is not the chat's asks nothing"
    asked = asyncio.gather(*(ask() for _ in range(20)))
    await stop()
    assert await ask() is None
    assert first is not None
    for job in (first, *filter(None, await asked)):
        assert (await found(database, job)).state == "canceled"
    assert await take(database, place, await arrive(database, place)) == []


async def test_who_waits_is_told_of_jobs_and_of_results_after_the_commit(database: Database, place: Workplace) -> None:
    heard: list[tuple[str, str]] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async with aclosing(database.listen([AGENTS, JOBS])) as coming:
            async for notice in coming:
                if notice is None:
                    listening.set()
                else:
                    heard.append((notice.channel, notice.payload))

    listener = asyncio.create_task(listen())
    await listening.wait()
    connection_id = await arrive(database, place)
    job = await post(database, place.agent_id)
    await take(database, place, connection_id)
    await finish(database, job, result={})
    while (JOBS, JobNotice(job.id).encode()) not in heard:
        await asyncio.sleep(0.01)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    assert [each for each in heard if each[0] == AGENTS] == [(AGENTS, str(place.agent_id))] * 2
    assert JobNotice.decode(heard[-1][1]) == JobNotice(job.id)


async def test_old_jobs_that_are_over_or_were_never_sent_are_forgotten_unless_their_chat_is_at_work(
    database: Database, place: Workplace, seed: World
) -> None:
    over, under_way = await post(database, place.agent_id), await post(database, place.agent_id)
    asked = await post(database, place.agent_id, chat_id=await born(database, seed))
    await take(database, place, await arrive(database, place))
    for job in (over, asked):
        await finish(database, job, result={})
    unsent = await post(database, place.agent_id)
    async with database.begin() as session:
        assert await mailbox.purge(session, timedelta(hours=1)) == 0
        await fetch(
            session,
            "UPDATE agent_jobs SET created_at = now() - interval '2 hours',"
            " finished_at = finished_at - interval '2 hours'",
        )
        assert await mailbox.purge(session, timedelta(hours=1)) == 2
        left = await mailbox.find(session, [over.id, under_way.id, asked.id, unsent.id])
    assert set(left) == {under_way.id, asked.id}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ("last_seen_at = NULL", "connecting"),
        ("last_seen_at = NULL, created_at = now() - interval '3 minutes'", "timeout"),
        ("last_seen_at = NULL, created_at = now() - interval '3 minutes', external = true", "connecting"),
        ("last_seen_at = NULL, created_at = '2020-01-01', connection_timeout_seconds = 0", "connecting"),
        ("last_seen_at = now()", "connected"),
        ("last_seen_at = now() - interval '16 seconds'", "disconnected"),
        ("last_seen_at = now(), disconnected_at = now()", "disconnected"),
    ],
)
async def test_an_agents_status_is_what_is_known_of_its_connection(
    database: Database, place: Workplace, changed: str, status: str
) -> None:
    async with database.begin() as session:
        await fetch(session, f"UPDATE workspace_agents SET {changed}")
        [row] = await fetch(session, f"SELECT {presence.STATUS} AS status FROM workspace_agents a")
    assert row["status"] == status
