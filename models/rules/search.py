"""What the words of a chat search mean: `q` of the list, read into a Filter (wire-api.md 3.2)."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from models.errors import Invalid, Validation
from models.rules.states import Status

BAD = "Invalid chat search query."
MINE, SHARED = "created_by_me", "shared_with_me"
SOURCES = (MINE, SHARED)
PR_STATUSES = ("draft", "open", "merged", "closed", "none")
STATUSES = tuple(str(each) for each in Status)
LONGEST_SEARCH = 500  # characters: each word of it is looked up
MOST_PR = 2**31 - 1

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
# What a pull request has a field of its own for is not sought in the messages as well.
_APART = ("title", "pr_title", "pr")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chats a list holds: all that is asked must hold. None, "" and () ask nothing.

    `title`, `repo` and `pr_title` are substrings in which % and _ stand for anything; `archived` None is any.
    """

    title: str = ""
    archived: bool | None = False
    has_unread: bool | None = None
    statuses: tuple[str, ...] = ()
    pr_statuses: tuple[str, ...] = ()
    sources: tuple[str, ...] = (MINE,)
    diff_url: str = ""
    pr: int | None = None
    repo: str = ""
    pr_title: str = ""
    search: str = ""

    @property
    def about_diffs(self) -> bool:
        """Does it ask anything about branches and pull requests?"""
        return bool(self.pr_statuses or self.diff_url or self.pr or self.repo or self.pr_title)


def parse(query: str) -> Filter:
    """The filter that `query` spells out; raises Invalid with what is wrong, each mistake under its key."""
    given = terms(query)
    wrong: list[Validation] = []
    found: dict[str, Any] = {}
    for key, values in given.items():
        if key not in _READERS:
            continue
        name, reader = _READERS[key]
        try:
            value = reader(key, values)
        except _Wrong as mistake:
            wrong.append(Validation(key, str(mistake)))
            continue
        if value is not None:
            found[name] = value
    if "search" in found:
        wrong += [
            Validation("search", f'Query param "search" cannot be used together with "{key}"')
            for key in _APART
            if key in given
        ]
    wrong += [Validation(key, f"Query param {_quoted(key)} is not a valid query param") for key in given
              if key not in _READERS]  # fmt: skip
    if wrong:
        raise Invalid(BAD, validations=wrong)
    if found.get("archived") == "any":
        found["archived"] = None
    return Filter(**found)


class _Wrong(ValueError):
    """What a value should have been."""


def terms(query: str) -> dict[str, list[str]]:
    """The values of each key, in the order in which the keys first come."""
    terms: dict[str, list[str]] = {}
    bare = []
    for element in _split(query, " "):
        if ":" not in element:
            bare.append(element)
            continue
        if element.startswith(":") or element.endswith(":"):
            raise _refused(f"Query element {_quoted(element)} cannot start or end with ':'")
        parts = _split(element, ":")
        if len(parts) == 1:
            raise _refused(f"unsupported search term: {_quoted(element)}")
        if len(parts) > 2:
            raise _refused(f"Query element {_quoted(element)} can only contain 1 ':'")
        key, value = (part.replace('"', "") for part in parts)
        if not key:
            raise _refused(f"Query element {_quoted(element)} cannot start or end with ':'")
        terms.setdefault(key.lower(), []).append(value)
    if bare:
        raise _refused(f"unsupported search term: {_quoted(' '.join(bare))}")
    return terms


def _refused(detail: str) -> Invalid:
    return Invalid(BAD, validations=[Validation("q", detail)])


def _split(text: str, delimiter: str) -> list[str]:
    """The pieces between delimiters that stand outside of double quotes; the quotes stay, empty pieces do not."""
    return [piece for piece in _pieces(text, delimiter) if piece]


def _pieces(text: str, delimiter: str) -> Iterator[str]:
    start, inside = 0, False
    for place, character in enumerate(text):
        if character == '"':
            inside = not inside
        elif character == delimiter and not inside:
            yield text[start:place]
            start = place + 1
    yield text[start:]


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quoted(text: str) -> str:
    """The text in double quotes, on one line, with nothing in it that cannot be seen."""
    shown = (_ESCAPES.get(each) or (each if each.isprintable() else f"\\u{ord(each):04x}") for each in text)
    return f'"{"".join(shown)}"'


def _one(key: str, values: Sequence[str]) -> str:
    if len(values) > 1:
        raise _Wrong(
            f'Query param "{key}" provided more than once, found {len(values)} times. '
            "Only provide 1 instance of this query param."
        )
    return values[0]


def _text(key: str, values: Sequence[str]) -> str:
    return _one(key, values)


def _words(key: str, values: Sequence[str]) -> str | None:
    text = " ".join(values).strip()
    if len(text) > LONGEST_SEARCH:
        raise _Wrong(f'Query param "{key}" must be at most {LONGEST_SEARCH} characters')
    return text or None


def _boolean(key: str, values: Sequence[str]) -> bool | None:
    value = _one(key, values)
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    if value:
        raise _Wrong(f'Query param "{key}" must be a valid boolean')
    return None


def _boolean_or_any(key: str, values: Sequence[str]) -> bool | str | None:
    if len(values) == 1 and values[0].lower() == "any":
        return "any"
    return _boolean(key, values)


def _choice(*choices: str) -> Callable[[str, Sequence[str]], tuple[str, ...] | None]:
    def read(key: str, values: Sequence[str]) -> tuple[str, ...] | None:
        given = [each.strip() for value in values for each in value.split(",") if each.strip()]
        bad = [each for each in given if each.lower() not in choices]
        if bad:
            raise _Wrong(f'Query param "{key}" has invalid values: {",".join(bad)}')
        return tuple(dict.fromkeys(each.lower() for each in given)) or None

    return read


def _number(key: str, values: Sequence[str]) -> int | None:
    value = _one(key, values)
    if not value:
        return None
    if re.fullmatch(r"\+?[0-9]{1,20}", value, re.ASCII) and 1 <= int(value) <= MOST_PR:
        return int(value)
    raise _Wrong(f"{_quoted(value)} is not a valid positive integer")


def _url(key: str, values: Sequence[str]) -> str | None:
    value = _one(key, values)
    if fault := address_fault(key, value):
        raise _Wrong(fault)
    return value or None


def address_fault(key: str, value: str) -> str | None:
    """What keeps the value from being an absolute address of the web; an empty one is none, and nothing is wrong."""
    if not value:
        return None
    try:
        parsed = urlsplit(value)
        host = parsed.hostname
    except ValueError as wrong:
        return f"{key} is not a valid URL: {wrong}"
    if parsed.scheme not in ("http", "https"):
        return f"{key} must use http or https scheme, got {_quoted(parsed.scheme)}"
    return None if host else f"{key} must include a host"


# Key → the field of Filter it sets, and who reads its values: None asks nothing.
_READERS: dict[str, tuple[str, Callable[[str, Sequence[str]], Any]]] = {
    "title": ("title", _text),
    "archived": ("archived", _boolean_or_any),
    "has_unread": ("has_unread", _boolean),
    "status": ("statuses", _choice(*STATUSES)),
    "pr_status": ("pr_statuses", _choice(*PR_STATUSES)),
    "source": ("sources", _choice(*SOURCES)),
    "diff_url": ("diff_url", _url),
    "pr": ("pr", _number),
    "repo": ("repo", _text),
    "pr_title": ("pr_title", _text),
    "search": ("search", _words),
}
