"""Which provider serves a type; opened once per worker process."""

from activities.providers.demo import DemoProvider
from activities.providers.litellm import ROUTES, LitellmProvider
from activities.providers.provider import Provider
from models.errors import FailureFacts, ProviderFailed

DEMO = "demo"


class Providers:
    """Every provider type by name, over one connection pool; opening it loads litellm (seconds, once a process)."""

    def __init__(self) -> None:
        self._litellm = LitellmProvider()
        self._providers: dict[str, Provider] = dict.fromkeys(ROUTES, self._litellm) | {DEMO: DemoProvider()}

    def provider_for(self, name: str) -> Provider:
        """The provider of a wire type; raises ProviderFailed for one we do not know."""
        try:
            return self._providers[name]
        except KeyError:
            text = f"Malformed config: there is no provider type {name!r}."
            raise ProviderFailed(FailureFacts(name, text=text)) from None

    async def close(self) -> None:
        """Close the connection pool."""
        await self._litellm.close()
