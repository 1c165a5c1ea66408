"""The web process's meters: by route and not by chat, with the backlog of the whole deployment."""

import re

from prometheus_client.parser import text_string_to_metric_families

from models.store import standing
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}")


async def meters(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await api.stranger.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_requests_are_counted_under_their_operation_and_never_under_a_chat(api: Api, member: Person) -> None:
    talk = Talk(api, member)
    chat = await talk.start()
    await talk.get(chat)
    await talk.get(chat)
    await member.client.get(f"{CHATS}/{chat}/nothing-there")
    found = await meters(api)
    counted = (("method", "GET"), ("operation", "get_chat"), ("status", "200"))
    assert found["turnstone_http_requests_total", counted] == 2
    unmatched = (("method", "GET"), ("operation", "unmatched"), ("status", "404"))
    assert found["turnstone_http_requests_total", unmatched] == 1
    assert not UUID.search(str(found))


async def test_the_backlog_is_what_waits_in_the_database(api: Api, member: Person) -> None:
    talk = Talk(api, member)
    chat = await talk.start()
    await talk.say(chat, "queued behind it")
    found = await meters(api)
    assert found["turnstone_queue_depth", ()] == 1
    assert found["turnstone_active_chats", (("status", "pending"),)] == 1
    assert found["turnstone_active_chats", (("status", "running"),)] == 0


async def test_a_look_at_the_backlog_reads_no_chat_at_rest(api: Api, member: Person) -> None:
    talk = Talk(api, member)
    await talk.start()
    async with api.resources.database.begin() as session:
        await fetch(session, "SET LOCAL enable_seqscan = off")
        plan = str(await fetch(session, "EXPLAIN " + standing.ACTIVE_CHATS))
        assert (await standing.backlog(session)).chats["pending"] == 1
    assert "ix_chats_runnable" in plan
    assert "Seq Scan on chats" not in plan
