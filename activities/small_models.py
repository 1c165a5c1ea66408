"""Which models are asked for a few words aside: an administrator's choice, else small ones, else the chat's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from activities.catalog import ReadyModel
from models.rules import titles
from models.settings import Settings
from models.store import catalog, preferences
from models.store.database import Database

OVERRIDE = "agents_chat_title_generation_model_override"
# What makes a model think before it answers, or look things up: a few words need neither.
THOUGHTS = frozenset(
    {"thinking", "thinking_display", "effort", "reasoning_effort", "reasoning", "thinking_config", "web_search_enabled"}
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The models to ask, in order. A hard choice is an administrator's: nothing else is asked in its place."""

    models: Sequence[UUID]
    is_hard: bool = False


async def for_titles(database: Database, own: UUID) -> Choice:
    """The models to ask for a title."""
    chosen, small = await _cheap(database)
    return Choice([chosen], is_hard=True) if chosen else Choice(_own_last(small, own))


async def for_labels(settings: Settings, database: Database, own: UUID) -> Choice:
    """The models to ask for a label: a label is made for every turn, so by default only what costs next to nothing."""
    wanted = settings.turn_summaries
    if wanted == "plain":
        return Choice(())
    chosen, small = await _cheap(database)
    if chosen:
        return Choice([chosen], is_hard=True)
    return Choice(_own_last(small, own) if wanted == "any" else small)


def thoughtless(model: ReadyModel) -> ReadyModel:
    """The model, told not to think first; whatever else its options say (where data may go, for one) still holds."""
    sections: Mapping[str, Any] = model.options.get("provider_options") or {}
    kept = {
        name: {key: value for key, value in section.items() if key not in THOUGHTS}
        for name, section in sections.items()
        if isinstance(section, Mapping)
    }
    return replace(model, options={**model.options, "provider_options": kept})


def _own_last(small: Sequence[UUID], own: UUID) -> list[UUID]:
    return [*(each for each in small if each != own), own]


async def _cheap(database: Database) -> tuple[UUID | None, list[UUID]]:
    """The administrator's choice, if there is one that can be read, and the small models on offer."""
    async with database.read() as session:
        stored = (await preferences.site(session, OVERRIDE)).get(OVERRIDE, "")
        offered = await catalog.models(session, usable_only=True)
    try:
        return UUID(stored), []
    except ValueError:
        return None, titles.small_first(offered)
