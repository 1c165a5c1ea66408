"""Budgets over the API: who sets which, what they show, what they stop, and who is warned."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from models.events import BudgetWarning, WatchEvent
from models.store import moves, reserving, secrets
from models.store.database import fetch
from models.store.moves import StepRow
from models.store.reserving import Call
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS, Talk, said

STATUS = "/api/v2/budgets/status"
FIGURES = ("settled_micros", "reserved_micros", "estimated_micros", "remaining_micros")


@pytest.fixture
def talk(api: Api, member: Person) -> Talk:
    return Talk(api, member)


@pytest.fixture
async def admin(api: Api) -> Person:
    return await api.person("boss", org_roles=("organization-admin",))


async def put(api: Api, by: Person, scope: str, subject: UUID, limit: int, **more: Any) -> httpx.Response:
    path = f"/api/v2/organizations/{api.organization_id}/budgets/{scope}/{subject}"
    return await by.client.put(path, json={"limit_micros": limit, **more})


async def spend(talk: Talk, chat: UUID, amount: int, cost: int) -> None:
    """A worker's call that reserves so much and costs so much."""
    database = talk.api.resources.database
    fence = await talk.begin(chat)
    attempt = (fence.history_version, fence.generation_attempt)
    async with database.begin() as session:
        await reserving.reserve(session, Call(chat, "step", amount, amount, amount, Decimal(1), *attempt))
    async with database.begin() as session:
        await moves.commit_step(session, fence, [StepRow("assistant", said("so"), total_cost_micros=cost)])


async def test_a_budget_that_is_used_up_stops_sends_until_it_is_raised(talk: Talk, owner: Person) -> None:
    chat, other = await talk.start(), await talk.start()
    made = await put(talk.api, owner, "chat", chat, 1000, period="day", warn_percents=[50])
    assert made.status_code == 200, made.text
    await spend(talk, chat, 900, 1000)
    refused = await talk.client.post(f"{CHATS}/{chat}/messages", json={"content": said("more")})
    assert refused.status_code == 409
    body = refused.json()
    assert body["message"] == "Chat usage limit exceeded."
    assert (body["spent_micros"], body["limit_micros"], body["resets_at"]) == (1000, 1000, made.json()["period_end"])
    await talk.say(other, "another family is not held up")
    assert (await put(talk.api, owner, "chat", chat, 1001, period="day")).json()["remaining_micros"] == 1
    await talk.say(chat, "go on")
    assert (await put(talk.api, owner, "user", talk.person.id, 1)).status_code == 200
    await spend(talk, other, 1, 1)
    new = {"organization_id": str(talk.api.organization_id), "content": said("hello")}
    refused = await talk.client.post(CHATS, json=new)
    assert (refused.status_code, refused.json()["limit_micros"]) == (409, 1)


async def test_one_sees_the_budgets_that_count_oneself_and_where_they_stand(
    talk: Talk, admin: Person, owner: Person
) -> None:
    api, me = talk.api, talk.person
    for scope, subject, by in (
        ("organization", api.organization_id, owner),
        ("user", me.id, admin),
        ("user", admin.id, admin),
    ):
        assert (await put(api, by, scope, subject, 5000, period="total")).status_code == 200
    await spend(talk, await talk.start(), 300, 120)
    await talk.begin(chat := await talk.start())
    database = api.resources.database
    async with database.begin() as session:
        await reserving.reserve(session, Call(chat, "aside", 40, 40, 0, Decimal(0)))
    shown = (await talk.client.get(STATUS)).json()
    assert [(each["scope"], each["scope_name"]) for each in shown] == [("organization", "default"), ("user", "member")]
    assert [tuple(each[name] for name in FIGURES) for each in shown] == [(120, 40, 0, 4840)] * 2
    listed = (await admin.client.get(f"/api/v2/organizations/{api.organization_id}/budgets")).json()
    assert [each["scope_id"] for each in listed] == [str(api.organization_id), str(me.id), str(admin.id)]
    path = f"/api/v2/organizations/{api.organization_id}/budgets/user/{me.id}"
    assert (await admin.client.delete(path)).status_code == 204
    assert (await admin.client.delete(path)).status_code == 404
    assert len((await talk.client.get(STATUS)).json()) == 1


async def test_an_organizations_own_budget_is_the_deployment_owners_and_bounds_the_others(
    api: Api, admin: Person, owner: Person
) -> None:
    assert (await put(api, admin, "organization", api.organization_id, 10)).status_code == 403
    assert (await put(api, owner, "organization", api.organization_id, 10)).status_code == 200
    above = await put(api, admin, "group", api.organization_id, 11)
    assert (above.status_code, above.json()["detail"]) == (400, "The organization's own budget is 10 micro-dollars.")
    assert (await put(api, admin, "group", api.organization_id, 10)).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit_micros": 0}, "limit_micros"),
        ({"limit_micros": 2**63}, "limit_micros"),
        ({"limit_micros": 5, "period": "year"}, "period"),
        ({"limit_micros": 5, "warn_percents": [101]}, "warn_percents"),
        ({"limit_micros": 5, "warn_percents": [*range(1, 12)]}, "warn_percents"),
    ],
)
async def test_what_is_no_budget_is_refused_by_field(api: Api, admin: Person, body: Any, field: str) -> None:
    path = f"/api/v2/organizations/{api.organization_id}/budgets/user/{admin.id}"
    refused = await admin.client.put(path, json=body)
    assert refused.status_code == 400
    assert [each["field"] for each in refused.json()["validations"]] == [field]


async def test_what_a_budget_was_is_told_and_nobody_overwrites_what_they_have_not_seen(
    talk: Talk, admin: Person, owner: Person
) -> None:
    path = f"/api/v2/organizations/{talk.api.organization_id}/budgets/user/{talk.person.id}"
    absent = await admin.client.put(path, json={"limit_micros": 5}, headers={"If-Match": "*"})
    assert absent.status_code == 412
    made = await put(talk.api, admin, "user", talk.person.id, 1000, period="day", warn_percents=[50])
    tag = made.headers["etag"]
    await spend(talk, await talk.start(), 300, 120)
    shown = await admin.client.get(path)
    assert (shown.headers["etag"], shown.json()["etag"]) == (tag, tag), "what is spent is no change of terms"
    changed = await admin.client.put(path, json={"limit_micros": 2000}, headers={"If-Match": tag})
    assert (changed.status_code, changed.headers["etag"] == tag) == (200, False)
    for ask in (admin.client.put(path, json={"limit_micros": 1}, headers={"If-Match": tag}),
                admin.client.delete(path, headers={"If-Match": tag})):  # fmt: skip
        refused = await ask
        assert (refused.status_code, refused.headers["etag"]) == (412, changed.headers["etag"])
    assert (await admin.client.get(path)).json()["limit_micros"] == 2000
    assert (await admin.client.delete(path, headers={"If-Match": changed.headers["etag"]})).status_code == 204
    entries = (await owner.client.get("/api/v2/audit", params={"q": "resource_type:budget"})).json()["audit_logs"]
    terms = ("limit_micros", "period", "warn_percents")
    told = [{name: (each["old"], each["new"]) for name in terms if (each := entry["diff"][name])} for entry in entries]
    assert told[::-1] == [
        {"limit_micros": (None, 1000), "period": (None, "day"), "warn_percents": (None, [50])},
        {"limit_micros": (1000, 2000), "period": ("day", "month"), "warn_percents": ([50], [80, 95])},
        {"limit_micros": (2000, 0), "period": ("month", ""), "warn_percents": ([80, 95], [])},
    ]
    assert {entry["resource_id"] for entry in entries} == {str(talk.person.id)}


async def test_who_reads_the_deployment_sees_the_budgets_of_all_organizations(
    api: Api, admin: Person, owner: Person
) -> None:
    other = (await owner.client.post("/api/v2/organizations", json={"name": "other"})).json()["id"]
    for organization in (str(api.organization_id), other):
        path = f"/api/v2/organizations/{organization}/budgets/organization/{organization}"
        assert (await owner.client.put(path, json={"limit_micros": 7})).status_code == 200
    assert (await put(api, admin, "user", admin.id, 5)).status_code == 200
    auditor = await api.person("auditor", site_roles=("auditor",))
    whole = (await auditor.client.get("/api/v2/budgets")).json()
    assert [(each["organization_id"], each["scope"]) for each in whole] == [
        (str(api.organization_id), "organization"), (str(api.organization_id), "user"), (other, "organization")
    ]  # fmt: skip
    pages = [await owner.client.get("/api/v2/budgets", params={"limit": 1, "offset": offset}) for offset in range(4)]
    assert [each for page in pages for each in page.json()] == whole
    assert (await admin.client.get("/api/v2/budgets")).status_code == 403


async def test_nobody_sets_a_budget_for_what_is_not_in_the_organization(api: Api, admin: Person, owner: Person) -> None:
    outsider = await api.person("far", org_roles=None)
    for scope in ("user", "group", "chat"):
        assert (await put(api, admin, scope, outsider.id, 5)).status_code == 404
    assert (await put(api, owner, "organization", outsider.id, 5)).status_code == 404
    assert (await put(api, admin, "planet", outsider.id, 5)).status_code == 400


async def test_each_threshold_is_warned_of_once_to_the_owners_webhook_and_watch_stream(
    talk: Talk, owner: Person
) -> None:
    api = talk.api
    hook = {"url": "https://example.com/hook", "events": ["budget.warning"]}
    assert (await talk.client.post("/api/v2/webhooks", json=hook)).status_code == 201
    assert (await put(api, owner, "user", talk.person.id, 1000, warn_percents=[50, 80, 95])).status_code == 200
    chat = await talk.start()
    resources = api.resources
    me = await resources.principals.find(secrets.digest(talk.person.token))
    assert me is not None
    await resources.live.listening()
    told: list[Any] = []
    with resources.live.sidebar(me) as watcher:
        for cost in (400, 100, 350, 20, 100):
            await spend(talk, chat, cost, cost)
            await talk.say(chat, "more")
        async with asyncio.timeout(60):
            while len(told) < 3:
                await asyncio.sleep(0.01)
                told += [orjson.loads(each.data) for each in watcher.take() if each.type == "budget_warning"]
    async with resources.database.read() as session:
        posted = await fetch(session, "SELECT event, chat_id, data FROM webhook_deliveries ORDER BY id")
    assert [each["budget"]["percent"] for each in told] == [50, 80, 95]
    assert [each["data"]["budget"] for each in posted] == [each["budget"] for each in told]
    assert {(each["event"], each["chat_id"]) for each in posted} == {("budget.warning", chat)}
    for each in told:
        warning = WatchEvent.model_validate(each).budget
        assert isinstance(warning, BudgetWarning)
        assert warning.settled_micros * 100 >= warning.percent * warning.limit_micros
        assert each["chat"]["id"] == str(chat)
