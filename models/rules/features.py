"""What agents may use beside models: how each setting is written down, and what holds while nobody has set it.

Workspaces and templates are bound by theirs; desktop, computer use and advisor are kept for features to come.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import orjson

DESKTOP = "agents_desktop_enabled"
COMPUTER_USE = "agents_computer_use_provider"
ADVISOR = "agents_advisor_config"
WORKSPACE_TTL = "agents_workspace_ttl"
TEMPLATES = "agents_template_allowlist"

COMPUTER_USERS = ("anthropic", "openai")
SHORTEST_TTL_MS, LONGEST_TTL_MS = 60_000, 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class Advisor:
    """How agents may ask a second model; the zero id is the chat's own."""

    enabled: bool = False
    max_uses_per_run: int = 0
    max_output_tokens: int = 0
    model_config_id: UUID = field(default_factory=lambda: UUID(int=0))

    def shown(self) -> dict[str, Any]:
        """The setting as people see it."""
        return asdict(self)


def desktop(site: Mapping[str, str]) -> bool:
    """May agents use a virtual desktop?"""
    return site.get(DESKTOP) == "true"


def computer_use(site: Mapping[str, str]) -> str:
    """Whose models use it."""
    stored = site.get(COMPUTER_USE, "")
    return stored if stored in COMPUTER_USERS else COMPUTER_USERS[0]


def advisor(site: Mapping[str, str]) -> Advisor:
    """The advisor's setting; what cannot be read is an advisor that is off."""
    try:
        stored = orjson.loads(site[ADVISOR])
        setting = Advisor(**{**stored, "model_config_id": UUID(stored["model_config_id"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return Advisor()
    numbers = (setting.max_uses_per_run, setting.max_output_tokens)
    sound = isinstance(setting.enabled, bool) and all(type(each) is int and each >= 0 for each in numbers)
    return setting if sound else Advisor()


def advisor_text(setting: Advisor) -> str:
    """The setting as it is stored."""
    return orjson.dumps(setting.shown()).decode()


def workspace_ttl_ms(site: Mapping[str, str]) -> int:
    """How long workspaces live, 0 for no limit; raises ValueError when what is stored is no such number."""
    stored = site.get(WORKSPACE_TTL, "0")
    if not (stored.isascii() and stored.isdigit() and int(stored) <= LONGEST_TTL_MS):
        raise ValueError(f"the setting {WORKSPACE_TTL} holds {stored!r}, which is no such number of milliseconds")
    return int(stored)


def templates(site: Mapping[str, str]) -> list[UUID]:
    """The templates that may be used, none for all; raises ValueError when what is stored is no list of ids."""
    stored = orjson.loads(site.get(TEMPLATES, "[]"))
    if not (isinstance(stored, list) and all(isinstance(each, str) for each in stored)):
        raise ValueError(f"the setting {TEMPLATES} holds no list of ids")
    return [UUID(each) for each in stored]


def templates_text(ids: Iterable[UUID]) -> str:
    """The list as it is stored."""
    return orjson.dumps([str(each) for each in ids]).decode()
