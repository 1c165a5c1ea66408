"""What leaves a chat for another place or another reader: forks, documents, and who may read it."""

import json
from collections.abc import Mapping
from typing import Any

from turnstone.client.asking import Service, ask, fetched, given, path, query, under
from turnstone.client.errors import TurnstoneError
from turnstone.client.methods import D, Resource, method
from turnstone.client.parts import Content, JsonObject, written
from turnstone.client.steps import Program, Request
from turnstone.client.types import Chat, User

ME = "/api/v2/users/me"
READ, NOTHING = "read", ""


class Copies(Resource[D]):
    """The part of `client.chats` that copies and shares."""

    @method
    def fork(
        self,
        chat_id: str,
        *,
        message_id: int | None = None,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        content: Content | None = None,
        idempotency_key: str | None = None,
    ) -> Program[Chat]:
        """A new chat of one's own with the messages up to `message_id`; with `content` it goes on at once."""
        body = given(
            message_id=message_id,
            title=title,
            labels=None if labels is None else dict(labels),
            content=None if content is None else written(content),
        )
        request = Request("POST", path(chat_id, "fork"), json=body, headers=under(idempotency_key))
        return Chat.read((yield from fetched(self._service, request)))

    @method
    def export(self, chat_id: str, *, include_files: bool = False) -> Program[JsonObject]:
        """The chat as a document that `import_document` takes; with files it also holds what they hold."""
        asked = Request("GET", path(chat_id, "export"), query(include_files="true" if include_files else None))
        document: JsonObject = yield from fetched(self._service, asked)
        return document

    @method
    def export_markdown(self, chat_id: str) -> Program[str]:
        """The chat for people to read."""
        answer = yield from ask(self._service, Request("GET", path(chat_id, "export"), query(format="markdown")))
        return answer.content.decode()

    @method
    def import_document(
        self, document: Mapping[str, Any], *, organization_id: str | None = None, idempotency_key: str | None = None
    ) -> Program[Chat]:
        """A new chat of one's own, at rest, out of an exported one."""
        where = organization_id or (yield from organization(self._service))
        data = json.dumps({"organization_id": where, "document": dict(document)}).encode()
        headers = {"Content-Type": "application/json", **(under(idempotency_key) or {})}
        request = Request("POST", path("import"), content=data, headers=headers)
        return Chat.read((yield from fetched(self._service, request)))

    @method
    def readers(self, chat_id: str) -> Program[JsonObject]:
        """The people (`users`) and `groups` that the chat is shared with."""
        found: JsonObject = yield from fetched(self._service, Request("GET", path(chat_id, "acl")))
        return found

    @method
    def share(
        self, chat_id: str, *, users: Mapping[str, bool] | None = None, groups: Mapping[str, bool] | None = None
    ) -> Program[None]:
        """Let people and groups, by id, read the chat (True) or no longer (False); who is not named stays."""
        body = given(user_roles=_roles(users), group_roles=_roles(groups))
        yield from ask(self._service, Request("PATCH", path(chat_id, "acl"), json=body))


def organization(service: Service) -> Program[str]:
    """The first organization of the caller."""
    if service.organization_id is None:
        me = User.read((yield from fetched(service, Request("GET", ME))))
        if not me.organization_ids:
            raise TurnstoneError(f"{me.username or 'this user'} is not a member of any organization")
        service.organization_id = me.organization_ids[0]
    return service.organization_id


def _roles(readers: Mapping[str, bool] | None) -> dict[str, str] | None:
    return None if readers is None else {each: READ if reads else NOTHING for each, reads in readers.items()}
