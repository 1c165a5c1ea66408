"""What the words of a search in the audit log mean: `q` of its list, in the grammar of chat searches."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from models.errors import Invalid, Validation
from models.rules import search

BAD = "Invalid audit search query."


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are asked for: all that is given must hold. `since` is included, `until` is not."""

    resource_type: str | None = None
    resource_id: UUID | None = None
    resource_target: str | None = None
    action: str | None = None
    username: str | None = None
    email: str | None = None
    organization: str | None = None
    request_id: str | None = None
    ip: str | None = None
    status_code: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def parse(query: str) -> AuditFilter:
    """The filter that `query` spells out; raises Invalid with what is wrong, each mistake under its key."""
    try:
        given = search.terms(query)
    except Invalid as mistake:
        raise Invalid(BAD, validations=mistake.validations) from None
    wrong: list[Validation] = []
    found: dict[str, Any] = {}
    for key, values in given.items():
        if key not in _READERS:
            wrong.append(Validation(key, f'Query param "{key}" is not a valid query param'))
        elif len(values) > 1:
            wrong.append(Validation(key, f'Query param "{key}" provided more than once, found {len(values)} times.'))
        elif values[0]:
            name, read, kind = _READERS[key]
            try:
                found[name] = read(values[0])
            except (ValueError, OverflowError):
                wrong.append(Validation(key, f'Query param "{key}" must be {kind}'))
    if wrong:
        raise Invalid(BAD, validations=wrong)
    return AuditFilter(**found)


def _day(value: str) -> datetime:
    return datetime.combine(date.fromisoformat(value), time(), UTC)


def _day_after(value: str) -> datetime:
    return _day(value) + timedelta(days=1)


def _status(value: str) -> int:
    if not 100 <= (status := int(value)) <= 599:
        raise ValueError
    return status


# Key → the field of AuditFilter, who reads its value, and what the value should have been.
_READERS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    **{each.name: (each.name, str, "text") for each in fields(AuditFilter) if each.type == (str | None)},
    "resource_id": ("resource_id", UUID, "a valid uuid"),
    "status_code": ("status_code", _status, "an HTTP status"),
    "date_from": ("since", _day, "a date such as 2026-06-01"),
    "date_to": ("until", _day_after, "a date such as 2026-06-01"),
}
KEYS = tuple(_READERS)
