"""The way to what people had us tell things: webhooks' receivers, and the push services of browsers."""

from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from models.egress import Pinned
from models.rules.addresses import EVERYWHERE


class Receivers:
    """One client for all of them, made with the first request. It keeps nothing of one that another could be told."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allowed = EVERYWHERE if allow_private else ()

    @cached_property
    def client(self) -> httpx.AsyncClient:
        """Connects to public addresses only, unless private ones are allowed; follows nothing."""
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        return httpx.AsyncClient(transport=Pinned(self._allowed), trust_env=False, cookies=cookies)

    async def close(self) -> None:
        """Close the client, if there is one."""
        if "client" in self.__dict__:
            await self.client.aclose()
