"""Which labels a chat may carry (wire-api.md 3.1.2), and the `label=` filter of lists."""

import re
from collections.abc import Iterable, Mapping

from models.errors import Invalid, Validation

MAX_LABELS = 50
MAX_KEY_BYTES = 64
MAX_VALUE_BYTES = 256
KEY_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9._/-]*$"

_KEY = re.compile(KEY_PATTERN.rstrip("$") + r"\Z")


def check(labels: Mapping[str, str]) -> None:
    """Raise Invalid with one validation for each broken rule."""
    problems = _problems(labels)
    if problems:
        raise Invalid("Invalid labels.", validations=[Validation("labels", problem) for problem in problems])


def wanted(filters: Iterable[str]) -> list[dict[str, str]]:
    """The labels that `key:value` filters ask for, all of them; raises Invalid for one that is not of that form."""
    found = []
    for raw in filters:
        key, separator, value = raw.partition(":")
        if not separator or not key or not value:
            raise Invalid(f'Invalid label filter: "{raw}" (expected format key:value, both must be non-empty)')
        found.append({key: value})
    return found


def _problems(labels: Mapping[str, str]) -> list[str]:
    problems = []
    if len(labels) > MAX_LABELS:
        problems.append(f"too many labels ({len(labels)}); maximum is {MAX_LABELS}")
    for key, value in labels.items():
        if not key:
            problems.append("label key must not be empty")
        elif len(key.encode()) > MAX_KEY_BYTES:
            problems.append(f'label key "{key}" exceeds maximum length of {MAX_KEY_BYTES} bytes')
        elif not _KEY.match(key):
            problems.append(f'label key "{key}" contains invalid characters; must match {KEY_PATTERN}')
        if not value:
            problems.append(f'label value for key "{key}" must not be empty')
        elif len(value.encode()) > MAX_VALUE_BYTES:
            problems.append(f'label value for key "{key}" exceeds maximum length of {MAX_VALUE_BYTES} bytes')
    return problems
