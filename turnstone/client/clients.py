"""The two clients: `Turnstone` blocks, `AsyncTurnstone` is awaited; whatever they do is written once."""

import os
from typing import Any, Generic, Self
from urllib.parse import urlsplit

import httpx

from turnstone.client.asking import Service, fetched
from turnstone.client.audit import Audit
from turnstone.client.budgets import Budgets
from turnstone.client.catalog import Models, Organizations, Providers, Users
from turnstone.client.chats import Chats
from turnstone.client.drivers import Awaiting, Blocking
from turnstone.client.following import Query
from turnstone.client.methods import D, Resource, method
from turnstone.client.settings import Settings
from turnstone.client.steps import Program, Request
from turnstone.client.usage import Costs, Insights, Limits
from turnstone.client.webhooks import Webhooks

LOCAL = "http://127.0.0.1:8080"


class Client(Resource[D], Generic[D]):
    """What both clients have."""

    def __init__(self, service: Service, driver: D) -> None:
        super().__init__(service, driver)
        self.chats = Chats(service, driver)
        self.models = Models(service, driver)
        self.providers = Providers(service, driver)
        self.users = Users(service, driver)
        self.organizations = Organizations(service, driver)
        self.webhooks = Webhooks(service, driver)
        self.settings = Settings(service, driver)
        self.limits = Limits(service, driver)
        self.budgets = Budgets(service, driver)
        self.costs = Costs(service, driver)
        self.insights = Insights(service, driver)
        self.audit = Audit(service, driver)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._service.url

    @method
    def request(self, method: str, path: str, *, body: Any = None, query: Query = ()) -> Program[Any]:
        """The JSON that any route of the service answers with, repeated as safely as all else."""
        return fetched(self._service, Request(method.upper(), path, query, json=body))


class Turnstone(Client[Blocking]):
    """A service as one caller; use it as `with Turnstone(url, token) as client:`, from as many threads as you like.

    Every POST and PATCH carries an Idempotency-Key and is repeated under it, so that it is done once. Times are
    seconds: `timeout` of one request; `patience` with a service that is away, `first_patience` with one that never was
    there.
    """

    def __init__(
        self,
        url: str = LOCAL,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        first_patience: float = 5.0,
        user_agent: str = "turnstone-python",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        service = _service(url, token, timeout, patience, first_patience, user_agent)
        super().__init__(service, Blocking(service, transport))

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """The service that TURNSTONE_URL names, as the caller whose token TURNSTONE_TOKEN is."""
        return cls(*_environment(), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.driver.close()


class AsyncTurnstone(Client[Awaiting]):
    """The same for asyncio: `async with AsyncTurnstone(url, token) as client:`."""

    def __init__(
        self,
        url: str = LOCAL,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        first_patience: float = 5.0,
        user_agent: str = "turnstone-python",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        service = _service(url, token, timeout, patience, first_patience, user_agent)
        super().__init__(service, Awaiting(service, transport))

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """The service that TURNSTONE_URL names, as the caller whose token TURNSTONE_TOKEN is."""
        return cls(*_environment(), **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.driver.close()


def _service(
    url: str, token: str | None, timeout: float, patience: float, first_patience: float, user_agent: str
) -> Service:
    address = url.rstrip("/")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise ValueError(f"{url!r} is not a URL: it should look like {LOCAL}")
    return Service(address, token, timeout, patience, first_patience, user_agent=user_agent)


def _environment() -> tuple[str, str | None]:
    return os.environ.get("TURNSTONE_URL") or LOCAL, os.environ.get("TURNSTONE_TOKEN") or None
