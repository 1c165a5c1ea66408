"""Signing in with a provider: there and back, what claims give and take, and who is not let in."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from models.settings import Settings
from models.store import groups, organizations, people
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.fakes.oidc import CLIENT_ID, CLIENT_SECRET, FakeProvider

USERS = "/api/v2/users"
CALLBACK = f"{USERS}/oidc/callback"
OURS = {"Sec-Fetch-Site": "same-origin"}
GRACE = {
    "sub": "subject-1",
    "email": "grace@example.com",
    "email_verified": True,
    "preferred_username": "grace",
    "name": "Grace Hopper",
}


@pytest.fixture
async def idp() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(claims=dict(GRACE)) as opened:
        yield opened


@pytest.fixture
def options() -> dict[str, Any]:
    """Settings of a test's own."""
    return {}


@pytest.fixture
def settings(settings: Settings, idp: FakeProvider, options: dict[str, Any]) -> Settings:
    own = {"oidc_issuer": idp.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
    return settings.model_copy(update={**own, **options})


async def leave(browser: httpx.AsyncClient, redirect: str = "/") -> str:
    """Begin, and have the provider send the browser back: where to."""
    begun = await browser.get(CALLBACK, params={"redirect": redirect})
    assert begun.status_code == 307, begun.text
    async with httpx.AsyncClient(timeout=60) as http:
        authorized = await http.get(begun.headers["location"])
    assert authorized.status_code == 302
    return str(authorized.headers["location"])


async def dance(api: Api, redirect: str = "/", **headers: str) -> httpx.Response:
    """The whole way with a browser of its own; the answer's `extensions` keep the browser."""
    browser = api.client()
    response = await browser.get(await leave(browser, redirect), headers=headers)
    response.extensions["browser"] = browser
    return response


async def me(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 307, response.text
    seen = await response.extensions["browser"].get(f"{USERS}/me")
    assert seen.status_code == 200, seen.text
    found: dict[str, Any] = seen.json()
    return found


async def roles_here(api: Api, user_id: str) -> list[str] | None:
    """The person's roles in the default organization, None where they do not belong to it."""
    async with api.resources.database.read() as session:
        rows = await fetch(
            session,
            "SELECT roles FROM organization_members WHERE user_id = %(user)s AND organization_id = %(here)s",
            {"user": user_id, "here": api.organization_id},
        )
    return sorted(rows[0]["roles"]) if rows else None


async def group_names(api: Api, user_id: str) -> set[str]:
    async with api.resources.database.read() as session:
        rows = await fetch(
            session,
            "SELECT g.name FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = %(user)s",
            {"user": user_id},
        )
    return {row["name"] for row in rows}


async def entries(api: Api) -> list[dict[str, Any]]:
    """What the audit log says of sign-ins, oldest first."""
    async with api.resources.database.read() as session:
        return await fetch(
            session,
            "SELECT user_id, resource_target, diff, details, status_code FROM audit_logs WHERE action = 'login' "
            "ORDER BY time, id",
        )


async def test_who_signs_in_has_an_account_a_session_and_comes_back_to_it(api: Api) -> None:
    first = await dance(api, "/agents/one?x=1#two")
    assert first.headers["location"] == "/agents/one?x=1#two"
    cookies = {each.partition("=")[0]: each for each in first.headers.get_list("set-cookie")}
    assert "HttpOnly" in cookies["coder_session_token"]
    assert "SameSite=lax" in cookies["coder_session_token"]
    assert "Secure" not in cookies["coder_session_token"]
    user = await me(first)
    assert (user["username"], user["email"], user["name"]) == ("grace", "grace@example.com", "Grace Hopper")
    assert (user["login_type"], user["roles"]) == ("oidc", [])
    assert await roles_here(api, user["id"]) == ["agents-access"]
    browser = first.extensions["browser"]
    own = await browser.put(f"{USERS}/me/password", json={"password": "battery staple"}, headers=OURS)
    assert (own.status_code, own.json()["message"].partition(" ")[0]) == (400, "Users")
    assert (await me(await dance(api)))["id"] == user["id"]
    made, again = await entries(api)
    assert str(made["user_id"]) == str(again["user_id"]) == user["id"]
    assert (made["details"]["signed_up"], again["details"]["signed_up"], again["diff"]) == (True, False, {})


async def test_who_signs_in_in_two_windows_at_once_is_one_person(api: Api) -> None:
    found = await asyncio.gather(*(dance(api) for _ in range(4)))
    assert len({(await me(each))["id"] for each in found}) == 1


@pytest.mark.parametrize("options", [{"public_url": "https://turnstone.test"}])
async def test_where_there_is_tls_cookies_travel_by_nothing_else(api: Api) -> None:
    begun = await api.stranger.get(CALLBACK)
    assert "Secure" in begun.headers["set-cookie"]
    assert begun.headers["strict-transport-security"].startswith("max-age=")
    assert "redirect_uri=https%3A%2F%2Fturnstone.test%2Fapi" in begun.headers["location"]


async def test_nobody_is_sent_to_another_site_afterwards(api: Api) -> None:
    for redirect in ("https://evil.test/", "/\\evil.test"):
        assert (await dance(api, redirect)).headers["location"] == "/", redirect


async def test_no_secret_of_a_sign_in_is_logged_at_any_level(
    api: Api, idp: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    good = await dance(api)
    idp.wrong = {"nonce": "x"}
    await dance(api)
    idp.secret = "changed"
    await dance(api)
    assert "refused our authorization_code" in caplog.text  # it is our log that is read
    secrets = [
        CLIENT_SECRET,
        quote(CLIENT_SECRET, safe=""),
        "access-",
        "refresh-",
        *good.extensions["browser"].cookies.values(),
    ]
    assert [secret for secret in secrets if secret in caplog.text] == []


WRONG = [
    ({"nonce": "another"}, "RS256"),
    ({"nonce": None}, "RS256"),
    ({"aud": "another client"}, "RS256"),
    ({"aud": [CLIENT_ID, "another"], "azp": "another"}, "RS256"),
    ({"aud": None}, "RS256"),
    ({"iss": "https://evil.test"}, "RS256"),
    ({"exp": 1_700_000_000}, "RS256"),
    ({"exp": None}, "RS256"),
    ({"iat": 4_000_000_000}, "RS256"),
    ({"sub": ""}, "RS256"),
    ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "RS256"),
    ({}, "none"),
    ({}, "HS256"),
]


async def test_no_id_token_that_is_wrong_in_anything_lets_anybody_in(api: Api, idp: FakeProvider) -> None:
    for claims, signing in WRONG:
        idp.wrong, idp.signing = claims, signing
        response = await dance(api)
        assert response.status_code == 401, f"{claims} {signing}: {response.text}"
        assert "coder_session_token" not in response.extensions["browser"].cookies
    assert {entry["status_code"] for entry in await entries(api)} == {401}
    idp.wrong, idp.signing = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}, "RS256"
    assert (await dance(api)).status_code == 307


async def test_clocks_may_differ_by_less_than_a_minute(api: Api, idp: FakeProvider) -> None:
    idp.wrong = {"exp": int(time.time()) - 5}
    assert (await dance(api)).status_code == 307


async def test_keys_may_change_and_old_ones_do_not_stay_good(api: Api, idp: FakeProvider) -> None:
    assert (await dance(api)).status_code == 307
    idp.rotate()
    assert (await dance(api)).status_code == 307
    idp.signing_key = 1  # which is published no longer
    assert (await dance(api)).status_code == 401


async def test_only_the_browser_that_began_may_finish_and_only_once(api: Api) -> None:
    browser, other = api.client(), api.client()
    back = await leave(browser)
    assert (await other.get(back)).status_code == 401  # without a cookie
    foreign = await leave(other)
    assert (await browser.get(foreign)).status_code == 401  # another's state
    back = await leave(browser)
    kept = {"Cookie": f"turnstone_oidc={browser.cookies['turnstone_oidc']}"}
    asked = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    for changed in ({"state": "x"}, {"state": ""}, {"code": "code-of-nobody"}, {"iss": "https://evil.test"}):
        address = f"{CALLBACK}?{urlencode({**asked, **changed})}"
        assert (await api.stranger.get(address, headers=kept)).status_code in (400, 401), changed
    assert (await api.stranger.get(back, headers=kept)).status_code == 307
    replayed = await api.stranger.get(back, headers=kept)
    assert (replayed.status_code, "set-cookie" in replayed.headers) == (401, True)
    assert "coder_session_token" not in replayed.headers["set-cookie"]
    for forged in (b"nonsense", b"\xe9", b"gAAAAA" + b"A" * 90, b'""'):
        assert (await api.stranger.get(back, headers={b"Cookie": b"turnstone_oidc=" + forged})).status_code == 401


async def test_a_code_is_worth_nothing_without_its_verifier(api: Api) -> None:
    stolen, own = api.client(), api.client()
    code = parse_qs(urlsplit(await leave(stolen)).query)["code"][0]
    state = parse_qs(urlsplit(await leave(own)).query)["state"][0]
    injected = await own.get(CALLBACK, params={"code": code, "state": state})
    assert (injected.status_code, injected.json()["detail"]) == (401, "It answered: invalid_grant.")


async def test_who_is_refused_reads_why_in_a_page_or_an_envelope(api: Api, idp: FakeProvider) -> None:
    idp.claims |= {"email": "<b>@example.com", "email_verified": False}
    page = await dance(api, Accept="text/html,*/*")
    assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "Verify your email address." in page.text
    assert "&lt;b&gt;@example.com" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    told = await dance(api)
    assert told.json() == {
        "message": "Verify your email address.",
        "detail": "The provider has not verified the address <b>@example.com.",
    }
    browser = api.client()
    state = parse_qs(urlsplit(await leave(browser)).query)["state"][0]
    denied = await browser.get(CALLBACK, params={"error": "access_denied", "error_description": "no", "state": state})
    assert (denied.status_code, denied.json()["detail"]) == (401, "access_denied: no")
    assert [entry["status_code"] for entry in await entries(api)] == [403, 403]


@pytest.mark.parametrize("options", [{"oidc_email_domains": frozenset({"example.org"})}])
async def test_only_addresses_of_allowed_domains_sign_in(api: Api, idp: FakeProvider) -> None:
    for email in ("grace@example.com", "grace@evil-example.org", "grace@example.org.evil.test", "example.org"):
        idp.claims["email"] = email
        assert (await dance(api)).status_code == 403, email
    idp.claims["email"] = "grace@EXAMPLE.org"
    assert (await dance(api)).status_code == 307


@pytest.mark.parametrize("options", [{"oidc_allow_signups": False}])
async def test_where_nobody_signs_up_an_admin_makes_the_account_that_an_address_links_once(
    api: Api, owner: Person, idp: FakeProvider
) -> None:
    assert (await dance(api)).json()["message"] == "Signups are disabled."
    body = {"email": "Grace@example.com", "username": "gh", "organization_ids": [str(api.organization_id)]}
    assert (await owner.client.post(USERS, json={**body, "login_type": "oidc", "password": "12345678"})).is_error
    made = await owner.client.post(USERS, json={**body, "login_type": "oidc"})
    assert (made.status_code, made.json()["login_type"]) == (201, "oidc")
    idp.claims["email_verified"] = False
    assert (await dance(api)).status_code == 403
    idp.claims["email_verified"] = True
    assert (await me(await dance(api)))["id"] == made.json()["id"]
    idp.claims["sub"] = "subject-2"  # the address is given to somebody else, or so they say
    assert (await dance(api)).json()["message"] == "This account is somebody else's."
    idp.claims |= {"sub": "subject-1", "email": "hopper@example.com"}
    assert (await me(await dance(api)))["email"] == "hopper@example.com"


@pytest.mark.parametrize("options", [{"oidc_require_verified_email": False}])
async def test_an_account_that_signs_in_otherwise_is_never_taken_over(
    api: Api, owner: Person, idp: FakeProvider
) -> None:
    bob = {"email": "bob@example.com", "username": "bob", "organization_ids": [str(api.organization_id)]}
    made = await owner.client.post(USERS, json={**bob, "password": "battery staple"})
    assert made.status_code == 201
    for verified in (True, False):
        idp.claims |= {"email": "BOB@example.com", "email_verified": verified}
        assert (await dance(api)).status_code == 403
    idp.claims |= {"email": "new@example.com", "preferred_username": "bob"}
    other = await me(await dance(api))
    assert other["id"] != made.json()["id"]
    assert other["username"].startswith("bob-")
    idp.claims |= {"email": "bob@example.com", "email_verified": True}
    assert (await me(await dance(api)))["email"] == "new@example.com"  # an address that is taken stays whose it is


async def test_an_admin_moves_an_account_from_its_password_to_the_provider(api: Api, owner: Person) -> None:
    password = {"email": "grace@example.com", "password": "battery staple"}
    body = {**password, "username": "gh", "organization_ids": [str(api.organization_id)]}
    made = (await owner.client.post(USERS, json=body)).json()
    session = (await api.stranger.post(f"{USERS}/login", json=password)).json()["session_token"]
    moved = await owner.client.put(f"{USERS}/gh/login-type", json={"login_type": "oidc"})
    assert (moved.status_code, moved.json()["login_type"]) == (200, "oidc")
    assert (await api.client(session).get(f"{USERS}/me")).status_code == 401
    assert (await api.stranger.post(f"{USERS}/login", json=password)).status_code == 401
    assert (await me(await dance(api)))["id"] == made["id"]
    administrator = await api.person("ua", site_roles=("user-admin",))
    await api.person("boss", org_roles=("organization-admin",))
    for above in ("admin", "boss"):
        refused = await administrator.client.put(f"{USERS}/{above}/login-type", json={"login_type": "oidc"})
        assert refused.status_code == 403


async def test_the_suspended_stay_out_and_the_deleted_begin_anew(api: Api, owner: Person) -> None:
    first = await me(await dance(api))
    assert (await owner.client.put(f"{USERS}/{first['id']}/status/suspend")).status_code == 200
    refused = await dance(api)
    assert (refused.status_code, refused.json()["message"]) == (403, "Your account is suspended.")
    assert str((await entries(api))[-1]["user_id"]) == first["id"]
    assert (await owner.client.delete(f"{USERS}/{first['id']}")).status_code == 200
    assert (await me(await dance(api)))["id"] != first["id"]


async def test_a_provider_that_is_away_or_takes_us_for_somebody_else_is_a_503(api: Api, idp: FakeProvider) -> None:
    browser = api.client()
    back = await leave(browser)
    idp.secret = "changed"
    assert (await browser.get(back)).status_code == 503
    idp.down = True
    assert (await browser.get(await _begun(browser))).status_code == 503
    assert await entries(api) == []


async def test_who_cannot_be_sent_to_the_provider_reads_why(api: Api, idp: FakeProvider) -> None:
    idp.down = True
    page = await api.stranger.get(CALLBACK, headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["retry-after"]) == (503, "2")
    assert "The identity provider does not answer." in page.text


async def _begun(browser: httpx.AsyncClient) -> str:
    begun = await browser.get(CALLBACK)  # its description is known by now
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    return f"{CALLBACK}?{urlencode({'code': 'code-1', 'state': state})}"


async def test_a_description_that_is_another_issuers_is_not_believed(api: Api, idp: FakeProvider) -> None:
    for document in ({"issuer": "https://evil.test"}, {"token_endpoint": "ftp://127.0.0.1/"}, {"jwks_uri": None}):
        idp.document = document
        assert (await api.stranger.get(CALLBACK)).status_code == 503, document
    idp.document = {}
    assert (await api.stranger.get(CALLBACK)).status_code == 307


GROUPS = {
    "oidc_groups_claim": "realm.groups",
    "oidc_group_mapping": {"eng": "engineers", "ops": "other/operators", "hidden": ""},
    "oidc_create_groups": True,
}


@pytest.mark.parametrize("options", [GROUPS])
async def test_groups_are_those_of_the_claim_after_each_sign_in(api: Api, idp: FakeProvider) -> None:
    async with api.resources.database.begin() as session:
        other = await organizations.create(session, name="other")
        elsewhere = await groups.create(session, other["id"], name="by hand")
    idp.claims["realm"] = {"groups": ["eng", "/tools", "ops", "hidden", "Everyone", "", 7]}
    user = await me(await dance(api))
    # Of an organization that they do not belong to they get no group.
    assert await group_names(api, user["id"]) == {"engineers", "tools"}
    async with api.resources.database.begin() as session:
        await organizations.add(session, other["id"], UUID(user["id"]))
        by_hand = await groups.create(session, api.organization_id, name="by hand")
        for group in (by_hand, elsewhere):
            await groups.update(session, await groups.get(session, group), add=[UUID(user["id"])])
    idp.claims["realm"] = {"groups": ["tools", "ops"]}
    await dance(api)
    assert await group_names(api, user["id"]) == {"tools", "operators"}
    assert (await entries(api))[-1]["diff"]["groups"] == {
        "old": ["by hand", "by hand", "engineers"],
        "new": ["operators"],
        "secret": False,
    }
    del idp.claims["realm"]
    await dance(api)
    assert await group_names(api, user["id"]) == set()


ROLES = {
    "oidc_roles_claim": "roles",
    "oidc_role_mapping": {"boss": ["owner", "organization-admin"], "writer": ["agents-access", "poet"]},
    "oidc_agents_access": False,
}


@pytest.mark.parametrize("options", [ROLES])
async def test_roles_are_what_the_claim_maps_to_and_go_with_it(api: Api, owner: Person, idp: FakeProvider) -> None:
    idp.claims["roles"] = ["boss", "owner", "organization-admin"]  # what is not mapped grants nothing
    first = await dance(api)
    user = await me(first)
    assert [role["name"] for role in user["roles"]] == ["owner"]
    assert await roles_here(api, user["id"]) == ["organization-admin"]
    idp.claims["roles"] = "writer"
    second = await dance(api)
    assert (await me(second))["roles"] == (await me(first))["roles"] == []
    assert await roles_here(api, user["id"]) == ["agents-access"]
    assert (await entries(api))[-1]["details"]["unknown_roles"] == ["poet"]
    idp.claims["roles"] = ["boss"]
    await dance(api)
    async with api.resources.database.begin() as session:
        await people.set_roles(session, owner.id, [])
    idp.claims["roles"] = []
    last = await me(await dance(api))
    assert [role["name"] for role in last["roles"]] == ["owner"]  # a deployment keeps an owner
    assert await roles_here(api, user["id"]) == []
    assert "roles_kept" in (await entries(api))[-1]["details"]


ORGANIZATIONS = {
    "oidc_organizations_claim": "orgs",
    "oidc_organization_mapping": {"red": "red-team", "gone": "no-such"},
    "oidc_organization": "",
}


@pytest.mark.parametrize("options", [ORGANIZATIONS])
async def test_memberships_are_those_of_the_claim(api: Api, idp: FakeProvider) -> None:
    async with api.resources.database.begin() as session:
        red = await organizations.create(session, name="red-team")
    idp.claims["orgs"] = ["red", "gone", "default"]
    user = await me(await dance(api))
    assert user["organization_ids"] == [str(red["id"])]
    assert (await entries(api))[-1]["details"]["unknown_organizations"] == ["no-such"]
    idp.claims["orgs"] = []
    assert (await me(await dance(api)))["organization_ids"] == []


@pytest.mark.parametrize("options", [{"oidc_groups_claim": "groups", "oidc_create_groups": True}])
async def test_claims_that_the_id_token_lacks_are_asked_for_and_only_of_the_same_person(
    api: Api, idp: FakeProvider
) -> None:
    idp.userinfo = {"sub": "subject-1", "groups": ["tools"], "name": "another"}
    user = await me(await dance(api))
    assert (user["name"], await group_names(api, user["id"])) == ("Grace Hopper", {"tools"})
    idp.userinfo["sub"] = "subject-2"
    assert (await dance(api)).status_code == 401
    assert await group_names(api, user["id"]) == {"tools"}


async def test_how_one_may_sign_in_is_told_to_anybody(api: Api) -> None:
    assert (await api.stranger.get(f"{USERS}/authmethods")).json() == {
        "terms_of_service_url": "",
        "password": {"enabled": True},
        "github": {"enabled": False, "default_provider_configured": False},
        "oidc": {"enabled": True, "signInText": "OpenID Connect", "iconUrl": ""},
    }


@pytest.mark.parametrize("options", [{"oidc_issuer": ""}])
async def test_without_a_provider_nobody_is_sent_anywhere(api: Api) -> None:
    assert (await api.stranger.get(CALLBACK)).status_code == 404
    assert not (await api.stranger.get(f"{USERS}/authmethods")).json()["oidc"]["enabled"]
