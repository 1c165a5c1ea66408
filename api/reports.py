"""The query strings of reports, read strictly: a key that is misspelt would give a report of something else."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api.caller import COOKIE
from models.errors import Invalid, Validation
from models.store.usage import Page

BAD_QUERY = "Invalid query parameters."
MONTH = timedelta(days=30)
MOST = 2**31 - 1
DEFAULT_LIMIT = 10
DATES = ("start_date", "end_date")


@dataclass(frozen=True, slots=True)
class Report:
    """From `start` to just before `end`, for some people."""

    start: datetime
    end: datetime
    page: Page


def read(query: Mapping[str, str], *, now: datetime, paged: bool = False) -> Report:
    """What is asked for; the last 30 days unless it says otherwise. Raises Invalid with all that is wrong."""
    wrong: list[Validation] = []
    _refuse_unknown(query, (*DATES, COOKIE, *(("username", "limit", "offset") if paged else ())), wrong)
    start = _moment(query, "start_date", now - MONTH, wrong)
    end = _moment(query, "end_date", now, wrong)
    limit = _number(query, "limit", wrong) if paged else 0
    offset = _number(query, "offset", wrong) if paged else 0
    if offset < 0:
        wrong.append(Validation("offset", "Must be greater than or equal to 0."))
    if wrong:
        raise Invalid(BAD_QUERY, validations=wrong)
    text = query.get("username", "").replace("\x00", "")
    return Report(start, end, Page(text, limit if limit > 0 else DEFAULT_LIMIT, offset))


def _refuse_unknown(query: Mapping[str, str], known: Collection[str], wrong: list[Validation]) -> None:
    wrong += [Validation(key, f'"{key}" is not a valid query param') for key in query if key not in known]


def _moment(query: Mapping[str, str], key: str, absent: datetime, wrong: list[Validation]) -> datetime:
    text = query.get(key, "")
    if not text:
        return absent
    try:
        moment = datetime.fromisoformat(text)
        if len(text) > len("2026-05-20") and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    wrong.append(Validation(key, f'Query param "{key}" must be a valid date format (RFC 3339)'))
    return absent


def _number(query: Mapping[str, str], key: str, wrong: list[Validation]) -> int:
    text = query.get(key, "")
    try:
        number = int(text) if text else 0
    except ValueError:
        wrong.append(Validation(key, f'Query param "{key}" must be a valid integer'))
        return 0
    if number > MOST:
        wrong.append(Validation(key, f"Must be less than or equal to {MOST}."))
    return number
