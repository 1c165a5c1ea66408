"""Which provider serves a type; opened once per worker process."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

from activities.meters import Meters
from activities.providers.demo import DemoProvider
from activities.providers.fast import FastPath
from activities.providers.options import PROVIDERS
from activities.providers.provider import Chunk, ModelRequest, Provider
from models.errors import FailureFacts, ProviderFailed

if TYPE_CHECKING:
    from activities.providers.litellm import LitellmProvider

DEMO = "demo"
_loaded: set[str] = set()  # the types that this process has loaded, for good


class Providers:
    """Every provider type by name, the real ones over one connection pool.

    litellm takes 3 s of CPU and 110 MB to load: that waits until a real provider is prepared, or first asked.
    """

    def __init__(self, meters: Meters | None = None, *, fast: bool = True) -> None:
        self._fast = FastPath(fast, meters)
        self._litellm: LitellmProvider | None = None
        self._loading = asyncio.Lock()
        self._prepared: set[str] = set()
        self._providers: dict[str, Provider] = {kind: _Real(kind, self) for kind in PROVIDERS} | {DEMO: DemoProvider()}

    def provider_for(self, name: str) -> Provider:
        """The provider of a wire type; raises ProviderFailed for one we do not know."""
        try:
            return self._providers[name]
        except KeyError:
            text = f"Malformed config: there is no provider type {name!r}."
            raise ProviderFailed(FailureFacts(name, text=text)) from None

    async def prepare(self, kinds: Iterable[str]) -> None:
        """Load what providers of these types need, in a thread; what is loaded already costs nothing."""
        async with self._loading:
            missing = sorted((set(kinds) & PROVIDERS.keys()) - self._prepared)
            if not missing:
                return
            make = await asyncio.to_thread(_load, missing)
            if self._litellm is None:
                self._litellm = make(self._fast)
            self._prepared.update(missing)

    def loaded(self, kind: str) -> "LitellmProvider | None":
        """Who speaks to providers of this type, once it is prepared."""
        return self._litellm if kind in self._prepared else None

    async def close(self) -> None:
        """Close the connection pool."""
        if self._litellm is not None:
            await self._litellm.close()


class _Real:
    """A provider type that litellm translates for."""

    def __init__(self, kind: str, providers: Providers) -> None:
        self._kind = kind
        self._providers = providers

    def stream(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer's chunks; see `provider.Provider`."""
        loaded = self._providers.loaded(self._kind)
        return self._when_loaded(request) if loaded is None else loaded.stream(request)

    async def _when_loaded(self, request: ModelRequest) -> AsyncGenerator[Chunk, None]:
        await self._providers.prepare([self._kind])
        async with aclosing(self.stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk


def _load(kinds: Iterable[str]) -> "type[LitellmProvider]":
    gc.disable()  # what is loaded stays: looking for garbage in it would be a sixth of the time
    try:
        from activities.providers.litellm import LitellmProvider, warm_up

        fresh = set(kinds) - _loaded
        for kind in kinds:
            warm_up(kind)
        if fresh:
            # All that was loaded stays for good: a full collection that walks it would stop every stream for 0.2 s.
            gc.freeze()
            _loaded.update(fresh)
    finally:
        gc.enable()
    return LitellmProvider
