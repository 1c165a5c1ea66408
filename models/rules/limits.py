"""Which spend limit holds for somebody: their own, else the smallest of their groups', else everybody's."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be spent in a period; a group's limit counts what is spent in its organization only."""

    micros: int
    organization_id: UUID | None = None


def effective(own: int | None, groups: Mapping[UUID, int], default: int) -> Limit:
    """The limit that holds. `groups` maps organizations onto the smallest limit of the person's groups there."""
    if own is not None:
        return Limit(own)
    if groups:
        organization_id, micros = min(groups.items(), key=lambda item: (item[1], item[0]))
        return Limit(micros, organization_id)
    return Limit(default)
