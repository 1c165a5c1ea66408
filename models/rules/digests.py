"""What an owner is told of chats that were archived for their age."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

MOST_TITLES = 25
TITLE = "Chats Auto-Archived"

_UNITS = (
    (timedelta(days=365), "year"),
    (timedelta(days=30), "month"),
    (timedelta(days=7), "week"),
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)


class Archived(NamedTuple):
    """A chat that was archived: how it is called, and when somebody last said something in it."""

    title: str
    last_activity: datetime


def details(
    archived: Sequence[Archived], total: int, at: datetime, *, auto_archive_days: int, retention_days: int
) -> dict[str, Any]:
    """The digest as data: at most 25 chats by name, and how many more there are."""
    shown = archived[:MOST_TITLES]
    told: dict[str, Any] = {
        "archived_chats": [
            {"title": each.title, "last_activity_humanized": ago(at - each.last_activity)} for each in shown
        ],
        "auto_archive_days": str(auto_archive_days),
        "retention_days": str(retention_days),
    }
    if total > len(shown):
        told["additional_archived_count"] = str(total - len(shown))
    return told


def content(told: dict[str, Any]) -> str:
    """The digest as text."""
    days, retention = told["auto_archive_days"], told["retention_days"]
    lines = [f"These chats were archived after {_days(days)} without activity:", ""]
    lines += [f"* {each['title']} (last active {each['last_activity_humanized']})" for each in told["archived_chats"]]
    if more := told.get("additional_archived_count"):
        lines.append(f"* and {more} more")
    lines.append("")
    if retention == "0":
        lines.append("Archived chats are kept. You can bring one back at any time.")
    else:
        lines.append(f"Archived chats are deleted after {_days(retention)}. Bring back what you want to keep.")
    return "\n".join(lines)


def ago(age: timedelta) -> str:
    """An age in words, in its largest whole unit: `3 months ago`."""
    for unit, word in _UNITS:
        if age >= unit:
            count = age // unit
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def _days(count: str) -> str:
    return "1 day" if count == "1" else f"{count} days"
