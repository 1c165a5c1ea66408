"""`turnstone audit` and `client.audit` against a real API process."""

import json
from datetime import timedelta
from pathlib import Path

import psycopg

from models.store import seals
from models.store.database import Database
from tests.turnstone.service import Client, Service
from turnstone.client import AsyncTurnstone, Turnstone


async def test_the_log_is_shown_exported_and_verified_and_a_changed_row_is_named(
    service: Service, tmp_path: Path
) -> None:
    given = {"TURNSTONE_URL": service.url, "TURNSTONE_TOKEN": service.token}

    async def run(*words: str) -> tuple[int, str, str]:
        return await (await Client.run("audit", *words, env=given, cwd=tmp_path)).end()

    async with AsyncTurnstone(service.url, service.token, user_agent="law/2") as client:
        await client.settings.set("auto-archive-days", {"auto_archive_days": 30})
        await client.settings.set("auto-archive-days", {"auto_archive_days": 0})
        found = [each async for each in client.audit.list("resource_target:auto-archive-days")]
    assert [(each.action, each.resource_type, each.user_agent) for each in found] == [("write", "setting", "law/2")] * 2
    age = timedelta(hours=1)
    database = Database(service.settings.database_url)
    with psycopg.connect(service.settings.database_url, autocommit=True) as connection:
        connection.execute("UPDATE audit_logs SET time = time - %s", [age])
        async with database.begin() as session:
            sealed = await seals.seal(session)
        code, shown, _ = await run("list", "resource_target:auto-archive-days")
        assert (code, shown.count("auto-archive-days")) == (0, 2)
        with Turnstone(service.url, service.token) as blocking:
            exported = list(blocking.audit.export())
        assert [each["position"] for each in exported] == list(range(1, sealed + 1))
        code, anchor, err = await run("verify", "--keep", "chain.jsonl")
        assert (code, f"{sealed} entries sealed, 0 not yet." in err) == (0, True), err
        assert anchor.startswith(f"{sealed}:")
        connection.execute("UPDATE audit_logs SET status_code = 200 WHERE id = %s", [found[0].id])
        code, out, _ = await run("verify", "--json", "--anchor", anchor.strip())
        told = json.loads(out)
        assert (code, told["holds"]) == (1, False)
        assert [(each["what"], each["entry_id"]) for each in told["faults"]] == [("altered", found[0].id)]
    assert (await run("verify", "--from", "chain.jsonl", "--anchor", anchor.strip()))[:2] == (0, anchor)
    assert (await run("verify", "--anchor", "nonsense"))[0] == 2
    await database.close()
