"""Tokens and passwords as they are kept."""

from datetime import timedelta

import pytest

from models.errors import Conflict, NotFound
from models.principal import Scope
from models.store import organizations, people, secrets
from models.store.database import Database


async def test_a_principal_carries_roles_organizations_and_scopes(database: Database) -> None:
    async with database.begin() as session:
        user = await people.create(session, username="ada", email="ada@example.com", roles=("auditor",))
        here = await organizations.create(session, name="here")
        await organizations.create(session, name="there")
        await organizations.add(session, here["id"], user, ("agents-access",))
        token_id, token = await people.create_token(
            session, user, kind="token", lifetime=timedelta(hours=1), scopes=("chat:read",)
        )
        found = await people.find_by_token(session, secrets.digest(token))
    assert found is not None
    principal = found.principal
    assert (principal.user_id, principal.username, principal.token_id) == (user, "ada", token_id)
    assert principal.site_roles == {"auditor"}
    assert principal.organizations == {here["id"]: frozenset({"agents-access"})}
    assert principal.groups == {here["id"]}
    assert principal.scopes == {"chat:read"}
    assert timedelta(minutes=59) < found.expires_in <= timedelta(hours=1)


async def test_a_token_without_scopes_may_do_all(database: Database) -> None:
    async with database.begin() as session:
        user = await people.create(session, username="ada", email="ada@example.com")
        _, token = await people.create_token(session, user, kind="token", lifetime=timedelta(hours=1))
        found = await people.find_by_token(session, secrets.digest(token))
    assert found is not None
    assert found.principal.scopes == {Scope.ALL}


async def test_a_clash_leaves_the_transaction_usable(database: Database) -> None:
    async with database.begin() as session:
        await people.create(session, username="ada", email="ada@example.com")
        with pytest.raises(Conflict):
            await people.create(session, username="Ada", email="other@example.com")
        await people.create(session, username="bob", email="bob@example.com")
        await organizations.create(session, name="acme")
        with pytest.raises(Conflict):
            await organizations.create(session, name="acme")
        assert (await people.get(session, "bob"))["organization_ids"] == []


async def test_a_username_that_looks_like_an_id_is_no_trap(database: Database) -> None:
    async with database.begin() as session:
        user = await people.create(session, username="ada", email="ada@example.com")
        assert (await people.get(session, str(user)))["username"] == "ada"
        with pytest.raises(NotFound):
            await people.get(session, "00000000-0000-0000-0000-000000000000")


def test_a_token_says_what_it_is_and_no_two_are_alike() -> None:
    tokens = {secrets.new_token("session") for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        prefix, kind, random, check = token.split("_")
        assert (prefix, kind, len(random), len(check)) == ("ts", "session", 32, 6)
        assert secrets.plausible(token)


def test_a_password_is_checked_and_never_kept() -> None:
    stored = secrets.hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert secrets.check_password(stored, "correct horse")
    assert not secrets.check_password(stored, "battery staple")
    assert not secrets.check_password(None, "anything")
    assert not secrets.check_password("", "anything")
    assert not secrets.check_password("nonsense", "nonsense")
