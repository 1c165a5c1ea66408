"""Identity: the first user, signing in, tokens, and who may do what to whom."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from api.app import create_app
from models.errors import Conflict
from models.settings import Settings
from models.store import people
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import Talk

USERS = "/api/v2/users"
FIRST = {"email": "ada@example.com", "username": "ada", "name": "Ada", "password": "correct horse"}
NEVER = "0001-01-01T00:00:00Z"


async def make_empty(api: Api) -> None:
    """As before anybody came."""
    async with await api.resources.database.connect() as connection:
        await connection.execute("TRUNCATE users, organizations CASCADE")


async def signed_in(api: Api, email: str, password: str) -> httpx.Response:
    return await api.client().post(f"{USERS}/login", json={"email": email, "password": password})


async def create_with_password(api: Api, owner: Person, name: str = "bob", password: str = "battery staple") -> str:
    body = {
        "email": f"{name}@example.com",
        "username": name,
        "password": password,
        "organization_ids": [str(api.organization_id)],
    }
    response = await owner.client.post(USERS, json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def test_the_first_user_is_created_once_and_owns_the_deployment(api: Api) -> None:
    await make_empty(api)
    missing = await api.stranger.get(f"{USERS}/first")
    assert (missing.status_code, missing.json()["message"]) == (404, "The initial user has not been created!")
    made = await api.stranger.post(f"{USERS}/first", json=FIRST)
    assert made.status_code == 201
    again = await api.stranger.post(f"{USERS}/first", json={**FIRST, "username": "eve", "email": "eve@example.com"})
    assert (again.status_code, again.json()["message"]) == (409, "The initial user has already been created.")
    assert (await api.stranger.get(f"{USERS}/first")).status_code == 200
    token = (await signed_in(api, "ADA@example.com", "correct horse")).json()["session_token"]
    me = (await api.client(token).get(f"{USERS}/me")).json()
    assert me["id"] == made.json()["user_id"]
    assert me["organization_ids"] == [made.json()["organization_id"]]
    assert me["roles"] == [{"name": "owner", "display_name": "Owner"}]


async def test_of_many_first_users_at_once_one_is_made(api: Api) -> None:
    await make_empty(api)
    bodies = [{**FIRST, "username": f"ada{n}", "email": f"ada{n}@example.com"} for n in range(5)]
    responses = await asyncio.gather(*(api.stranger.post(f"{USERS}/first", json=body) for body in bodies))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409, 409]


async def test_a_user_is_shown_in_coders_shape(member: Person) -> None:
    me = (await member.client.get(f"{USERS}/me")).json()
    assert set(me) == {
        "id", "username", "name", "email", "avatar_url", "created_at", "updated_at", "last_seen_at", "status",
        "login_type", "is_service_account", "organization_ids", "roles",
    }  # fmt: skip
    assert (me["id"], me["status"], me["login_type"], me["roles"]) == (str(member.id), "active", "none", [])
    assert me["last_seen_at"] != NEVER


async def test_a_cookie_must_come_from_our_own_pages_to_change_anything(api: Api, owner: Person) -> None:
    await create_with_password(api, owner)
    login = await signed_in(api, "bob@example.com", "battery staple")
    assert "HttpOnly" in login.headers["set-cookie"]
    assert "SameSite=lax" in login.headers["set-cookie"]
    cookie = {"Cookie": f"coder_session_token={login.json()['session_token']}"}
    path = f"{USERS}/me/keys/tokens"
    assert (
        await api.stranger.get(f"{USERS}/me", headers={**cookie, "Sec-Fetch-Site": "cross-site"})
    ).status_code == 200
    for forged in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.test"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert (await api.stranger.post(path, json={}, headers={**cookie, **forged})).status_code == 403
    for ours in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://turnstone.test"}):
        assert (await api.stranger.post(path, json={}, headers={**cookie, **ours})).status_code == 201


async def test_signing_out_ends_the_session(api: Api, owner: Person) -> None:
    await create_with_password(api, owner)
    client = api.client((await signed_in(api, "bob@example.com", "battery staple")).json()["session_token"])
    assert (await client.post(f"{USERS}/logout")).json() == {"message": "Logged out!"}
    assert (await client.get(f"{USERS}/me")).status_code == 401


async def test_unknown_people_wrong_passwords_and_tokens_only_accounts_get_the_same_answer(
    api: Api, owner: Person
) -> None:
    await create_with_password(api, owner)
    await api.person("robot")
    attempts = [("bob@example.com", "wrong password"), ("nobody@example.com", "x"), ("robot@example.com", "")]
    answers = [await signed_in(api, *attempt) for attempt in attempts]
    assert {(each.status_code, each.text) for each in answers} == {
        (401, '{"message":"Incorrect email or password."}\n')
    }


async def test_a_suspended_user_is_out_at_once_and_back_when_activated(owner: Person, member: Person) -> None:
    assert (await member.client.get(f"{USERS}/me")).status_code == 200
    suspended = await owner.client.put(f"{USERS}/member/status/suspend")
    assert suspended.json()["status"] == "suspended"
    await eventually(member.client, 401)
    await owner.client.put(f"{USERS}/member/status/activate")
    assert (await member.client.get(f"{USERS}/me")).status_code == 200


@pytest.mark.parametrize("away", ["suspended", "deleted"])
async def test_the_turns_of_whoever_is_suspended_or_deleted_are_stopped_and_nobody_elses(
    api: Api, owner: Person, member: Person, away: str
) -> None:
    talk, others = Talk(api, member), Talk(api, await api.person("friend", org_roles=("agents-access",)))
    pending, running, resting, other = await talk.start(), await talk.start(), await talk.start(), await others.start()
    await talk.begin(running)
    await talk.answer(resting)
    await talk.say(running, "queued")
    if away == "deleted":
        assert (await owner.client.delete(f"{USERS}/member")).status_code == 200
    else:
        assert (await owner.client.put(f"{USERS}/member/status/suspend")).status_code == 200
    stood = "SELECT id, status FROM chats"
    async with api.resources.database.read() as session:
        statuses = {row["id"]: row["status"] for row in await fetch(session, stood)}
    assert [statuses[chat] for chat in (pending, running, resting, other)] == [
        "interrupting", "interrupting", "waiting", "pending"
    ]  # fmt: skip


async def test_a_deleted_user_is_gone_and_their_name_is_free(api: Api, owner: Person, member: Person) -> None:
    endpoint = {"url": "https://example.com/hook", "events": ["chat.turn_finished"]}
    assert (await member.client.post("/api/v2/webhooks", json=endpoint)).status_code == 201
    response = await owner.client.delete(f"{USERS}/{member.id}")
    assert response.json() == {"message": "User has been deleted!"}
    await eventually(member.client, 401)
    assert (await owner.client.get(f"{USERS}/member")).status_code == 404
    await create_with_password(api, owner, "member")
    async with api.resources.database.read() as session:
        assert await fetch(session, "SELECT FROM webhook_endpoints") == []


async def eventually(client: httpx.AsyncClient, status: int) -> None:
    """The notification is on its way: wait for it, far below the ten seconds that the cache would last."""
    for _ in range(100):
        response = await client.get(f"{USERS}/me")
        if response.status_code == status:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"still {response.status_code}")


async def test_a_revocation_reaches_other_processes_at_once(api: Api, member: Person, settings: Settings) -> None:
    elsewhere = create_app(settings)
    async with elsewhere.router.lifespan_context(elsewhere) as state:
        other = Api(elsewhere, dict(state or {}), api.organization_id, api._stack)
        client = other.client(member.token)
        assert (await client.get(f"{USERS}/me")).status_code == 200
        [token] = (await member.client.get(f"{USERS}/me/keys/tokens")).json()
        assert (await member.client.delete(f"{USERS}/me/keys/{token['id']}")).status_code == 204
        assert (await member.client.get(f"{USERS}/me")).status_code == 401
        await eventually(client, 401)


async def test_a_cut_listener_forgets_what_it_may_have_missed(api: Api, member: Person, settings: Settings) -> None:
    assert (await member.client.get(f"{USERS}/me")).status_code == 200
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        connection.execute("DELETE FROM api_keys WHERE user_id = %s", (member.id,))  # without a notification
    await eventually(member.client, 401)


async def test_an_expired_token_is_no_key_however_lately_it_was_used(api: Api, member: Person) -> None:
    async with api.resources.database.begin() as session:
        _, token = await people.create_token(session, member.id, kind="token", lifetime=timedelta(seconds=1))
    client = api.client(token)
    assert (await client.get(f"{USERS}/me")).status_code == 200
    await eventually(client, 401)


async def test_users_are_searched_and_counted(api: Api, owner: Person, member: Person) -> None:
    for name in ("zed", "Bea", "carl"):
        await api.person(name)
    everybody = (await owner.client.get(USERS)).json()
    assert [user["username"] for user in everybody["users"]] == ["admin", "Bea", "carl", "member", "zed"]
    assert everybody["count"] == 5
    page = (await owner.client.get(USERS, params={"limit": 2, "offset": 1})).json()
    assert ([user["username"] for user in page["users"]], page["count"]) == (["Bea", "carl"], 5)
    beyond = (await owner.client.get(USERS, params={"limit": 2, "offset": 9})).json()
    assert (beyond["users"], beyond["count"]) == ([], 5)
    assert [user["username"] for user in (await owner.client.get(USERS, params={"q": "EA"})).json()["users"]] == ["Bea"]


async def test_a_name_or_address_is_taken_once_whatever_its_case(api: Api, owner: Person) -> None:
    await create_with_password(api, owner, "bob")
    organizations = [str(api.organization_id)]
    for name, email in (("BOB", "new@example.com"), ("new", "BOB@example.com")):
        body = {"username": name, "email": email, "password": "battery staple", "organization_ids": organizations}
        response = await owner.client.post(USERS, json=body)
        assert (response.status_code, response.json()["message"]) == (409, "User already exists.")


NONSENSE: list[dict[str, Any]] = [
    {"username": "me"},
    {"username": "a--b"},
    {"username": "-a"},
    {"username": "x" * 33},
    {"email": "nobody"},
    {"password": "short"},
    {"password": None, "login_type": "password"},
    {"login_type": "none"},
    {"login_type": "telepathy"},
    {"organization_ids": []},
    {"organization_ids": ["00000000-0000-0000-0000-00000000dead"]},
]


async def test_a_new_user_must_make_sense(api: Api, owner: Person) -> None:
    for change in NONSENSE:
        body = {
            "username": "bob",
            "email": "bob@example.com",
            "password": "battery staple",
            "organization_ids": [str(api.organization_id)],
            **change,
        }
        response = await owner.client.post(USERS, json=body)
        assert response.status_code == 400, change
        assert response.json()["validations"], change


async def test_a_new_member_has_no_role_until_one_is_given(api: Api, owner: Person) -> None:
    user_id = await create_with_password(api, owner)
    path = f"/api/v2/organizations/{api.organization_id}/members/{user_id}"
    assert (await owner.client.get(path)).json()["roles"] == []


async def test_organization_admins_create_users_in_their_organizations_only(api: Api, owner: Person) -> None:
    boss = await api.person("boss", org_roles=("organization-admin",))
    other = (await owner.client.post("/api/v2/organizations", json={"name": "other"})).json()["id"]
    body = {"username": "bob", "email": "bob@example.com", "password": "battery staple"}
    mine, both = [str(api.organization_id)], [str(api.organization_id), other]
    assert (await boss.client.post(USERS, json={**body, "organization_ids": both})).status_code == 403
    assert (await boss.client.post(USERS, json={**body, "organization_ids": mine})).status_code == 201


async def test_nobody_hands_out_more_than_their_own(api: Api, owner: Person, member: Person) -> None:
    clerk = await api.person("clerk", site_roles=("user-admin",))
    auditor = await api.person("watcher", site_roles=("auditor",))
    roles = f"{USERS}/member/roles"
    for role in ("owner", "auditor", "template-admin"):
        assert (await clerk.client.put(roles, json={"roles": [role]})).status_code == 403
    assert (await clerk.client.put(roles, json={"roles": ["user-admin"]})).status_code == 200
    assert (await clerk.client.put(f"{USERS}/watcher/roles", json={"roles": []})).status_code == 403
    assert (await auditor.client.put(roles, json={"roles": []})).status_code == 403
    assert (await owner.client.put(roles, json={"roles": ["emperor"]})).json()["message"] == "Invalid roles."
    shown = await owner.client.put(roles, json={"roles": ["auditor", "owner"]})
    assert [role["name"] for role in shown.json()["roles"]] == ["auditor", "owner"]
    own = await owner.client.put(f"{USERS}/me/roles", json={"roles": ["owner"]})
    assert own.json()["message"] == "You cannot change your own roles."


async def test_a_user_admin_has_no_power_over_those_above(api: Api, owner: Person) -> None:
    clerk = await api.person("clerk", site_roles=("user-admin",))
    for path in ("admin/status/suspend", "admin/status/activate"):
        assert (await clerk.client.put(f"{USERS}/{path}")).status_code == 403
    assert (await clerk.client.put(f"{USERS}/admin/password", json={"password": "let me in now"})).status_code == 403
    assert (await clerk.client.delete(f"{USERS}/admin")).status_code == 403


async def test_the_last_owner_stays(api: Api, owner: Person) -> None:
    second = await api.person("second", site_roles=("owner",))
    assert (await second.client.put(f"{USERS}/admin/roles", json={"roles": []})).status_code == 200
    assert (await owner.client.get(USERS)).status_code == 403
    assert (await second.client.delete(f"{USERS}/me")).json()["message"] == "You cannot delete yourself!"
    third = await api.person("third", site_roles=("owner",))
    assert (await third.client.put(f"{USERS}/second/status/suspend")).status_code == 200
    async with api.resources.database.begin() as session:
        with pytest.raises(Conflict, match="last owner"):
            await people.delete(session, third.id)


async def test_two_owners_cannot_remove_each_other_at_once(api: Api, owner: Person) -> None:
    second = await api.person("second", site_roles=("owner",))
    await asyncio.gather(owner.client.delete(f"{USERS}/second"), second.client.delete(f"{USERS}/admin"))
    async with api.resources.database.read() as session:
        rows, _ = await people.search(session)
    assert [row["roles"] for row in rows] == [["owner"]]


async def test_a_user_sees_themselves_and_nobody_else(api: Api, owner: Person, member: Person) -> None:
    assert (await member.client.get(f"{USERS}/{member.id}")).status_code == 200
    assert (await member.client.get(f"{USERS}/MEMBER")).status_code == 200
    assert (await member.client.get(f"{USERS}/admin")).status_code == 404
    assert (await member.client.get(f"{USERS}/{owner.id}")).status_code == 404
    assert (await member.client.get(USERS)).status_code == 403
    assert (await owner.client.get(f"{USERS}/nobody")).status_code == 404


async def test_ones_own_password_needs_the_old_one_and_ends_other_sessions(api: Api, owner: Person) -> None:
    await create_with_password(api, owner)
    tokens = [(await signed_in(api, "bob@example.com", "battery staple")).json()["session_token"] for _ in range(2)]
    mine, other = (api.client(token) for token in tokens)
    path = f"{USERS}/me/password"
    wrong = await mine.put(path, json={"password": "another one", "old_password": "wrong"})
    assert wrong.json()["validations"][0]["field"] == "old_password"
    right = await mine.put(path, json={"password": "another one", "old_password": "battery staple"})
    assert right.status_code == 204
    assert (await mine.get(f"{USERS}/me")).status_code == 200
    await eventually(other, 401)
    assert (await signed_in(api, "bob@example.com", "another one")).status_code == 201
    reset = await owner.client.put(f"{USERS}/bob/password", json={"password": "given by admin"})
    assert reset.status_code == 204
    assert (await signed_in(api, "bob@example.com", "given by admin")).status_code == 201


async def test_a_session_in_use_lives_on_and_a_token_does_not(api: Api, member: Person) -> None:
    async with api.resources.database.begin() as session:
        made = {
            kind: await people.create_token(session, member.id, kind=kind, lifetime=timedelta(hours=1))
            for kind in ("session", "token")
        }
    async with await api.resources.database.connect() as connection:
        await connection.execute("UPDATE api_keys SET expires_at = now() + interval '1 minute'")
        for _, token in made.values():
            assert (await api.client(token).get(f"{USERS}/me")).status_code == 200
        rows = await (
            await connection.execute("SELECT id, expires_at > now() + interval '30 minutes' FROM api_keys")
        ).fetchall()
    lives = dict(rows)
    assert lives[made["session"][0]]
    assert not lives[made["token"][0]]
