"""Spend limits: who sets them, which holds for whom, and what they stop."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said
from tests.api.trips import trips

NOWHERE = "0e2e0d8c-5f0c-4b8f-9d39-3f1a2b7c6d5e"

LIMITS = f"{CHATS}/usage-limits"
NEVER = "0001-01-01T00:00:00Z"
TOO_SMALL = "Spend limit must be greater than 0."


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


async def limit(owner: Person, micros: int | None, period: str = "month") -> None:
    response = await owner.client.put(LIMITS, json={"spend_limit_micros": micros, "period": period})
    assert response.status_code == 200, response.text


async def override(owner: Person, kind: str, subject: object, micros: int) -> None:
    response = await owner.client.put(f"{LIMITS}/{kind}/{subject}", json={"spend_limit_micros": micros})
    assert response.status_code == 200, response.text


async def spend(talk: Talk, micros: int, chat: UUID | None = None) -> UUID:
    """Have a turn that costs so much, in a new chat unless one is given."""
    if chat is None:
        chat = await talk.start()
    else:
        await talk.say(chat, "more")
    await talk.answer(chat, usage={"input_tokens": 1}, total_cost_micros=micros)
    return chat


async def spent_elsewhere(talk: Talk, micros: int) -> UUID:
    """The same in an organization of its own; its id."""
    async with talk.api.resources.database.begin() as session:
        [row] = await fetch(
            session,
            """
            WITH o AS (INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), 'elsewhere') RETURNING id),
            m AS (INSERT INTO organization_members (organization_id, user_id) SELECT id, %(user)s FROM o),
            g AS (INSERT INTO groups (id, organization_id, name) SELECT id, id, 'Everyone' FROM o)
            SELECT id FROM o
            """,
            {"user": talk.person.id},
        )
        await fetch(
            session,
            "INSERT INTO chat_spend (owner_id, day, organization_id, spent_micros) "
            "VALUES (%(user)s, (now() AT TIME ZONE 'UTC')::date, %(organization)s, %(micros)s)",
            {"user": talk.person.id, "organization": row["id"], "micros": micros},
        )
    return UUID(str(row["id"]))


async def standing(person: Person) -> dict[str, Any]:
    response = await person.client.get(f"{LIMITS}/status")
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


def refused(response: httpx.Response, spent: int, most: int) -> None:
    body = response.json()
    assert (response.status_code, body["message"]) == (409, "Chat usage limit exceeded.")
    assert (body["spent_micros"], body["limit_micros"]) == (spent, most)
    assert datetime.fromisoformat(body["resets_at"]) > datetime.now(UTC)
    assert set(body) == {"message", "spent_micros", "limit_micros", "resets_at"}


async def test_before_anybody_set_them_there_are_no_limits(owner: Person, member: Person) -> None:
    assert (await owner.client.get(LIMITS)).json() == {
        "spend_limit_micros": None,
        "period": "",
        "updated_at": NEVER,
        "unpriced_model_count": 1,
        "overrides": [],
        "group_overrides": [],
    }
    unlimited = {"is_limited": False, "current_spend": 0, "period_start": NEVER, "period_end": NEVER}
    assert await standing(member) == unlimited


async def test_the_default_is_set_changed_and_switched_off(owner: Person) -> None:
    made = (await owner.client.put(LIMITS, json={"spend_limit_micros": 5_000_000, "period": "week"})).json()
    assert set(made) == {"spend_limit_micros", "period", "updated_at"}
    shown = (await owner.client.get(LIMITS)).json()
    assert (shown["spend_limit_micros"], shown["period"], shown["updated_at"]) == (
        5_000_000,
        "week",
        made["updated_at"],
    )
    off = (await owner.client.put(LIMITS, json={"spend_limit_micros": None})).json()
    assert (off["spend_limit_micros"], off["period"]) == (None, "week"), "the period stays"
    assert (await owner.client.get(LIMITS)).json()["spend_limit_micros"] is None


async def test_a_limit_that_was_never_on_is_switched_off_as_monthly(owner: Person) -> None:
    assert (await owner.client.put(LIMITS, json={})).json()["period"] == "month"


PERIODS = "Period must be one of: day, week, month."
NONSENSE: list[tuple[str, dict[str, Any], str, str]] = [
    ("", {"spend_limit_micros": 0, "period": "day"}, "Invalid chat usage limit spend limit.", TOO_SMALL),
    ("", {"spend_limit_micros": -1, "period": "day"}, "Invalid chat usage limit spend limit.", TOO_SMALL),
    ("", {"spend_limit_micros": 5}, "Invalid chat usage limit period.", PERIODS),
    ("", {"spend_limit_micros": 5, "period": "year"}, "Invalid chat usage limit period.", PERIODS),
    ("", {"spend_limit_micros": None, "period": "year"}, "Invalid chat usage limit period.", PERIODS),
    ("/overrides/me", {"spend_limit_micros": 5}, "Invalid chat usage limit user ID.", ""),
    (f"/overrides/{NOWHERE}", {"spend_limit_micros": 0}, "Invalid chat usage limit override.", TOO_SMALL),
    (f"/overrides/{NOWHERE}", {}, "Invalid chat usage limit override.", TOO_SMALL),
    ("/group-overrides/all", {"spend_limit_micros": 5}, "Invalid group ID.", ""),
    (
        f"/group-overrides/{NOWHERE}",
        {"spend_limit_micros": -5},
        "Invalid chat usage limit group override.",
        "Spend limit (in microdollars) must be greater than 0.",
    ),
]


@pytest.mark.parametrize(("path", "body", "message", "detail"), NONSENSE)
async def test_a_limit_that_makes_no_sense_is_refused(
    owner: Person, path: str, body: dict[str, Any], message: str, detail: str
) -> None:
    response = await owner.client.put(f"{LIMITS}{path}", json=body)
    assert (response.status_code, response.json()["message"]) == (400, message)
    assert detail in response.json()["detail"]


async def test_a_limit_that_is_not_a_number_is_refused(owner: Person) -> None:
    for micros in ("5", 2**63, 1.5, True):
        response = await owner.client.put(LIMITS, json={"spend_limit_micros": micros, "period": "day"})
        assert (response.status_code == 400) == (micros != "5" and micros is not True), micros


async def test_overrides_are_listed_by_name_and_taken_away_once(
    api: Api, owner: Person, member: Person, outsider: Person
) -> None:
    group = (await owner.client.post("/api/v2/organizations/default/groups", json={"name": "engineering"})).json()
    await override(owner, "overrides", outsider.id, 7)
    await override(owner, "overrides", member.id, 5)
    await override(owner, "group-overrides", api.organization_id, 9)
    await override(owner, "group-overrides", group["id"], 3)
    shown = (await owner.client.get(LIMITS)).json()
    named = {"name": "", "avatar_url": ""}
    assert shown["overrides"] == [
        {"user_id": str(member.id), "username": "member", "spend_limit_micros": 5, **named},
        {"user_id": str(outsider.id), "username": "outsider", "spend_limit_micros": 7, **named},
    ]
    assert shown["group_overrides"] == [
        {
            "group_id": group["id"],
            "group_name": "engineering",
            "group_display_name": "engineering",
            "group_avatar_url": "",
            "member_count": 0,
            "spend_limit_micros": 3,
        },
        {
            "group_id": str(api.organization_id),
            "group_name": "Everyone",
            "group_display_name": "Everyone",
            "group_avatar_url": "",
            "member_count": 3,
            "spend_limit_micros": 9,
        },
    ]
    for path, nobody in (
        (f"overrides/{member.id}", "User not found."),
        (f"group-overrides/{group['id']}", "Group not found."),
    ):
        assert (await owner.client.delete(f"{LIMITS}/{path}")).status_code == 204
        again = await owner.client.delete(f"{LIMITS}/{path}")
        assert (again.status_code, again.json()["message"]) == (400, "Chat usage limit override not found.")
        elsewhere = f"{LIMITS}/{path.split('/')[0]}/{uuid.uuid4()}"
        unknown = await owner.client.delete(elsewhere)
        assert (unknown.status_code, unknown.json()["message"]) == (400, nobody)
        missing = await owner.client.put(elsewhere, json={"spend_limit_micros": 5})
        assert (missing.status_code, missing.json()["message"]) == (404, nobody)
    left = (await owner.client.get(LIMITS)).json()
    assert [len(left[key]) for key in ("overrides", "group_overrides")] == [1, 1]


async def test_limits_are_for_the_owner_to_set_and_for_auditors_to_see(api: Api, member: Person) -> None:
    auditor = await api.person("auditor", org_roles=None, site_roles=("auditor",))
    boss = await api.person("boss", org_roles=("organization-admin",))
    for somebody, expected in ((auditor, 200), (boss, 403), (member, 403)):
        assert (await somebody.client.get(LIMITS)).status_code == expected
        body = {"spend_limit_micros": 5, "period": "day"}
        assert (await somebody.client.put(LIMITS, json=body)).status_code == 403
        for kind in ("overrides", "group-overrides"):
            assert (await somebody.client.put(f"{LIMITS}/{kind}/{member.id}", json=body)).status_code == 403
            assert (await somebody.client.delete(f"{LIMITS}/{kind}/{member.id}")).status_code == 403


async def test_models_without_prices_are_counted(owner: Person) -> None:
    [config] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    path = f"{CHATS}/model-configs/{config['id']}"
    for cost, count in (
        ({"cache_read_price_per_million_tokens": 1}, 1),
        ({"output_price_per_million_tokens": 0}, 0),
        ({"input_price_per_million_tokens": "0.1"}, 0),
    ):
        await owner.client.patch(path, json={"model_config": {"cost": cost}})
        assert (await owner.client.get(LIMITS)).json()["unpriced_model_count"] == count, cost
    await owner.client.patch(path, json={"model_config": {}, "enabled": False})
    assert (await owner.client.get(LIMITS)).json()["unpriced_model_count"] == 0


async def test_who_has_spent_their_limit_creates_sends_and_edits_no_more(talk: Talk, owner: Person) -> None:
    await limit(owner, 100)
    chat = await spend(talk, 99)
    await talk.say(chat, "one micro is left")
    queued = (await talk.say(chat, "and this is queued"))["queued_message"]["id"]
    await talk.answer(chat, usage={"input_tokens": 1}, total_cost_micros=50)
    question = (await talk.history(chat))["messages"][-1]["id"]
    content = {"content": said("x")}
    asked = {**content, "organization_id": str(talk.api.organization_id)}
    refused(await talk.client.post(CHATS, json=asked), 149, 100)
    refused(await talk.client.post(f"{CHATS}/{chat}/messages", json=content), 149, 100)
    refused(await talk.client.patch(f"{CHATS}/{chat}/messages/{question}", json=content), 149, 100)
    assert queued
    stands = await talk.get(chat)
    assert stands["status"] == "pending", "what was accepted runs on: the queue's head was promoted"
    summary = (await talk.client.get(f"{CHATS}/cost/me/summary")).json()
    assert summary["usage_limit"] == await standing(talk.person)
    assert (summary["usage_limit"]["current_spend"], summary["total_cost_micros"]) == (149, 149)


async def test_promoting_what_was_accepted_is_not_checked_again(talk: Talk, owner: Person) -> None:
    chat = await talk.start()
    queued = (await talk.say(chat, "queued"))["queued_message"]["id"]
    await spend(talk, 10)
    await limit(owner, 10)
    assert (await talk.client.post(f"{CHATS}/{chat}/queue/{queued}/promote")).status_code == 202


async def test_an_answer_given_before_is_given_again_over_the_limit(talk: Talk, owner: Person) -> None:
    chat = await spend(talk, 5)
    await limit(owner, 10)
    body, key = {"content": said("x")}, {"Idempotency-Key": "k"}
    first = await talk.client.post(f"{CHATS}/{chat}/messages", json=body, headers=key)
    await talk.answer(chat, usage={"input_tokens": 1}, total_cost_micros=5)
    again = await talk.client.post(f"{CHATS}/{chat}/messages", json=body, headers=key)
    assert (again.status_code, again.content) == (first.status_code, first.content)


async def test_a_limit_is_felt_at_once_and_gone_at_once(talk: Talk, owner: Person) -> None:
    chat = await spend(talk, 10)
    content = {"content": said("x")}
    for micros, status in ((10, 409), (11, 200), (1, 409), (None, 200)):
        await limit(owner, micros)
        assert (await talk.client.post(f"{CHATS}/{chat}/messages", json=content)).status_code == status, micros


async def test_an_own_limit_goes_before_a_groups_and_a_groups_before_the_default(
    api: Api, talk: Talk, owner: Person
) -> None:
    group = (await owner.client.post("/api/v2/organizations/default/groups", json={"name": "engineering"})).json()
    await owner.client.patch(f"/api/v2/groups/{group['id']}", json={"add_users": [str(talk.person.id)]})
    empty = (await owner.client.post("/api/v2/organizations/default/groups", json={"name": "others"})).json()
    await limit(owner, 100)
    seen = [(await standing(talk.person))["spend_limit_micros"]]
    for kind, subject, micros in (
        ("group-overrides", empty["id"], 1),
        ("group-overrides", group["id"], 300),
        ("group-overrides", api.organization_id, 200),
        ("overrides", talk.person.id, 400),
    ):
        await override(owner, kind, subject, micros)
        seen.append((await standing(talk.person))["spend_limit_micros"])
    assert seen == [100, 100, 300, 200, 400]


async def test_a_groups_limit_counts_its_organization_and_the_others_count_all(
    api: Api, talk: Talk, owner: Person
) -> None:
    chat = await spend(talk, 10)
    elsewhere = await spent_elsewhere(talk, 1000)
    content = {"content": said("x")}
    await limit(owner, 500)
    refused(await talk.client.post(f"{CHATS}/{chat}/messages", json=content), 1010, 500)
    await override(owner, "group-overrides", api.organization_id, 500)
    assert (await talk.client.post(f"{CHATS}/{chat}/messages", json=content)).status_code == 200
    await override(owner, "group-overrides", elsewhere, 1)
    assert (await talk.client.post(f"{CHATS}/{chat}/messages", json=content)).status_code == 200
    shown = await standing(talk.person)
    assert (shown["spend_limit_micros"], shown["current_spend"]) == (1, 1000), "the tightest of all organizations"
    await override(owner, "overrides", talk.person.id, 500)
    refused(await talk.client.post(f"{CHATS}/{chat}/messages", json=content), 1010, 500)


async def test_a_new_period_begins_with_nothing_spent(talk: Talk, owner: Person) -> None:
    chat = await spend(talk, 10)
    await limit(owner, 10, "day")
    stands = await standing(talk.person)
    start, end = (datetime.fromisoformat(stands[key]) for key in ("period_start", "period_end"))
    assert (stands["is_limited"], stands["period"], end - start) == (True, "day", timedelta(days=1))
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "UPDATE chat_spend SET day = day - 1")
    assert (await standing(talk.person))["current_spend"] == 0
    await talk.say(chat, "a new day")


async def test_edits_and_purges_give_nothing_back(talk: Talk, owner: Person) -> None:
    chat = await spend(talk, 10)
    question = (await talk.history(chat))["messages"][-1]["id"]
    await talk.client.patch(f"{CHATS}/{chat}/messages/{question}", json={"content": said("x")})
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "DELETE FROM chats")
    await limit(owner, 10)
    assert (await standing(talk.person))["current_spend"] == 10


async def test_a_look_up_that_fails_lets_them_pass(talk: Talk, owner: Person) -> None:
    chat = await spend(talk, 10)
    await limit(owner, 10)
    async with talk.api.resources.database.begin() as session:
        await fetch(session, "ALTER TABLE groups RENAME COLUMN chat_spend_limit_micros TO elsewhere")
    await talk.say(chat, "through")
    assert len((await talk.history(chat))["messages"]) == 3


async def test_without_limits_a_send_costs_no_round_trip_more_and_with_them_one(talk: Talk, owner: Person) -> None:
    chat = await talk.start()

    async def say() -> int:
        with trips(talk.api.resources.database) as made:
            await talk.say(chat, "x")
        return made.count

    counts = []
    for micros in (None, 10**9):
        await limit(owner, micros)
        # The fewest of some: the caller is looked up anew until the notice of the change has come.
        counts.append(min([await say() for _ in range(5)]))
    # lock and look, write, commit; and one to look up the limit
    assert counts == [3, 4]
