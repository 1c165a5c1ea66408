"""What the words of a workspace search mean: `q` of the list, read into a Filter."""

import re
from dataclasses import dataclass

from models.errors import Invalid, Validation

BAD = "Invalid workspace search query."
KEYS = ("owner", "name", "template", "status", "organization")
STATUSES = (
    "pending",
    "starting",
    "running",
    "stopping",
    "stopped",
    "failed",
    "canceling",
    "canceled",
    "deleting",
    "deleted",
)
LONGEST = 500
_ELEMENT = re.compile(r'(?:([a-z_]+):)?(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True, slots=True)
class Filter:
    """Which workspaces a list holds; "" asks nothing. `name` is a part of it, the others are whole words.

    `owner` may be `me`, and a word without a key is a part of the name, or `owner/name`.
    """

    owner: str = ""
    name: str = ""
    template: str = ""
    status: str = ""
    organization: str = ""


def parse(query: str) -> Filter:
    """The filter that `query` spells out; raises Invalid with what is wrong, each mistake under its key."""
    if len(query) > LONGEST:
        raise Invalid(BAD, validations=[Validation("q", f"must be at most {LONGEST} characters")])
    found: dict[str, str] = {}
    wrong: list[Validation] = []
    for key, quoted, plain in _ELEMENT.findall(query.replace("\x00", "")):
        value = quoted or plain
        if not key and "/" in value and "owner" not in found:
            found["owner"], _, value = value.partition("/")
        if key and key not in KEYS:
            wrong.append(Validation(key, f'"{key}" is not a valid query param'))
        elif (key or "name") in found:
            wrong.append(Validation(key or "name", f'Query param "{key or "name"}" provided more than once'))
        elif value:
            found[key or "name"] = value
    if found.get("status", STATUSES[0]) not in STATUSES:
        wrong.append(Validation("status", f'Query param "status" has invalid value: {found["status"]}'))
    if wrong:
        raise Invalid(BAD, validations=wrong)
    return Filter(**found)
