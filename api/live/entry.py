"""The door of a chat's workspace: which agent there is, for somebody who may work there (admin.md 3.6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.errors import Forbidden, Invalid
from models.principal import Principal
from models.rules.agents import Ambiguous, chosen
from models.store import bindings
from models.store.bindings import Place
from models.store.session import Session


@dataclass(frozen=True, slots=True)
class Words:
    """How a stream says that a chat works nowhere, and that an agent is in another state than connected."""

    nowhere: str
    not_connected: str


async def agent_of(session: Session, caller: Principal, chat_id: UUID, words: Words) -> UUID:
    """The connected agent of the chat's workspace; raises Invalid, Forbidden."""
    place = await bindings.of(session, chat_id)
    if place is None:
        raise Invalid(words.nowhere)
    if place.deleted or not caller.may_read_workspace(place.owner_id, place.organization_id):
        raise Invalid("Chat workspace not found.")
    if not caller.may_enter_workspace(place.owner_id, place.organization_id):
        raise Forbidden
    agent = _chosen(place)
    if agent is None:
        raise Invalid("Chat workspace has no agents.")
    if agent["status"] != "connected":
        raise Invalid(words.not_connected.format(agent["status"]))
    found: UUID = agent["id"]
    return found


def _chosen(place: Place) -> Mapping[str, Any] | None:
    try:
        return chosen(place.agents)
    except Ambiguous:
        return None
