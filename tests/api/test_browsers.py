"""What keeps a browser's session from being used by other pages than ours."""

from typing import Any

import pytest

from tests.api.conftest import Api, Person

USERS = "/api/v2/users"
PASSWORD = {"email": "bob@example.com", "password": "battery staple"}
GUARDS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "referrer-policy": "same-origin",
}


async def signed_in(api: Api, owner: Person) -> dict[str, str]:
    """Bob's cookies, by name."""
    made = await owner.client.post(
        USERS, json={**PASSWORD, "username": "bob", "organization_ids": [str(api.organization_id)]}
    )
    assert made.status_code == 201, made.text
    async with api.client() as browser:
        login = await browser.post(f"{USERS}/login", json=PASSWORD)
        assert login.status_code == 201
        return dict(browser.cookies)


async def test_a_page_that_reads_our_cookies_may_change_things_and_no_other(api: Api, owner: Person) -> None:
    kept = await signed_in(api, owner)
    other = await api.sign_in(owner.id, "admin")
    async with api.client(cookies={"coder_session_token": kept["coder_session_token"]}) as browser:
        path = f"{USERS}/me/keys/tokens"
        for shown in ("", "x", kept["csrf_token"][:-1], kept["csrf_token"] + "0", other.token):
            assert (await browser.post(path, json={}, headers={"X-CSRF-TOKEN": shown})).status_code == 403, shown
        ours = {"X-CSRF-TOKEN": kept["csrf_token"], "Sec-Fetch-Site": "cross-site"}
        assert (await browser.post(path, json={}, headers=ours)).status_code == 201
    async with api.client(kept["coder_session_token"]) as script:  # what is no cookie is no browser's doing
        assert (await script.post(path, json={}, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 201


async def test_a_token_for_one_session_changes_nothing_in_another(api: Api, owner: Person) -> None:
    kept = await signed_in(api, owner)
    async with api.client(cookies={"coder_session_token": owner.token}) as browser:
        forged = await browser.post(f"{USERS}/logout", headers={"X-CSRF-TOKEN": kept["csrf_token"]})
    assert forged.status_code == 403


async def test_another_sites_form_signs_nobody_in(api: Api, owner: Person) -> None:
    await signed_in(api, owner)
    for forged in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.test"}):
        assert (await api.stranger.post(f"{USERS}/login", json=PASSWORD, headers=forged)).status_code == 403
    for ours in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://turnstone.test"}):
        assert (await api.stranger.post(f"{USERS}/login", json=PASSWORD, headers=ours)).status_code == 201


async def test_signing_out_takes_both_cookies(api: Api, owner: Person) -> None:
    kept = await signed_in(api, owner)
    async with api.client(cookies=kept) as browser:
        gone = await browser.post(f"{USERS}/logout", headers={"X-CSRF-TOKEN": kept["csrf_token"]})
        assert gone.status_code == 200
        dropped = [each for each in gone.headers.get_list("set-cookie") if "Max-Age=0" in each]
        assert {each.partition("=")[0] for each in dropped} == set(kept)
        assert (await browser.get(f"{USERS}/me")).status_code == 401


@pytest.mark.parametrize("options", [{}, {"public_url": "https://turnstone.test"}])
async def test_every_answer_tells_browsers_to_beware(api: Api, options: dict[str, Any]) -> None:
    for path in ("/healthz", "/nothing", f"{USERS}/me", "/docs", "/api/v2/chats/1"):
        answer = await api.stranger.get(path)
        assert {name: answer.headers.get_list(name) for name in GUARDS} == {
            name: [value] for name, value in GUARDS.items()
        }, path
        assert ("strict-transport-security" in answer.headers) == bool(options), path


@pytest.fixture
def options() -> dict[str, Any]:
    return {}


@pytest.fixture
def settings(settings: Any, options: dict[str, Any]) -> Any:
    return settings.model_copy(update=options)
