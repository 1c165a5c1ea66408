"""The service as these tests use it: any route and body, as patient as they are, and the plain HTTP client as well."""

from collections.abc import Mapping
from typing import Any, Self

from turnstone.client import AsyncTurnstone
from turnstone.client.asking import CHATS, query

__all__ = ["CHATS", "Api"]


class Api:
    """One API process as one caller; it may be dead on our account."""

    def __init__(self, url: str, token: str, patience: float) -> None:
        self._client = AsyncTurnstone(url, token, patience=patience, first_patience=patience)
        self.http = self._client.driver.http

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def change(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of a PUT, a PATCH or a DELETE."""
        return await self._client.request(method, path, body=body)

    async def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer of a GET."""
        return await self._client.request("GET", path, query=query(**parameters))

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of a POST, done once however often it had to be sent."""
        return await self._client.request("POST", path, body=body)
