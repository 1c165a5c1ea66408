"""Signing in with a password: who fails waits, nobody is told what exists, and sessions can be seen and ended."""

import asyncio
import itertools
from typing import Any

import httpx
import pytest

from models.errors import Exhausted
from models.rules import lockout
from models.store import lockouts, people
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.test_users import USERS, create_with_password, eventually, signed_in
from tests.api.trips import trips

BOB, RIGHT = "bob@example.com", "battery staple"


@pytest.fixture
async def bob(api: Api, owner: Person) -> str:
    return await create_with_password(api, owner)


async def locked(api: Api, until: str = "now() + interval '1 hour'") -> None:
    """Who waits waits until then; the others go on."""
    statement: Any = f"UPDATE sign_in_failures SET locked_until = {until} WHERE locked_until IS NOT NULL"
    async with api.resources.database.begin() as session:
        await fetch(session, statement)


async def kept(api: Api, key: str) -> dict[str, Any] | None:
    async with api.resources.database.read() as session:
        rows = await fetch(
            session,
            "SELECT failures, locked_until - updated_at AS wait FROM sign_in_failures WHERE key = %(key)s",
            {"key": key},
        )
    return dict(rows[0]) if rows else None


@pytest.mark.parametrize("email", [BOB, "nobody@example.com"])
async def test_an_account_that_fails_five_times_waits_whether_it_exists_or_not(
    api: Api, bob: str, owner: Person, email: str
) -> None:
    answers = [await signed_in(api, email, "a wrong guess") for _ in range(5)]
    assert {each.status_code for each in answers} == {401}
    assert await kept(api, lockouts.account(email)) == {"failures": 5, "wait": lockout.FIRST}
    await locked(api)
    for password in (RIGHT, "a wrong guess"):
        refused = await signed_in(api, email.upper(), password)
        assert (refused.status_code, refused.json()) == (429, {"message": "Too many attempts to sign in."})
        assert int(refused.headers["Retry-After"]) > 3000
    # Nobody else waits, and a wait is no failure.
    assert (await signed_in(api, "another@example.com", "a wrong guess")).status_code == 401
    await locked(api, "now()")
    assert (await signed_in(api, email, "a wrong guess")).status_code == 401
    assert await kept(api, lockouts.account(email)) == {"failures": 6, "wait": 2 * lockout.FIRST}


async def test_who_signs_in_is_forgiven_by_time_by_an_admin_and_by_being_right(
    api: Api, bob: str, owner: Person
) -> None:
    key, clerk = lockouts.account(BOB), await api.person("clerk", site_roles=("user-admin",))
    for _ in range(5):
        await signed_in(api, BOB, "a wrong guess")
    await locked(api)
    stranger = await api.person("stranger")
    assert (await stranger.client.post(f"{USERS}/bob/unlock")).status_code == 403
    assert (await clerk.client.post(f"{USERS}/admin/unlock")).status_code == 403
    assert (await clerk.client.post(f"{USERS}/bob/unlock")).status_code == 204
    assert await kept(api, key) is None
    for _ in range(4):
        await signed_in(api, BOB, "a wrong guess")
    assert (await signed_in(api, BOB, RIGHT)).status_code == 201
    assert await kept(api, key) is None
    async with api.resources.database.begin() as session:
        await fetch(
            session,
            """INSERT INTO sign_in_failures (key, failures, updated_at)
               VALUES (%(key)s, 99, now() - interval '2 days'), ('account long gone', 9, now() - interval '2 days')""",
            {"key": key},
        )
    assert (await signed_in(api, BOB, "a wrong guess")).status_code == 401
    assert await kept(api, key) == {"failures": 1, "wait": None}
    assert await kept(api, "account long gone") is None


async def test_an_address_gets_back_what_its_own_sign_ins_cost_and_no_more(api: Api, bob: str) -> None:
    where = lockouts.address("127.0.0.1")
    for guessed in range(3):
        await signed_in(api, f"victim{guessed}@example.com", "a wrong guess")
        assert (await signed_in(api, BOB, RIGHT)).status_code == 201
    assert await kept(api, where) == {"failures": 3, "wait": None}
    async with api.resources.database.begin() as session:
        await fetch(session, "UPDATE sign_in_failures SET failures = 19 WHERE key = %(key)s", {"key": where})
    assert (await signed_in(api, "victim@example.com", "a wrong guess")).status_code == 401
    await locked(api)
    assert (await signed_in(api, BOB, RIGHT)).status_code == 429


async def test_of_many_guesses_at_once_only_so_many_are_judged(api: Api) -> None:
    async def guess() -> bool:
        try:
            async with api.resources.database.begin() as session:
                await lockouts.attempt(session, "account at once", lockouts.address("192.0.2.9"))
        except Exhausted:
            return False
        return True

    assert sum(await asyncio.gather(*(guess() for _ in range(20)))) == lockout.OF_ACCOUNT


async def test_an_account_that_is_not_there_costs_the_database_as_much_as_one_that_is(api: Api, bob: str) -> None:
    counts = []
    for email in ("warm@example.com", BOB, "nobody@example.com"):
        with trips(api.resources.database) as counted:
            await signed_in(api, email, "a wrong guess")
        counts.append(counted.count)
    assert counts[1] == counts[2]
    # BEGIN, its rows and locks together; the count and COMMIT; the password; the audit log's entry.
    assert counts[2] <= 5


@pytest.mark.parametrize("password", ["bob@example.com", "password123", "short"])
async def test_a_password_that_is_easy_to_guess_is_not_taken(api: Api, bob: str, owner: Person, password: str) -> None:
    new = {"email": "bea@example.com", "username": "bea", "organization_ids": [str(api.organization_id)]}
    asked = [
        ("PUT", f"{USERS}/bob/password", {"password": password}),
        ("POST", USERS, {**new, "name": "Bob Example", "password": password}),
    ]
    for method, path, body in asked:
        refused = await owner.client.request(method, path, json=body)
        assert (refused.status_code, refused.json()["validations"][0]["field"]) == (400, "password")
    judged = (await api.stranger.post(f"{USERS}/validate-password", json={"password": "password123"})).json()
    assert (judged["valid"], "Too easy" in judged["details"]) == (False, True)
    judged = (await api.stranger.post(f"{USERS}/validate-password", json={"password": RIGHT})).json()
    assert judged == {"valid": True, "details": ""}


async def test_sessions_tell_where_they_are_from_and_end_one_by_one_or_together(api: Api, bob: str) -> None:
    clients: list[httpx.AsyncClient] = []
    for agent in ("Phone", "Laptop", "Kiosk"):
        body = {"email": BOB, "password": RIGHT}
        made = await api.stranger.post(f"{USERS}/login", json=body, headers={"User-Agent": agent})
        clients.append(api.client(made.json()["session_token"]))
    phone, laptop, kiosk = clients
    listed = {each["user_agent"]: each for each in (await phone.get(f"{USERS}/me/sessions")).json()}
    assert set(listed) == {"Phone", "Laptop", "Kiosk"}
    assert {each["ip_address"] for each in listed.values()} == {"127.0.0.1"}
    assert [name for name, each in listed.items() if each["current"]] == ["Phone"]
    assert (await phone.delete(f"{USERS}/me/sessions/{listed['Kiosk']['id']}")).status_code == 204
    assert (await phone.delete(f"{USERS}/me/sessions/{listed['Kiosk']['id']}")).status_code == 404
    await eventually(kiosk, 401)
    key = (await phone.post(f"{USERS}/me/keys/tokens", json={})).json()["key"]
    assert (await phone.delete(f"{USERS}/me/sessions")).status_code == 204
    await eventually(laptop, 401)
    assert [each["user_agent"] for each in (await phone.get(f"{USERS}/me/sessions")).json()] == ["Phone"]
    assert (await api.client(key).get(f"{USERS}/me")).status_code == 200


async def test_ones_sessions_are_for_oneself_and_who_administers_one(api: Api, bob: str, owner: Person) -> None:
    token = (await signed_in(api, BOB, RIGHT)).json()["session_token"]
    clerk, peer = await api.person("clerk", site_roles=("user-admin",)), await api.person("peer")
    boss = await api.person("boss", org_roles=("organization-admin",))
    for caller, whose, expected in ((peer, "bob", 404), (boss, "bob", 403), (clerk, "admin", 403), (clerk, "bob", 200)):
        assert (await caller.client.get(f"{USERS}/{whose}/sessions")).status_code == expected
    assert (await clerk.client.delete(f"{USERS}/bob/sessions")).status_code == 204
    await eventually(api.client(token), 401)


async def test_who_is_suspended_has_no_session_left_and_keeps_their_tokens_for_later(
    api: Api, bob: str, owner: Person
) -> None:
    mine = api.client((await signed_in(api, BOB, RIGHT)).json()["session_token"])
    robot = api.client((await mine.post(f"{USERS}/me/keys/tokens", json={})).json()["key"])
    await owner.client.put(f"{USERS}/bob/status/suspend")
    assert (await signed_in(api, BOB, RIGHT)).status_code == 401
    await eventually(robot, 401)
    await owner.client.put(f"{USERS}/bob/status/activate")
    await eventually(robot, 200)
    assert (await mine.get(f"{USERS}/me")).status_code == 401
    assert (await signed_in(api, BOB, RIGHT)).status_code == 201


async def test_no_session_is_left_of_a_password_that_is_changed_while_somebody_signs_in_with_it(
    api: Api, bob: str, owner: Person
) -> None:
    passwords = [RIGHT, *(f"another long phrase {number}" for number in range(3))]
    for old, new in itertools.pairwise(passwords):
        change = owner.client.put(f"{USERS}/bob/password", json={"password": new})
        answers = await asyncio.gather(change, *(signed_in(api, BOB, old) for _ in range(3)))
        assert answers[0].status_code == 204
        assert (await owner.client.get(f"{USERS}/bob/sessions")).json() == []


async def test_who_is_dormant_wakes_by_coming_in(api: Api, owner: Person) -> None:
    body: dict[str, Any] = {"email": BOB, "username": "bob", "password": RIGHT, "user_status": "dormant"}
    body |= {"organization_ids": [str(api.organization_id)]}
    assert (await owner.client.post(USERS, json=body)).json()["status"] == "dormant"
    token = (await signed_in(api, BOB, RIGHT)).json()["session_token"]
    await api.client(token).get(f"{USERS}/me")
    assert (await owner.client.get(f"{USERS}/bob")).json()["status"] == "active"


async def test_a_service_account_has_tokens_and_nothing_else(api: Api, owner: Person) -> None:
    clerk = await api.person("clerk", site_roles=("user-admin",))
    new = {"organization_ids": [str(api.organization_id)], "service_account": True}
    for name in ("ci", "cron"):
        made = (await clerk.client.post(USERS, json={"username": name, **new})).json()
        assert (made["is_service_account"], made["login_type"], made["email"]) == (True, "none", "")
    wrong: list[dict[str, Any]] = [{"password": RIGHT}, {"login_type": "password"}, {"email": BOB}]
    for more in wrong:
        refused = await clerk.client.post(USERS, json={"username": "bad", **new, **more})
        assert (refused.status_code, bool(refused.json()["validations"])) == (400, True)
    person = {"username": "bea", "password": RIGHT, "organization_ids": new["organization_ids"]}
    assert (await clerk.client.post(USERS, json=person)).json()["validations"][0]["field"] == "email"
    assert (await clerk.client.put(f"{USERS}/ci/password", json={"password": RIGHT})).status_code == 400
    assert (await signed_in(api, "", "")).status_code == 401
    tokens = f"{USERS}/ci/keys/tokens"
    key = (await clerk.client.post(tokens, json={"scopes": ["chat:read"]})).json()["key"]
    assert (await api.client(key).get(f"{USERS}/me")).json()["username"] == "ci"
    [listed] = (await clerk.client.get(tokens)).json()
    assert (await clerk.client.delete(f"{USERS}/ci/keys/{listed['id']}")).status_code == 204
    peer, boss = await api.person("peer"), await api.person("boss", org_roles=("organization-admin",))
    assert (await peer.client.post(tokens, json={})).status_code == 404
    assert (await boss.client.post(tokens, json={})).status_code == 201
    assert (await boss.client.post(f"{USERS}/peer/keys/tokens", json={})).status_code == 403
    [listed] = (await boss.client.get(tokens)).json()
    assert (await boss.client.delete(f"{USERS}/ci/keys/{listed['id']}")).status_code == 204
    # One that is above whoever administers it is not theirs to act for.
    await owner.client.put(f"{USERS}/cron/roles", json={"roles": ["owner"]})
    for person_ in (clerk, boss):
        assert (await person_.client.post(f"{USERS}/cron/keys/tokens", json={})).status_code == 403


async def test_what_is_done_to_accounts_is_in_the_audit_log(api: Api, bob: str, owner: Person) -> None:
    await owner.client.post(f"{USERS}/bob/unlock")
    await owner.client.delete(f"{USERS}/bob/sessions")
    entries = (await owner.client.get("/api/v2/audit?q=resource_type:user")).json()["audit_logs"]
    told = [(each["action"], each["resource_target"], each["user"]["username"]) for each in entries]
    assert ("unlock", "bob", "admin") in told
    assert ("logout", "bob", "admin") in told


async def test_the_old_password_is_asked_for_as_often_as_signing_in_allows(api: Api, bob: str) -> None:
    client = api.client((await signed_in(api, BOB, RIGHT)).json()["session_token"])
    asked = {"password": "another long phrase", "old_password": "a wrong guess"}
    for _ in range(5):
        assert (await client.put(f"{USERS}/me/password", json=asked)).status_code == 400
    await locked(api)
    assert (await client.put(f"{USERS}/me/password", json={**asked, "old_password": RIGHT})).status_code == 429
    async with api.resources.database.read() as session:
        assert await people.password_of(session, BOB) is not None
