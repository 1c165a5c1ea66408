"""The embedded servers come up, come back at the same address, and keep what they were given."""

import asyncio
import os
import signal
import subprocess
import time

import psycopg
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from turnstone import embedded_temporal, ports
from turnstone.data_dir import DataDir
from turnstone.embedded_postgres import EmbeddedPostgres
from turnstone.supervisor import Supervisor


async def replaced(supervisor: Supervisor, role: str) -> None:
    """Kill the one process of a role, and wait for the next one."""
    (old,) = supervisor.pids(role)
    os.kill(old, signal.SIGKILL)
    while supervisor.pids(role) in ([], [old]):
        await asyncio.sleep(0.01)
    await supervisor.ready()


async def test_postgres_keeps_what_was_committed_through_kill_9_and_a_new_start(
    place: DataDir, supervisor: Supervisor
) -> None:
    postgres = EmbeddedPostgres(place, supervisor)
    supervisor.keep(postgres.command())
    await supervisor.ready()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('first')")
    await replaced(supervisor, "postgres")
    with psycopg.connect(postgres.url) as connection:
        connection.execute("INSERT INTO kept VALUES ('second')")
    await supervisor.stop((("postgres",),))

    supervisor.children.clear()
    supervisor.keep(EmbeddedPostgres(place, supervisor).command())
    await supervisor.ready()
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT word FROM kept ORDER BY 1").fetchall() == [("first",), ("second",)]
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == ("on",)


async def test_a_pid_file_that_now_names_a_stranger_does_not_stop_postgres(
    place: DataDir, supervisor: Supervisor
) -> None:
    postgres = EmbeddedPostgres(place, supervisor)
    supervisor.keep(postgres.command())
    await supervisor.ready()
    await supervisor.stop((("postgres",),))
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        left = place.postgres / "postmaster.pid"
        left.write_text(f"{stranger.pid}\n{place.postgres}\n{int(time.time())}\n5432\n\n\n\nready\n")
        owner = place.postgres.stat()
        os.chown(left, owner.st_uid, owner.st_gid)
        supervisor.children.clear()
        supervisor.keep(EmbeddedPostgres(place, supervisor).command())
        await asyncio.wait_for(supervisor.ready(), 60)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_temporal_has_our_search_attributes_and_comes_back_at_its_port(
    place: DataDir, supervisor: Supervisor
) -> None:
    wishes = [ports.Wish("", embedded_temporal.HOST, 0)] * 3
    port, ui_port, metrics_port = await ports.choose(wishes)
    supervisor.keep(embedded_temporal.command(place, port=port, ui_port=ui_port, metrics_port=metrics_port))
    await supervisor.ready()
    await replaced(supervisor, "temporal")
    request = ListSearchAttributesRequest(namespace=embedded_temporal.NAMESPACE)
    while True:
        try:
            client = await Client.connect(f"{embedded_temporal.HOST}:{port}", namespace=embedded_temporal.NAMESPACE)
            answer = await client.operator_service.list_search_attributes(request)
        except (RPCError, RuntimeError):  # the frontend listens before it is healthy and has read its namespaces
            await asyncio.sleep(0.05)
        else:
            break
    assert set(embedded_temporal.SEARCH_ATTRIBUTES) <= set(answer.custom_attributes)
