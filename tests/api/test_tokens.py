"""Tokens: how they come, what they may do, and what is left of them at rest."""

from typing import Any

from models.store import secrets
from tests.api.conftest import Api, Person

USERS = "/api/v2/users"
NEVER = "0001-01-01T00:00:00Z"


async def test_a_token_is_taken_in_four_ways(api: Api, member: Person) -> None:
    ways: list[dict[str, Any]] = [
        {"headers": {"Coder-Session-Token": member.token}},
        {"headers": {"Authorization": f"Bearer {member.token}"}},
        {"params": {"coder_session_token": member.token}},
        {"headers": {"Cookie": f"a=b; coder_session_token={member.token}"}},
    ]
    for way in ways:
        response = await api.stranger.get(f"{USERS}/me", **way)
        assert response.status_code == 200, way
        assert response.json()["username"] == "member"


async def test_a_token_in_the_address_is_for_reading_only(api: Api, member: Person) -> None:
    response = await api.stranger.post(f"{USERS}/logout", params={"coder_session_token": member.token})
    assert response.status_code == 401


async def test_what_is_no_token_is_no_key(api: Api) -> None:
    for token in ("", "nonsense", "ts_token_abc", "\u00e4", "x" * 5000):
        response = await api.stranger.get(f"{USERS}/me", headers={b"Coder-Session-Token": token.encode()})
        assert response.status_code == 401, token
        assert response.json()["message"].startswith("You are signed out")
        assert response.json()["detail"]


async def test_a_mistyped_token_costs_no_query(member: Person) -> None:
    last = member.token[-1]
    typo = member.token[:-1] + ("0" if last != "0" else "1")
    assert secrets.plausible(member.token)
    assert not secrets.plausible(typo)
    assert not secrets.plausible(member.token.replace("ts_token", "ts_session"))


async def test_only_the_hash_of_a_token_is_stored(api: Api, member: Person) -> None:
    async with await api.resources.database.connect() as connection:
        rows = await (await connection.execute("SELECT api_keys::text FROM api_keys")).fetchall()
    assert rows
    assert not any(member.token in row[0] for row in rows)


async def test_a_token_is_shown_once_and_listed_without_its_secret(member: Person) -> None:
    made = await member.client.post(
        f"{USERS}/me/keys/tokens", json={"token_name": "ci", "lifetime": 3_600_000_000_000, "scopes": ["chat:read"]}
    )
    assert made.status_code == 201
    key = made.json()["key"]
    assert key.startswith("ts_token_")
    [listed, _] = (await member.client.get(f"{USERS}/me/keys/tokens")).json()
    assert (listed["token_name"], listed["scopes"], listed["lifetime_seconds"]) == ("ci", ["chat:read"], 3600)
    assert listed["last_used"] == NEVER
    assert key not in str(listed)


async def test_tokens_of_no_sense_are_refused(member: Person) -> None:
    for body in ({"lifetime": 1}, {"lifetime": -5}, {"lifetime": 10**20}, {"scopes": ["root"]}):
        assert (await member.client.post(f"{USERS}/me/keys/tokens", json=body)).status_code == 400, body


async def test_a_scoped_token_cannot_mint_a_stronger_one(api: Api, owner: Person) -> None:
    weak = await api.sign_in(owner.id, "admin", ("chat:read",))
    assert (await weak.client.get(f"{USERS}/me")).status_code == 200
    assert (await weak.client.post(f"{USERS}/me/keys/tokens", json={})).status_code == 403
    assert (await weak.client.put(f"{USERS}/me/password", json={"password": "a new password"})).status_code == 403
    assert (await weak.client.get(USERS)).status_code == 403
    assert (await weak.client.get("/api/v2/ai/providers")).status_code == 403


async def test_only_owners_act_in_another_name(api: Api, owner: Person, member: Person) -> None:
    clerk = await api.person("clerk", site_roles=("user-admin",))
    path = f"{USERS}/member/keys/tokens"
    assert (await member.client.post(f"{USERS}/admin/keys/tokens", json={})).status_code == 404
    assert (await clerk.client.post(path, json={})).status_code == 403
    made = await owner.client.post(path, json={})
    assert (await api.client(made.json()["key"]).get(f"{USERS}/me")).json()["username"] == "member"
