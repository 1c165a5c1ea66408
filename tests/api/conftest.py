"""The real application over ASGI, on a real database, with people in it.

`api`        the opened application: `api.resources`, `api.organization_id`, `api.stranger` (a client without a token),
             `await api.person("bob", org_roles=("agents-access",), site_roles=(), scopes=())` -> Person
`owner`      the deployment's owner (made by bootstrap, as in production), a Person
`member`     in the default organization, with agents-access        `outsider`  in it, without any role

A Person has `.id`, `.username`, `.token` and `.client`, an httpx.AsyncClient that carries the token.
Models are the demo provider and its model (the default), as after a first start.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.resources import Resources
from models.settings import Settings
from models.store import organizations, people
from models.store.bootstrap import bootstrap

# Nothing listens there: the API must work without Temporal.
NO_TEMPORAL = "127.0.0.1:9"


@dataclass(frozen=True)
class Person:
    """Somebody with a token."""

    id: UUID
    username: str
    token: str
    client: httpx.AsyncClient


class Api:
    """The application, opened, with clients for whoever is needed."""

    def __init__(self, app: FastAPI, state: dict[str, Any], organization_id: UUID, stack: AsyncExitStack) -> None:
        self.app = app
        self.resources: Resources = state["resources"]
        self.organization_id = organization_id
        self._state = state
        self._stack = stack
        self.stranger = self.client()
        stack.push_async_callback(self.stranger.aclose)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = dict(self._state)
        await self.app(scope, receive, send)

    def client(self, token: str = "", **options: Any) -> httpx.AsyncClient:
        """A client of its own; without a token it is a stranger."""
        headers = {"Coder-Session-Token": token} if token else {}
        transport = httpx.ASGITransport(self, client=("127.0.0.1", 40000))
        return httpx.AsyncClient(transport=transport, base_url="http://turnstone.test", headers=headers, **options)

    async def person(
        self,
        username: str,
        *,
        org_roles: tuple[str, ...] | None = (),
        site_roles: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        organization_id: UUID | None = None,
    ) -> Person:
        """A new user with a token; `org_roles=None` leaves them out of the organization."""
        async with self.resources.database.begin() as session:
            user_id = await people.create(session, username=username, email=f"{username}@example.com", roles=site_roles)
            if org_roles is not None:
                await organizations.add(session, organization_id or self.organization_id, user_id, org_roles)
        return await self.sign_in(user_id, username, scopes)

    async def sign_in(self, user_id: UUID, username: str, scopes: tuple[str, ...] = ()) -> Person:
        """Another token for a user."""
        async with self.resources.database.begin() as session:
            _, token = await people.create_token(
                session, user_id, kind="token", lifetime=timedelta(hours=1), scopes=scopes
            )
        client = self.client(token)
        self._stack.push_async_callback(client.aclose)
        return Person(user_id, username, token, client)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    unlimited = {"rate_limit_per_minute": 0, "upload_limit_per_minute": 0}
    return settings.model_copy(update={"temporal_address": NO_TEMPORAL, **unlimited})


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    made = await bootstrap(settings, admin_token=None, environ={})
    app = create_app(settings)
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(app.router.lifespan_context(app))
        opened = Api(app, dict(state or {}), made.organization_id, stack)
        yield opened


@pytest.fixture
async def owner(api: Api) -> Person:
    async with api.resources.database.read() as session:
        row = await people.get(session, "admin")
    return await api.sign_in(row["id"], "admin")


@pytest.fixture
async def member(api: Api) -> Person:
    return await api.person("member", org_roles=("agents-access",))


@pytest.fixture
async def outsider(api: Api) -> Person:
    return await api.person("outsider")
