"""Words for tests about chats: start one, say something, and play the worker that answers.

A Talk speaks as one Person; `answer` and `fail` do what a worker would, through the store's own moves.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from models.store import moves
from models.store.moves import Fence, Opened, StepRow
from tests.api.conftest import Api, Person

CHATS = "/api/v2/chats"


def said(words: str) -> list[dict[str, Any]]:
    """Content of one text part."""
    return [{"type": "text", "text": words}]


@dataclass(frozen=True)
class Talk:
    """One person and their chats."""

    api: Api
    person: Person

    @property
    def client(self) -> httpx.AsyncClient:
        return self.person.client

    async def start(self, words: str = "hello there", **fields: Any) -> UUID:
        """A new chat; it is pending."""
        body = {"organization_id": str(self.api.organization_id), "content": said(words), **fields}
        response = await self.client.post(CHATS, json=body)
        assert response.status_code == 201, response.text
        return UUID(response.json()["id"])

    async def say(self, chat: UUID, words: str, **fields: Any) -> dict[str, Any]:
        """Send a message; the answer."""
        response = await self.client.post(f"{CHATS}/{chat}/messages", json={"content": said(words), **fields})
        assert response.status_code == 200, response.text
        sent: dict[str, Any] = response.json()
        return sent

    async def get(self, chat: UUID) -> dict[str, Any]:
        response = await self.client.get(f"{CHATS}/{chat}")
        assert response.status_code == 200, response.text
        shown: dict[str, Any] = response.json()
        return shown

    async def history(self, chat: UUID, **query: Any) -> dict[str, Any]:
        response = await self.client.get(f"{CHATS}/{chat}/messages", params=query)
        assert response.status_code == 200, response.text
        page: dict[str, Any] = response.json()
        return page

    async def begin(self, chat: UUID) -> Fence:
        """A worker opens an attempt: the chat runs."""
        async with self.api.resources.database.begin() as session:
            opened: Opened = await moves.open_attempt(session, chat, max_attempts=25, max_steps=100)
        assert opened.reply is None, opened.reply
        return opened.fence

    async def answer(self, chat: UUID, words: str = "indeed", **columns: Any) -> None:
        """A worker runs the turn to its end."""
        fence = await self.begin(chat)
        async with self.api.resources.database.begin() as session:
            await moves.commit_step(session, fence, [StepRow("assistant", said(words), **columns)])

    async def fail(self, chat: UUID, **error: Any) -> None:
        """A worker's turn ends in an error."""
        fence = await self.begin(chat)
        async with self.api.resources.database.begin() as session:
            await moves.finish_error(session, fence, error or {"message": "no", "kind": "auth", "retryable": False})

    async def archive(self, chat: UUID) -> None:
        """Put the chat away, with its sub-agent chats."""
        response = await self.client.patch(f"{CHATS}/{chat}", json={"archived": True})
        assert response.status_code == 204, response.text

    async def share(self, chat: UUID, reader: Person) -> None:
        """Let somebody else read the chat."""
        response = await self.client.patch(f"{CHATS}/{chat}/acl", json={"user_roles": {str(reader.id): "read"}})
        assert response.status_code == 204, response.text
