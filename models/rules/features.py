"""What agents may use beside models: how each setting is written down, and what holds while nobody has set it.

Workspaces, templates, the advisor, the desktop and who works at it are bound by theirs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import orjson

DESKTOP = "agents_desktop_enabled"
COMPUTER_USE = "agents_computer_use_provider"
ADVISOR = "agents_advisor_config"
WORKSPACE_TTL = "agents_workspace_ttl"
TEMPLATES = "agents_template_allowlist"

COMPUTER_USERS = ("anthropic", "openai")
MOST_CHANGES = 20
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


class Held(NamedTuple):
    """A setting, and since when it holds."""

    since: datetime
    setting: Advisor


def desktop(site: Mapping[str, str]) -> bool:
    """May agents use a virtual desktop?"""
    return site.get(DESKTOP) == "true"


def computer_use(site: Mapping[str, str]) -> str:
    """Whose models use it."""
    stored = site.get(COMPUTER_USE, "")
    return stored if stored in COMPUTER_USERS else COMPUTER_USERS[0]


def advisor(site: Mapping[str, str]) -> Advisor:
    """The advisor's setting; what cannot be read is an advisor that is off."""
    return advisor_over_time(site)[0].setting


def advisor_over_time(site: Mapping[str, str]) -> Sequence[Held]:
    """The setting that holds and those before it, the newest first: a turn keeps to the one that it began under."""
    return _read(site.get(ADVISOR, ""))


@lru_cache(maxsize=4)
def _read(text: str) -> Sequence[Held]:
    """Every step asks, and the text seldom changes."""
    try:
        stored = orjson.loads(text)
        before = stored.pop("before", [])
        now = _held(stored)
    except (ValueError, TypeError, KeyError, AttributeError):
        return (Held(datetime.min.replace(tzinfo=UTC), Advisor()),)
    try:
        return (now, *map(_held, before))
    except (ValueError, TypeError, KeyError, AttributeError):
        return (now,)


def advisor_at(held: Iterable[Held], moment: datetime) -> Advisor:
    """The setting that held at that moment; the oldest that is known, if it is older still."""
    oldest = Advisor()
    for since, setting in held:
        oldest = setting
        if since <= moment:
            break
    return oldest


def _held(stored: Any) -> Held:
    since = datetime.fromisoformat(stored.pop("since")) if "since" in stored else datetime.min.replace(tzinfo=UTC)
    setting = Advisor(**{**stored, "model_config_id": UUID(stored["model_config_id"])})
    numbers = (setting.max_uses_per_run, setting.max_output_tokens)
    if since.tzinfo is None or not isinstance(setting.enabled, bool):
        raise ValueError("not a setting of the advisor")
    if not all(type(each) is int and each >= 0 for each in numbers):
        raise ValueError("not a number of uses or tokens")
    return Held(since, setting)


def advisor_text(held: Iterable[Held]) -> str:
    """The setting with those before it, the newest first, as they are stored."""
    now, *before = [{**each.setting.shown(), "since": each.since.isoformat()} for each in held][:MOST_CHANGES]
    return orjson.dumps({**now, "before": before}).decode()


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
