"""The API as a process: it waits for its database, says when it listens, and ends in order."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from api.resources import wait_for
from models.settings import Settings
from models.store.database import Database


async def appears(path: Path, process: subprocess.Popen[bytes]) -> str:
    while not path.exists() or not path.read_text():
        assert process.poll() is None, f"ended with {process.returncode}"
        await asyncio.sleep(0.05)
    return path.read_text().strip()


async def test_a_process_listens_says_so_and_ends_cleanly_when_told(settings: Settings, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    environ = {
        **os.environ,
        "TURNSTONE_DATABASE_URL": settings.database_url,
        "TURNSTONE_TEMPORAL_ADDRESS": "127.0.0.1:9",
        "TURNSTONE_PORT": "0",
    }
    program = (
        f"from api.serve import main; from models.settings import Settings; main(Settings(), ready={str(ready)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=environ)
    try:
        url = await appears(ready, process)
        async with httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(f"{url}/healthz")).json() == {"status": "ok"}
            refused = await client.get(f"{url}/api/v2/users/me")
        assert refused.status_code == 401
        assert "server" not in refused.headers
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        process.kill()
        process.wait()


async def test_only_trusted_proxies_say_where_a_request_comes_from(settings: Settings, tmp_path: Path) -> None:
    statuses = {}
    for trusted in ("127.0.0.0/8", "192.0.2.1"):
        ready = tmp_path / f"ready {trusted.replace('/', ' ')}"
        environ = {
            **os.environ,
            "TURNSTONE_DATABASE_URL": settings.database_url,
            "TURNSTONE_TEMPORAL_ADDRESS": "127.0.0.1:9",
            "TURNSTONE_PORT": "0",
            "TURNSTONE_RATE_LIMIT_PER_MINUTE": "1",
            "TURNSTONE_TRUSTED_PROXIES": trusted,
        }
        program = (
            f"from api.serve import main; from models.settings import Settings; main(Settings(), ready={str(ready)!r})"
        )
        process = subprocess.Popen([sys.executable, "-c", program], env=environ)
        try:
            url = await appears(ready, process)
            async with httpx.AsyncClient(timeout=60) as client:
                # What a client itself writes there stands left of what its proxy adds.
                said = ["203.0.113.1", "203.0.113.2", "203.0.113.9, 203.0.113.1"]
                asked = [{"X-Forwarded-For": each} for each in said]
                answers = [await client.get(f"{url}/api/v2/users/me", headers=each) for each in asked]
            statuses[trusted] = [each.status_code for each in answers]
        finally:
            process.kill()
            process.wait()
    assert statuses == {"127.0.0.0/8": [401, 401, 429], "192.0.2.1": [401, 429, 429]}


def closed(url: str, closed: bool) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not closed}")


async def test_a_database_that_comes_late_is_waited_for(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    closed(settings.database_url, True)
    waiting = asyncio.create_task(wait_for(database, 60))
    while "waiting for the database" not in caplog.text:
        assert not waiting.done()
        await asyncio.sleep(0.01)
    closed(settings.database_url, False)
    await waiting


async def test_a_database_that_does_not_come_stops_the_process(database: Database, settings: Settings) -> None:
    closed(settings.database_url, True)
    with pytest.raises(psycopg.OperationalError):
        await wait_for(database, 0)
    closed(settings.database_url, False)
