"""Nobody gains rights through somebody else's account: every door to it, for callers and accounts of every kind."""

from typing import Any
from uuid import UUID

import pytest

from api.accounts import ABOVE
from models.store import organizations, people, roles
from tests.api.conftest import Api, Person

USERS = "/api/v2/users"
OURS, THEIRS = "ours", "theirs"  # organizations

# Whose account it is: their roles everywhere, and in each organization.
ACCOUNTS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "owner": (("owner",), {}),
    "auditor": (("auditor",), {}),
    "template-admin": (("template-admin",), {}),
    "user-admin": (("user-admin",), {}),
    "admin-of-ours": ((), {OURS: ("organization-admin",)}),
    "auditor-of-ours": ((), {OURS: ("organization-auditor",)}),
    "templates-of-ours": ((), {OURS: ("organization-template-admin",)}),
    "users-of-ours": ((), {OURS: ("organization-user-admin",)}),
    "reads-all-of-ours": ((), {OURS: ("reader",)}),
    "own-chats": ((), {OURS: ("agents-access", "author")}),
    "member": ((), {OURS: ()}),
    "admin-of-theirs": ((), {OURS: (), THEIRS: ("organization-admin",)}),
}
# Who asks, and whose accounts are open to them; an organization's admin and its user admins administer no accounts.
CALLERS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]], set[str]]] = {
    "an owner": (("owner",), {}, set(ACCOUNTS)),
    "a user admin": (("user-admin",), {OURS: ()}, {"user-admin", "users-of-ours", "own-chats", "member"}),
    "a user admin who is an admin of ours": (
        ("user-admin",),
        {OURS: ("organization-admin",)},
        set(ACCOUNTS) - {"owner", "auditor", "template-admin", "admin-of-theirs"},
    ),
    "a user admin who reads all of ours": (
        ("user-admin",),
        {OURS: ("reader",)},
        {"user-admin", "users-of-ours", "reads-all-of-ours", "own-chats", "member"},
    ),
    "an admin of ours": ((), {OURS: ("organization-admin",)}, set()),
    "a user admin of ours": ((), {OURS: ("organization-user-admin",)}, set()),
    "an auditor": (("auditor",), {OURS: ()}, set()),
}
# A door, and what it answers to whom it is open. The requests change nothing that the next one needs.
DOORS: tuple[tuple[str, str, Any, int], ...] = (
    ("GET", "/sessions", None, 200),
    ("DELETE", "/sessions", None, 204),
    ("DELETE", "/sessions/none", None, 404),
    ("DELETE", "/keys/none", None, 404),
    ("POST", "/unlock", None, 204),
    ("PUT", "/status/activate", None, 200),
    ("PUT", "/status/suspend", None, 200),
    ("PUT", "/password", {"password": "battery staple"}, 204),  # of who is suspended
    ("DELETE", "", None, 200),
)
MACHINES = {"admin-of-ours", "reads-all-of-ours", "own-chats", "user-admin"}  # accounts of services, too


async def world(api: Api) -> dict[str, UUID]:
    """The other organization, and roles of our own in both; their ids."""
    async with api.resources.database.begin() as session:
        other = await organizations.create(session, name="theirs")
        for organization in (api.organization_id, other["id"]):
            for name, everywhere, own in (("reader", ["chat:read"], []), ("author", [], ["chat:read"])):
                await roles.create(session, organization, name=name, display_name="", everywhere=everywhere, own=own)
    return {OURS: api.organization_id, THEIRS: other["id"]}


async def account(
    api: Api, named: str, site: tuple[str, ...], where: dict[str, tuple[str, ...]], ids: dict[str, UUID], **more: Any
) -> UUID:
    async with api.resources.database.begin() as session:
        email = "" if more.get("service") else f"{named}@example.com"
        user_id = await people.create(session, username=named, email=email, roles=site, **more)
        for organization, held in where.items():
            await organizations.add(session, ids[organization], user_id, held)
    return user_id


@pytest.mark.parametrize("caller", CALLERS)
async def test_nobody_comes_by_more_rights_through_the_account_of_somebody_else(
    api: Api, owner: Person, caller: str
) -> None:
    ids = await world(api)
    site, where, open_to_them = CALLERS[caller]
    asks = await api.sign_in(await account(api, "asks", site, where, ids), "asks")
    for named, (theirs, there) in ACCOUNTS.items():
        user_id = await account(api, named, theirs, there, ids)
        for method, door, body, answered in DOORS:
            response = await asks.client.request(method, f"{USERS}/{user_id}{door}", json=body)
            told = f"{method} {door} of {named}: {response.text}"
            if named in open_to_them:
                assert response.status_code == answered, told
            else:
                assert response.status_code in (403, 404), told
                assert site != ("user-admin",) or response.json()["message"] == ABOVE, told
    for named in MACHINES:
        user_id = await account(api, f"{named}-machine", *ACCOUNTS[named], ids, service=True)
        response = await asks.client.post(f"{USERS}/{user_id}/keys/tokens", json={"lifetime": 10**12})
        governs = "an admin of ours" in caller and named != "user-admin"
        allowed = named in open_to_them or governs
        assert (response.status_code == 201) is allowed, f"{named}: {response.text}"
        assert allowed or response.status_code in (403, 404)


@pytest.mark.parametrize("caller", CALLERS)
async def test_nobody_removes_from_an_organization_who_may_do_there_what_they_may_not(
    api: Api, owner: Person, caller: str
) -> None:
    ids = await world(api)
    site, where, _ = CALLERS[caller]
    asks = await api.sign_in(await account(api, "asks", site, where, ids), "asks")
    governs = "owner" in site or "organization-admin" in where.get(OURS, ())
    administers = governs or "user-admin" in site or "organization-user-admin" in where.get(OURS, ())
    powerful = {"admin-of-ours", "auditor-of-ours", "templates-of-ours", "reads-all-of-ours"}
    if "reader" in where.get(OURS, ()):
        powerful.remove("reads-all-of-ours")
    for named in ("member", "own-chats", "admin-of-theirs", "users-of-ours", *sorted(powerful)):
        user_id = await account(api, named, *ACCOUNTS[named], ids)
        response = await asks.client.delete(f"/api/v2/organizations/{ids[OURS]}/members/{user_id}")
        allowed = governs or (administers and named not in powerful)
        assert response.status_code == (204 if allowed else 403), f"{named}: {response.text}"
