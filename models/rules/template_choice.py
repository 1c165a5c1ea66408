"""In which order a model is shown templates: what was asked for, what its user works with, what others work with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PAGE = 10
WINDOW_DAYS = 60  # in which a user's own workspaces count
HALF_LIFE_DAYS = 14.0
OWN_WEIGHT = 10.0
EQUAL, PREFIX, NAME, DESCRIPTION, NOTHING = 4, 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Habit:
    """A user's own workspaces of a template: how many there are and were, and how long ago the last was used."""

    active: int = 0
    deleted: int = 0
    days: float = 0.0


def relevance(template: Mapping[str, Any], query: str) -> int:
    """How well the template fits what was asked for."""
    wanted = query.strip().casefold()
    if not wanted:
        return NOTHING
    names = [str(template[key] or "").casefold() for key in ("name", "display_name")]
    if wanted in names:
        return EQUAL
    if any(name.startswith(wanted) for name in names):
        return PREFIX
    if any(wanted in name for name in names):
        return NAME
    return DESCRIPTION if wanted in str(template["description"] or "").casefold() else NOTHING


def affinity(habit: Habit, active_developers: int) -> float:
    """How near the template is to its user's work, and to that of others."""
    own = OWN_WEIGHT * (habit.active + 0.5 * habit.deleted) * math.pow(0.5, habit.days / HALF_LIFE_DAYS)
    return own + math.log1p(active_developers)


def ranked(templates: Sequence[Mapping[str, Any]], habits: Mapping[Any, Habit], query: str) -> list[Mapping[str, Any]]:
    """The templates that fit the query, the best first; all of them where none does."""

    def order(template: Mapping[str, Any]) -> tuple[int, float, str]:
        near = affinity(habits.get(template["id"], Habit()), int(template["active_developers"] or 0))
        return (-relevance(template, query), -near, str(template["name"]).casefold())

    fitting = [each for each in templates if relevance(each, query) > NOTHING]
    return sorted(fitting or templates, key=order)


def recommended(
    templates: Sequence[Mapping[str, Any]], habits: Mapping[Any, Habit], query: str
) -> Mapping[str, Any] | None:
    """Of the ranked templates the one to take without asking, if there is one."""
    if not templates:
        return None
    first = templates[0]
    if len(templates) == 1 or relevance(first, query) >= PREFIX or first["id"] in habits:
        return first
    return None
