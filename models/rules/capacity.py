"""Who may begin a turn where turns are limited: owners of an organization in turns, each owner's oldest chat first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Limits:
    """How many turns run at once, in an organization and of one owner there; 0 is unlimited."""

    per_user: int = 0
    per_organization: int = 0

    def __bool__(self) -> bool:
        return bool(self.per_user or self.per_organization)


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Waiter:
    """A chat that waits: the how-manieth of its owner, since when, and when it is its owner's turn.

    That is when the owner was served last, or began to wait if that was later: whoever comes, or is served, after that
    stands behind, so nobody waits for more than a turn of each owner who was there already.
    """

    chat_id: UUID
    owner_id: UUID
    place: int
    since: datetime
    turn: datetime


def first(waiting: Iterable[Waiter], running: Mapping[UUID, int], limits: Limits) -> list[UUID]:
    """The chats that may begin now, in their order; `running` counts the turns of each owner in the organization."""
    able = [
        each for each in waiting if not limits.per_user or running.get(each.owner_id, 0) + each.place <= limits.per_user
    ]
    able.sort(key=lambda each: (each.place, each.turn, each.since, each.chat_id))
    if not limits.per_organization:
        return [each.chat_id for each in able]
    return [each.chat_id for each in able[: max(0, limits.per_organization - sum(running.values()))]]
