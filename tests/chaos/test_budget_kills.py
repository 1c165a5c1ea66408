"""Workers are killed while many people's turns spend from nested budgets: none is ever exceeded, and all is settled."""

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest
import pytest_asyncio

from tests.chaos.api import CHATS, Api
from tests.chaos.stack import CHAOS, PATIENCE, Stack, ask, content, eventually, said, words

pytestmark = CHAOS
log = logging.getLogger(__name__)

SENDS = int(os.environ.get("TURNSTONE_TEST_SENDS", "30"))
EACH = 5  # messages of a talk, the opening aside
TALKS = SENDS // EACH
AT_ONCE = 24  # talks
KILLS = max(3, SENDS // 50)
TOKENS, PROMPT = 12, 5000  # of an answer, and what the provider counts of its question: fewer than it has bytes
COST = PROMPT + 15 * TOKENS
SETTLING = PATIENCE + SENDS / 2  # seconds, for all chats together
PRICES = {"input": "1", "output": "15", "cache_read": "0.1", "cache_write": "1"}

# Each commit that touches a budget is judged by the database itself: every reader's worst moment is some commit. A
# budget's row is locked from its change to the commit, so what is reserved is exactly what is open then.
WITNESS = """
CREATE TABLE witness (at timestamptz DEFAULT clock_timestamp(), what text, seen jsonb);
CREATE FUNCTION judge_budget() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE now_is record; open_micros bigint; most bigint; BEGIN
    SELECT * INTO now_is FROM budget_periods WHERE budget_id = new.budget_id AND starts_on = new.starts_on;
    SELECT limit_micros INTO most FROM budgets WHERE id = new.budget_id;
    IF now_is IS NULL OR most IS NULL THEN RETURN NULL; END IF;
    SELECT coalesce(sum(amount_micros), 0) INTO open_micros FROM budget_reservations
        WHERE new.budget_id = ANY(budget_ids);
    IF now_is.settled_micros + now_is.reserved_micros > most THEN
        INSERT INTO witness (what, seen) VALUES ('above its limit', to_jsonb(now_is));
    END IF;
    IF now_is.reserved_micros <> open_micros THEN
        INSERT INTO witness (what, seen) VALUES ('reserved for nothing', to_jsonb(now_is)
            || jsonb_build_object('open', open_micros));
    END IF;
    IF tg_op = 'UPDATE' AND old.settled_micros > now_is.settled_micros THEN
        INSERT INTO witness (what, seen) VALUES ('unspent', to_jsonb(old));
    END IF;
    RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER judge_budget AFTER INSERT OR UPDATE ON budget_periods DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION judge_budget();
CREATE TABLE witness_ends (chat_id uuid, kind text);
CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness_ends VALUES (new.id, new.last_error ->> 'kind'); RETURN NULL; END $$;
CREATE TRIGGER note_end AFTER UPDATE OF status ON chats FOR EACH ROW
    WHEN (new.status = 'error' AND old.status <> 'error') EXECUTE FUNCTION note_end()"""
GONE = """
DROP TRIGGER judge_budget ON budget_periods;
DROP TRIGGER note_end ON chats;
DROP FUNCTION judge_budget();
DROP FUNCTION note_end();
DROP TABLE witness, witness_ends"""
FAMILY = "UPDATE chats SET root_chat_id = %(root)s::uuid, parent_chat_id = %(root)s::uuid WHERE id = %(id)s::uuid"
STANDING = """
SELECT b.scope, b.scope_id::text, b.limit_micros, s.* FROM budgets b JOIN budget_periods s ON s.budget_id = b.id"""
PAID = """
SELECT coalesce(c.root_chat_id, c.id)::text AS family, coalesce(sum(m.total_cost_micros), 0)::bigint AS micros
FROM chats c JOIN chat_messages m ON m.chat_id = c.id WHERE c.id::text = ANY(%(ids)s) GROUP BY 1"""
AGED = "UPDATE budget_reservations SET created_at = created_at - interval '1 hour' RETURNING id"


@dataclass
class Nest:
    """Talks in families, each in its own budget, in that of the person, of a group and of the organization."""

    model: str
    group: str
    user: str
    families: dict[str, list[str]]

    @property
    def talks(self) -> list[str]:
        return [chat_id for family in self.families.values() for chat_id in family]


def most(stack: Stack, nest: Nest) -> dict[tuple[str, str], int]:
    """Every limit is less than all that it counts would cost: somebody is stopped, however slow the machine is."""
    whole = SENDS * COST
    found = {
        ("organization", str(stack.facts["organization_id"])): whole * 90 // 100,
        ("group", nest.group): whole * 85 // 100,
        ("user", nest.user): whole * 80 // 100,
    }
    for root, family in [*nest.families.items()][1::2]:
        found["chat", root] = len(family) * EACH * COST * 70 // 100
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def nest(stack: Stack) -> AsyncIterator[Nest]:
    """Chats that rest after a first message for which nothing was paid; the budgets begin with the storm."""
    organization = stack.facts["organization_id"]
    async with stack.api() as api:
        provider = await api.get("/api/v2/ai/providers/fake")
        options = {"cost": {f"{kind}_price_per_million_tokens": price for kind, price in PRICES.items()}}
        model = {"ai_provider_id": provider["id"], "model": "fake-priced", "context_limit": 100_000}
        model["model_config"] = options | {"max_output_tokens": 1024}
        config = await api.post(f"{CHATS}/model-configs", model)
        me = await api.get("/api/v2/users/me")
        group = await api.post(f"/api/v2/organizations/{organization}/groups", {"name": "spenders"})
        await api.change("PATCH", f"/api/v2/groups/{group['id']}", {"add_users": [me["id"]]})
        room = asyncio.Semaphore(AT_ONCE)

        async def opened() -> str:
            async with room:
                chat_id = await stack.create(ask("opening", tokens=1))
                await stack.rest(chat_id)
            return chat_id

        chats = await asyncio.gather(*(opened() for _ in range(TALKS)))
        families = {root: [root] for root in chats[: max(1, TALKS // 3)]}
        for place, chat_id in enumerate(chats[len(families) :]):
            root = [*families][place % len(families)]
            await stack.query(FAMILY + " RETURNING id", root=root, id=chat_id)
            families[root].append(chat_id)
        await run(stack, WITNESS)
        made = Nest(config["id"], group["id"], me["id"], families)
        try:
            yield made
        finally:
            for (scope, subject), _ in most(stack, made).items():
                await api.change("DELETE", f"/api/v2/organizations/{organization}/budgets/{scope}/{subject}")
            await api.change("DELETE", f"/api/v2/groups/{group['id']}")
            await api.change("DELETE", f"{CHATS}/model-configs/{config['id']}")
            await run(stack, GONE)


async def run(stack: Stack, script: str) -> None:
    """Statements that answer nothing."""
    async with await psycopg.AsyncConnection.connect(stack.facts["database_url"]) as connection:
        await connection.execute(script.encode())


@dataclass
class Storm:
    """What came of it as those saw it who sent."""

    accepted: dict[str, list[str]]
    refused: list[str]
    kills: int = 0

    @property
    def sent(self) -> int:
        return sum(map(len, self.accepted.values())) + len(self.refused)


async def storm(stack: Stack, nest: Nest, chance: random.Random) -> Storm:
    """All talk at once while workers are killed, until every talk has come to its end and nothing is reserved."""
    made = Storm({chat_id: [] for chat_id in nest.talks}, [])
    room = asyncio.Semaphore(AT_ONCE)

    async def talk(api: Api, chat_id: str) -> None:
        async with room:
            for _ in range(EACH):
                while made.kills < made.sent * KILLS // SENDS:  # so that all of the storm is one
                    await asyncio.sleep(0.05)
                text = ask("in the storm", tokens=TOKENS, interval_ms=15, input_tokens=PROMPT)
                body = content(text) | {"model_config_id": nest.model}
                answer = await api.http.post(f"{CHATS}/{chat_id}/messages", json=body)
                if answer.status_code == 200:
                    made.accepted[chat_id].append(text)
                else:
                    assert answer.status_code == 409, answer.text
                    made.refused.append(answer.json()["message"])
                await asyncio.sleep(chance.uniform(0, 0.3))

    async def kill() -> None:
        """So many times, each when a call is under way if there is one soon."""
        while made.kills < KILLS:
            for _ in range(200):
                if await stack.query("SELECT id FROM budget_reservations LIMIT 1"):
                    break
                await asyncio.sleep(0.02)
            await asyncio.sleep(chance.uniform(0, 0.1))
            replaced = await stack.kill("worker")
            made.kills += 1
            await replaced

    async def all_rest() -> bool:
        busy = "SELECT id FROM chats WHERE id::text = ANY(%(ids)s) AND status NOT IN ('waiting', 'error')"
        return not await stack.query(busy, ids=nest.talks)

    async def nothing_open() -> bool:
        return not await stack.query("SELECT id FROM budget_reservations")

    killing = asyncio.create_task(kill())
    async with stack.api(0) as one, stack.api(1) as two, stack.second_worker():
        await asyncio.gather(*(talk((one, two)[place % 2], chat_id) for place, chat_id in enumerate(nest.talks)))
        await killing
        await eventually(all_rest, "every talk has come to its end", SETTLING)
        await stack.query(AGED)
        await eventually(nothing_open, "the sweep has settled what the dead had reserved")
    return made


@pytest.mark.timeout(300 + SENDS)
async def test_workers_that_are_killed_in_a_storm_of_sends_exceed_no_budget_and_leave_nothing_reserved(
    stack: Stack, nest: Nest
) -> None:
    limits = most(stack, nest)
    async with stack.api() as api:
        for (scope, subject), limit in limits.items():
            path = f"/api/v2/organizations/{stack.facts['organization_id']}/budgets/{scope}/{subject}"
            await api.change("PUT", path, {"limit_micros": limit, "period": "total"})
    made = await storm(stack, nest, random.Random(7))
    assert await stack.query("SELECT what, seen FROM witness") == []
    answered = await every_message_came_to_an_end(stack, nest, made)
    paid = {row["family"]: row["micros"] for row in await stack.query(PAID, ids=nest.talks)}
    budgets = await stack.query(STANDING)
    assert {(row["scope"], row["scope_id"]) for row in budgets} == set(limits)
    for row in budgets:
        of = paid.get(row["scope_id"], 0) if row["scope"] == "chat" else sum(paid.values())
        assert row["settled_micros"] - row["estimated_micros"] == of, row
        assert (row["reserved_micros"], row["overrun_micros"]) == (0, 0), row
        assert row["settled_micros"] <= row["limit_micros"], row
    assert sum(paid.values()) == answered * COST
    assert any(row["estimated_micros"] for row in budgets), "no kill met a call: this test says nothing"


async def every_message_came_to_an_end(stack: Stack, nest: Nest, made: Storm) -> int:
    """Answered whole, ended by a budget, or in the queue of a chat that a budget stopped; how many were answered."""
    ends = await stack.query("SELECT chat_id::text, kind FROM witness_ends")
    assert {end["kind"] for end in ends} | set(made.refused) <= {"usage_limit", "Chat usage limit exceeded."}
    assert ends, "no budget stopped anybody: this test says nothing"
    failed = Counter(end["chat_id"] for end in ends)
    queues = await stack.query("SELECT chat_id::text, content FROM chat_queued_messages ORDER BY position, id")
    statuses = {row["id"]: row["status"] for row in await stack.query("SELECT id::text, status FROM chats")}
    answered = 0
    for chat_id in nest.talks:
        messages = await stack.messages(chat_id)
        waiting = [row["content"][0]["text"] for row in queues if row["chat_id"] == chat_id]
        assert said(messages, "user")[1:] + waiting == made.accepted[chat_id], "each is there once, in its order"
        assert not waiting or statuses[chat_id] == "error"
        answers = said(messages)[1:]
        assert answers == [words(TOKENS)] * len(answers)
        assert len(said(messages, "user")) - 1 == len(answers) + failed[chat_id]
        answered += len(answers)
    log.info(
        "%d sent, %d answered, %d ended by a budget, %d refused, %d left in queues; %d kills",
        made.sent - len(made.refused), answered, len(ends), len(made.refused), len(queues), made.kills,
    )  # fmt: skip
    return answered
