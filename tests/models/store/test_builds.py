"""The laws of builds: one at a time, fenced, with agents whose tokens end with them."""

import asyncio
from contextlib import aclosing
from uuid import UUID, uuid4

import pytest

from models.errors import Conflict, FenceLost, Invalid, NotFound
from models.store import agents, build_logs, builds, mailbox, notices, presence, secrets, templates, workspaces
from models.store.database import Database, fetch
from tests.places import CIPHER, build, ended, here, template, workspace
from tests.seeds import World

PARAMETERS = [{"name": "size", "type": "number", "required": True, "validation_min": 1, "mutable": False}]


async def started(database: Database, world: World, **version: object) -> UUID:
    """A workspace whose first build has ended well."""
    async with database.begin() as session:
        made = await workspace(session, world, await template(session, world, **version))
    async with database.begin() as session:
        await ended(session, made.build_id)
    return made.workspace_id


async def test_of_many_who_begin_the_same_build_at_once_all_get_one(database: Database, seed: World) -> None:
    place = await started(database, seed)

    async def begin() -> builds.Begun:
        async with database.begin() as session:
            return await build(session, place, "stop")

    begun = await asyncio.gather(*(begin() for _ in range(6)))
    assert len({each.build["id"] for each in begun}) == 1
    assert [each.fresh for each in begun].count(True) == 1


async def test_another_transition_is_refused_while_a_build_is_under_way(database: Database, seed: World) -> None:
    place = await started(database, seed)
    async with database.begin() as session:
        await build(session, place, "stop")
    async with database.begin() as session:
        with pytest.raises(Conflict, match="already active"):
            await build(session, place, "start")


async def test_only_the_newest_attempt_may_end_a_build_and_only_once(database: Database, seed: World) -> None:
    async with database.begin() as session:
        made = await workspace(session, seed, await template(session, seed))
    async with database.begin() as session:
        first = await builds.open_attempt(session, made.build_id)
    async with database.begin() as session:
        second = await builds.open_attempt(session, made.build_id)
    assert first is not None
    assert second is not None
    async with database.begin() as session:
        with pytest.raises(FenceLost):
            await builds.finish(session, made.build_id, first["attempt"], "failed", error="late")
        await builds.finish(session, made.build_id, second["attempt"], "succeeded", state={"home": "/x"})
        with pytest.raises(FenceLost):
            await builds.finish(session, made.build_id, second["attempt"], "failed", error="twice")
        assert await builds.open_attempt(session, made.build_id) is None
        assert (await builds.view(session, made.build_id))["status"] == "succeeded"
        again = await build(session, made.workspace_id, "stop")
        opened = await builds.open_attempt(session, again.build["id"])
    assert opened is not None
    assert opened["state"] == {"home": "/x"}


async def test_a_build_that_nobody_began_is_canceled_at_once_and_one_at_work_is_asked(
    database: Database, seed: World
) -> None:
    async with database.begin() as session:
        made = await workspace(session, seed, await template(session, seed))
        assert (await builds.cancel(session, made.build_id))["status"] == "canceled"
        with pytest.raises(Invalid, match="already completed"):
            await builds.cancel(session, made.build_id)
        with pytest.raises(NotFound):
            await builds.cancel(session, uuid4())
        assert await builds.open_attempt(session, made.build_id) is None
        again = await build(session, made.workspace_id, "start")
        opened = await builds.open_attempt(session, again.build["id"])
        assert (await builds.cancel(session, again.build["id"]))["status"] == "canceling"
        assert opened is not None
        assert await builds.standing(session, again.build["id"], opened["attempt"]) == "canceling"


async def test_a_token_is_good_from_its_build_on_until_the_workspace_has_stopped_or_starts_anew(
    database: Database, seed: World
) -> None:
    async with database.begin() as session:
        made = await workspace(session, seed, await template(session, seed))
        [token] = (await agents.tokens(session, CIPHER, made.build_id)).values()
        digest = secrets.digest(token)
        assert await presence.known(session, digest)
        await ended(session, made.build_id)
        stop = await build(session, made.workspace_id, "stop")
        assert await presence.known(session, digest)
        await ended(session, stop.build["id"], "failed", error="no")
        assert await presence.known(session, digest)
        start = await build(session, made.workspace_id, "start")
        assert not await presence.known(session, digest)
        await ended(session, start.build["id"])
        [newer] = (await agents.tokens(session, CIPHER, start.build["id"])).values()
        assert await presence.known(session, secrets.digest(newer))
        await ended(session, (await build(session, made.workspace_id, "stop")).build["id"])
        assert not await presence.known(session, secrets.digest(newer))
        assert await agents.of_workspace(session, made.workspace_id) == []


async def test_a_deadline_begins_with_a_start_and_ends_with_a_stop_and_a_deleted_workspace_frees_its_name(
    database: Database, seed: World
) -> None:
    async with database.begin() as session:
        offered = await template(session, seed)
        made = await workspace(session, seed, offered, ttl_ms=3_600_000)
        assert (await workspaces.get(session, made.workspace_id))["deadline_at"] is None
        await ended(session, made.build_id)
        row = await workspaces.get(session, made.workspace_id)
        assert row["deadline_at"] is not None
        with pytest.raises(Conflict, match='"PLACE" already exists'):
            await workspace(session, seed, offered, "PLACE")
        await ended(session, (await build(session, made.workspace_id, "stop")).build["id"])
        assert (await workspaces.get(session, made.workspace_id))["deadline_at"] is None
        await ended(session, (await build(session, made.workspace_id, "delete")).build["id"])
        assert (await workspaces.get(session, made.workspace_id))["deleted"]
        with pytest.raises(NotFound):
            await build(session, made.workspace_id, "start")
        await workspace(session, seed, offered)


async def test_values_are_kept_from_build_to_build_and_what_is_immutable_stays(database: Database, seed: World) -> None:
    async with database.begin() as session:
        offered = await template(session, seed, parameters_=PARAMETERS)
        with pytest.raises(Invalid) as missing:
            await workspace(session, seed, offered)
        assert missing.value.validations[0].field == "size"
        made = await workspace(session, seed, offered, given={"size": "2"})
        await ended(session, made.build_id)
        await ended(session, (await build(session, made.workspace_id, "stop")).build["id"])
        with pytest.raises(Invalid, match="not mutable"):
            await build(session, made.workspace_id, "start", given={"size": "3"})
        start = await build(session, made.workspace_id, "start")
        assert start.build["parameters"] == {"size": "2"}
        [agent] = await agents.of_builds(session, [start.build["id"]])
        assert agent["environment"] == {"PARAMETER_SIZE": "2"}


async def test_a_workspace_that_was_built_ahead_is_claimed_by_one_and_only_when_its_agents_are_at_work(
    database: Database, seed: World
) -> None:
    async with database.begin() as session:
        offered = await template(
            session, seed, parameters_=PARAMETERS, presets=[{"name": "small", "parameters": {"size": "1"}}]
        )
        [preset] = await templates.presets(session, (await templates.get(session, offered))["active_version_id"])
        ahead = await workspace(
            session, seed, offered, "ahead", owner_id=None, preset_id=preset["id"], reason="prebuild"
        )
        await ended(session, ahead.build_id)
        early = await workspace(session, seed, offered, "early", preset_id=preset["id"])
        assert not early.claimed
        await here(session, ahead.workspace_id)

    async def claim(number: int) -> workspaces.Made:
        async with database.begin() as session:
            return await workspace(session, seed, offered, f"mine-{number}", preset_id=preset["id"], ttl_ms=60_000)

    claims = await asyncio.gather(*(claim(number) for number in range(4)))
    [claimed] = [each for each in claims if each.claimed]
    assert claimed.workspace_id == ahead.workspace_id
    async with database.read() as session:
        row = await workspaces.get(session, ahead.workspace_id)
    assert (row["owner_id"], row["latest_build"]["status"]) == (seed.owner_id, "succeeded")
    assert row["deadline_at"] is not None


async def test_each_change_of_a_workspace_is_told_when_it_is_committed(database: Database, seed: World) -> None:
    told: list[str] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async with aclosing(database.listen([notices.WORKSPACES])) as coming:
            async for notice in coming:
                listening.set()
                if notice is not None:
                    told.append(notice.payload)

    hearing = asyncio.create_task(listen())
    await listening.wait()
    async with database.begin() as session:
        made = await workspace(session, seed, await template(session, seed))
    for act in (
        lambda session: builds.open_attempt(session, made.build_id),
        lambda session: build_logs.write(session, made.build_id, [("info", "", "x")]),
        lambda session: builds.finish(session, made.build_id, 1, "succeeded"),
    ):
        async with database.begin() as session:
            await act(session)
    async with asyncio.timeout(60):
        while len(told) < 4:
            await asyncio.sleep(0.01)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    assert told == [str(made.workspace_id)] * 4


async def test_what_is_said_in_a_build_is_read_in_its_order(database: Database, seed: World) -> None:
    async with database.begin() as session:
        made = await workspace(session, seed, await template(session, seed))
        lines = [("info", "image", f"line {number}\x00") for number in range(300)]
        await build_logs.write(session, made.build_id, lines)
        told = await build_logs.read(session, made.build_id)
        assert [row["output"] for row in told] == [f"line {number}\ufffd" for number in range(300)]
        assert await build_logs.read(session, made.build_id, after=told[-2]["id"]) == told[-1:]
        assert [row["id"] for row in told] == sorted(row["id"] for row in told)


async def test_a_template_with_workspaces_stays_and_a_deprecated_one_makes_no_more(
    database: Database, seed: World
) -> None:
    async with database.begin() as session:
        offered = await template(session, seed)
        made = await workspace(session, seed, offered)
        with pytest.raises(Conflict, match="must be deleted before"):
            await templates.delete(session, offered)
        await templates.change(session, offered, {"deprecated": "use the other"})
        with pytest.raises(Invalid, match="deprecated"):
            await workspace(session, seed, offered, "second")
        await ended(session, made.build_id)
        await ended(session, (await build(session, made.workspace_id, "delete")).build["id"])
        await templates.delete(session, offered)
        with pytest.raises(NotFound):
            await templates.get(session, offered)
        await template(session, seed)
        rows = await fetch(session, "SELECT count(*) AS found FROM templates")
    assert rows[0]["found"] == 2


async def test_a_build_that_begins_loses_what_the_agents_before_it_were_sent(database: Database, seed: World) -> None:
    place = await started(database, seed)
    async with database.read() as session:
        [agent] = await agents.of_workspace(session, place)
    ids = [uuid4(), uuid4()]
    for job_id in ids:
        async with database.begin() as session:
            await mailbox.post(session, job_id, agent["id"], "exec", {}, chat_id=None)
    async with database.begin() as session:
        await fetch(session, "UPDATE agent_jobs SET state = 'delivered' WHERE id = %(id)s", {"id": ids[0]})
    async with database.begin() as session:
        await build(session, place, "stop")
    async with database.read() as session:
        found = await mailbox.find(session, ids)
    assert [found[job_id].state for job_id in ids] == ["lost", "queued"]
