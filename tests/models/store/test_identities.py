"""An owner's token at the provider: fresh when it is asked for, refreshed by one caller at a time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr

from models import oidc
from models.rules.sign_in import Access, Identity
from models.settings import Settings
from models.store import identities, people
from models.store.database import Database, fetch
from models.store.secrets import Cipher
from tests.fakes.oidc import CLIENT_ID, CLIENT_SECRET, FakeProvider
from tests.seeds import World

NOTHING = Access(None, None, None, None)


class Linked:
    """Somebody who has signed in, and what asks for their token."""

    def __init__(self, database: Database, settings: Settings, idp: FakeProvider) -> None:
        own = {"oidc_issuer": idp.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
        self.settings = settings.model_copy(update=own)
        self.database, self.idp = database, idp
        self.cipher = Cipher(settings.secret_keys.get_secret_value())
        self.provider = oidc.Provider(self.settings)
        self.user = UUID(int=0)

    async def sign_in(self, tokens: oidc.Tokens) -> None:
        who = Identity(self.idp.issuer, "subject", "grace@example.com", True, "Grace", "grace")
        async with self.database.begin() as session:
            arrived = await identities.sign_in(session, self.cipher, self.settings, who, NOTHING, tokens)
        self.user = arrived.user_id

    async def token(self) -> str | None:
        return await identities.access_token(self.database, self.cipher, self.provider, self.user)

    async def stored(self) -> tuple[str, str | None, timedelta | None]:
        async with self.database.read() as session:
            [row] = await fetch(
                session,
                "SELECT access_token, refresh_token, expires_at - now() AS left FROM user_links WHERE user_id = %(u)s",
                {"u": self.user},
            )
        return row["access_token"], row["refresh_token"], row["left"]


@pytest.fixture
async def linked(database: Database, settings: Settings, seed: World) -> AsyncIterator[Linked]:
    async with FakeProvider() as idp:
        opened = Linked(database, settings, idp)
        await opened.sign_in(idp.tokens(lifetime=3600))
        yield opened
        await opened.provider.close()


async def test_a_token_that_is_good_for_long_is_given_as_it_is_and_kept_encrypted(linked: Linked) -> None:
    assert await linked.token() == "access-1"
    access, refresh, _ = await linked.stored()
    assert refresh is not None
    assert "access-1" not in access
    assert (linked.cipher.decrypt(access), linked.cipher.decrypt(refresh)) == ("access-1", "refresh-1")
    assert linked.idp.requests == []


async def test_of_many_who_need_a_fresh_token_one_fetches_it(linked: Linked) -> None:
    await linked.sign_in(linked.idp.tokens(lifetime=0))
    linked.idp.held.clear()
    asked = [asyncio.create_task(linked.token()) for _ in range(5)]
    while not linked.idp.refreshes:
        await asyncio.sleep(0.01)
    linked.idp.held.set()
    assert set(await asyncio.gather(*asked)) == {"access-3"}
    assert linked.idp.refreshes == 1
    _, _, left = await linked.stored()
    assert left is not None
    assert left > timedelta(minutes=30)


async def test_a_token_near_its_end_is_still_given_while_another_is_fetched(linked: Linked) -> None:
    await linked.sign_in(linked.idp.tokens(lifetime=45))
    linked.idp.held.clear()
    fetching = asyncio.create_task(linked.token())
    while not linked.idp.refreshes:
        await asyncio.sleep(0.01)
    assert await linked.token() == "access-2"
    linked.idp.held.set()
    assert await fetching == await linked.token() == "access-3"


async def test_a_sign_in_during_a_refresh_is_what_stays(linked: Linked) -> None:
    await linked.sign_in(linked.idp.tokens(lifetime=0))
    linked.idp.held.clear()
    fetching = asyncio.create_task(linked.token())
    while not linked.idp.refreshes:
        await asyncio.sleep(0.01)
    await linked.sign_in(linked.idp.tokens(lifetime=3600))
    linked.idp.held.set()
    assert await fetching == "access-4"  # good as well
    assert await linked.token() == "access-3"


async def test_a_refresh_token_that_was_revoked_is_not_tried_again(linked: Linked) -> None:
    await linked.sign_in(linked.idp.tokens(lifetime=0))
    linked.idp.refresh_error = "invalid_grant"
    assert [await linked.token(), await linked.token()] == [None, None]
    assert linked.idp.refreshes == 1


async def test_a_mistake_between_the_provider_and_us_costs_nobody_their_refresh_token(linked: Linked) -> None:
    await linked.sign_in(linked.idp.tokens(lifetime=0))
    linked.idp.refresh_error = "invalid_client"
    with pytest.raises(oidc.Away):
        await linked.token()
    linked.idp.refresh_error = ""
    assert await linked.token() == "access-3"


async def test_who_is_gone_suspended_or_never_signed_in_there_has_no_token(linked: Linked, seed: World) -> None:
    assert await identities.access_token(linked.database, linked.cipher, linked.provider, seed.owner_id) is None
    for status, found in (("suspended", None), ("active", "access-1")):
        async with linked.database.begin() as session:
            await people.set_status(session, linked.user, status)
        assert await linked.token() == found
    async with linked.database.begin() as session:
        await people.delete(session, linked.user)
    assert await linked.token() is None
