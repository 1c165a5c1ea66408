"""Laws of the sealed audit log: what was tampered with in the database is found, by who does not believe us."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.store import audit, seals
from models.store.database import fetch
from tests.api.conftest import Api, Person
from turnstone.client.audit import Place, Verdict, read_lines, verify

AUDIT = "/api/v2/audit"
SEED = """
    INSERT INTO audit_logs (id, time, action, resource_type, resource_id, resource_target, diff, details, user_agent)
    SELECT gen_random_uuid(), now() - interval '3 days' + n * interval '1 minute', 'write', 'group', gen_random_uuid(),
        'crew ' || n, jsonb_build_object('name', jsonb_build_object('old', n, 'new', 'ÿ𝄞"\\', 'secret', false)),
        '{"big": 12345678901234567890, "small": 1e-7, "nested": {"b": [1.50], "a": null}}', 'law/1'
    FROM generate_series(1, %(many)s::int) n
"""


async def sql(api: Api, statement: str, **params: Any) -> list[dict[str, Any]]:
    async with api.resources.database.begin() as session:
        return await fetch(session, statement, params)


async def sealed(api: Api, limit: int = seals.BATCH) -> int:
    done = 0
    while True:
        async with api.resources.database.begin() as session:
            found = await seals.seal(session, limit)
        done += found
        if found < limit:
            return done


@pytest.fixture
async def log(api: Api) -> Api:
    """A log of ten old entries, sealed in batches of three."""
    await sql(api, "DELETE FROM audit_logs")
    await sql(api, SEED, many=10)
    assert await sealed(api, 3) == 10
    return api


async def chain(person: Person) -> list[dict[str, Any]]:
    answer = await person.client.get(f"{AUDIT}/chain")
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def verdict(person: Person, *anchors: Place) -> Verdict:
    return verify(await chain(person), anchors)


async def test_a_log_that_nobody_touched_holds_and_its_head_is_an_anchor_for_ever(log: Api, owner: Person) -> None:
    first = await verdict(owner)
    assert (first.holds, first.entries, first.head.position) == (True, 10, 10), first
    await sql(log, SEED.replace("3 days", "1 day"), many=5)
    assert await sealed(log) == 5
    again = await verdict(owner, Place.read(str(first.head)))
    assert (again.holds, again.entries, again.faults) == (True, 15, ())
    kept = "\n".join(map(json.dumps, await chain(owner)))
    assert verify(read_lines(kept.splitlines())).head == again.head


TAMPERED: dict[str, tuple[str, list[tuple[str, int | None]]]] = {
    "a word of an entry": (
        "UPDATE audit_logs SET resource_target = 'x' WHERE id = at(4)",
        [("altered", 4)],
    ),
    "who did it": ("UPDATE audit_logs SET user_id = gen_random_uuid() WHERE id = at(1)", [("altered", 1)]),
    "deep in a diff": (
        "UPDATE audit_logs SET diff = jsonb_set(diff, '{name,old}', '0') WHERE id = at(10)",
        [("altered", 10)],
    ),
    "an entry deleted": ("DELETE FROM audit_logs WHERE id = at(5)", [("deleted", 5)]),
    "an entry deleted with its seal": (
        "WITH gone AS (DELETE FROM audit_logs WHERE id = at(5)) DELETE FROM audit_seals WHERE position = 5",
        [("deleted", 5)],
    ),
    "the newest deleted with its seal": (
        "WITH gone AS (DELETE FROM audit_logs WHERE id = at(10)) DELETE FROM audit_seals WHERE position = 10",
        [("truncated", 9)],
    ),
    "an entry inserted among old ones": (SEED.replace("%(many)s::int", "1"), [("inserted", None)]),
    "two entries in each other's place": (
        """
        UPDATE audit_logs l SET time = o.time FROM audit_logs o
        WHERE (l.id = at(3) AND o.id = at(4)) OR (l.id = at(4) AND o.id = at(3))
        """,
        [("altered", 3), ("altered", 4)],
    ),
    "two seals in each other's place": (
        """
        UPDATE audit_seals s SET hash = o.hash FROM audit_seals o
        WHERE (s.position, o.position) IN ((3, 4), (4, 3))
        """,
        [("altered", 3), ("altered", 4), ("altered", 5)],
    ),
    "a seal": ("UPDATE audit_seals SET hash = sha256('x') WHERE position = 6", [("altered", 6), ("altered", 7)]),
    "the log cut off as if by its retention": (
        """
        WITH mark AS (
            UPDATE audit_mark
            SET cut_position = 4, cut_hash = (SELECT hash FROM audit_seals WHERE position = 4)),
        gone AS (DELETE FROM audit_seals WHERE position <= 4 RETURNING entry_id)
        DELETE FROM audit_logs a USING gone WHERE a.id = gone.entry_id
        """,
        [("cut off", 4)],
    ),
}


async def test_what_is_tampered_with_is_found_and_named(log: Api, owner: Person) -> None:
    tables = ("audit_logs", "audit_seals", "audit_mark")
    named = {row["position"]: row["entry_id"] for row in await sql(log, "SELECT * FROM audit_seals")}
    for table in tables:
        await sql(log, f"CREATE TABLE kept_{table} AS TABLE {table}")
    for how, (statement, faults) in TAMPERED.items():
        await sql(log, re.sub(r"at\((\d+)\)", lambda found: f"'{named[int(found[1])]}'", statement))
        found = await verdict(owner)
        assert [(each.what, each.position) for each in found.faults] == faults, how
        for each in found.faults:
            if each.entry_id and each.position is not None:
                assert each.entry_id == str(named[each.position]), how
        for table in tables:
            await sql(log, f"DELETE FROM {table}")
            await sql(log, f"INSERT INTO {table} TABLE kept_{table}")
    assert (await verdict(owner)).holds


async def test_who_writes_the_whole_chain_anew_is_found_by_an_anchor_alone(log: Api, owner: Person) -> None:
    anchor = (await verdict(owner)).head
    await sql(log, "UPDATE audit_logs SET resource_target = 'x' WHERE resource_target = 'crew 4'")
    await sql(log, "DELETE FROM audit_seals")
    await sql(log, "UPDATE audit_mark SET position = 0, hash = decode(repeat('00', 32), 'hex'), time = '2000-01-01'")
    assert await sealed(log) == 10
    assert (await verdict(owner)).holds
    [fault] = (await verdict(owner, anchor)).faults
    assert (fault.what, fault.position) == ("rewritten", 10)


async def test_a_chain_that_breaks_off_does_not_hold(log: Api, owner: Person) -> None:
    lines = await chain(owner)
    for cut in (lines[:-1], lines[:5], []):
        assert [each.what for each in verify(cut).faults] == ["cut short"]


async def test_nothing_is_sealed_that_an_older_transaction_may_still_come_before(api: Api, owner: Person) -> None:
    await sql(api, "DELETE FROM audit_logs")
    told = {"action": "write", "resource_type": "group", "resource_id": UUID(int=7)}
    async with api.resources.database.begin() as slow:
        await audit.record_alone(slow, **told, target="slow")  # type: ignore[arg-type]
        async with api.resources.database.begin() as quick:
            await audit.record_alone(quick, **told, target="quick")  # type: ignore[arg-type]
        assert await sealed(api) == 0
    async with asyncio.timeout(60):
        while await sealed(api) or len(lines := await chain(owner)) < 4 or lines[2]["kind"] != "seal":
            await asyncio.sleep(0.05)
    assert [line["entry"]["resource_target"] for line in lines[1:3]] == ["slow", "quick"]
    assert verify(lines).holds


async def test_two_sealers_at_once_seal_everything_once(api: Api, owner: Person) -> None:
    await sql(api, "DELETE FROM audit_logs")
    await sql(api, SEED, many=60)
    await asyncio.gather(*(sealed(api, 7) for _ in range(4)))
    await sealed(api, 7)
    found = await verdict(owner)
    assert (found.holds, found.entries) == (True, 60)


async def test_what_retention_deletes_leaves_a_chain_that_holds_and_says_so(log: Api, owner: Person) -> None:
    await sql(log, SEED.replace("3 days", "1 day"), many=5)
    await sealed(log)
    anchor = (await verdict(owner)).head
    cutoff = datetime.now(UTC) - timedelta(days=2)
    for limit, gone in ((4, 4), (100, 6), (100, 0)):
        async with log.resources.database.begin() as session:
            assert await seals.cut(session, cutoff, limit) == gone
    found = await verdict(owner, anchor)
    assert (found.holds, found.entries, found.faults) == (True, 5, ())
    [newest, *_] = (await owner.client.get(AUDIT, params={"q": "resource_type:audit_log"})).json()["audit_logs"]
    assert (newest["action"], newest["resource_target"], newest["user"]) == ("delete", "up to 10", None)
    assert newest["additional_fields"]["automatic_subsystem"] == "audit_retention"


async def test_the_export_holds_what_is_found_oldest_first(
    log: Api, owner: Person, member: Person, outsider: Person
) -> None:
    await sql(log, SEED, many=1200)

    async def lines(person: Person, q: str = "") -> list[dict[str, Any]]:
        answer = await person.client.get(f"{AUDIT}/export", params={"q": q})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]

    everything = await lines(owner, "resource_type:group")
    assert len(everything) == 1210
    assert [each["time"] for each in everything] == sorted(each["time"] for each in everything)
    assert sorted(each["position"] for each in everything if each["position"]) == list(range(1, 11))
    assert [each["resource_target"] for each in await lines(owner, 'resource_target:"crew 7"')] == ["crew 7"] * 2
    watcher = await log.person("watcher", org_roles=("organization-auditor",))
    await member.client.put("/api/v2/chats/config/user-prompt", json={"custom_prompt": "hidden"})
    assert await lines(watcher) == []
    for somebody, path in ((outsider, "export"), (watcher, "chain"), (member, "chain")):
        assert (await somebody.client.get(f"{AUDIT}/{path}")).status_code == 403
    assert (await owner.client.get(f"{AUDIT}/export", params={"q": "colour:red"})).status_code == 400
