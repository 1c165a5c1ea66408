"""What an agent sees of the repositories in its workspace: taken in bounds, merged, counted, told where it changed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from models.rules.moments import rfc3339

MOST = 20  # repositories
MOST_BYTES = 3 * 1024 * 1024  # of all their diffs, as JSON: clients take messages of less than 4 MiB
LONGEST = 4096  # characters of a path, a branch, an address
LEFT_OUT = "[the rest of the diff is left out: it is too long]\n"

Repository = dict[str, Any]
"""`repo_root`, `branch`, `remote_origin`, `unified_diff`, `removed`, and `additions`, `deletions`, `changed_files`."""

SHOWN = ("repo_root", "branch", "remote_origin", "unified_diff", "removed")
COUNTED = ("additions", "deletions", "changed_files")
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class Malformed(ValueError):
    """It is not what an agent says of repositories."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at the repositories: what is new since the last one, those that are gone `removed`."""

    scanned_at: str
    repositories: Sequence[Repository]
    error: str = ""


def read(frame: Mapping[str, Any], now: datetime) -> Scan:
    """The look that the agent's frame tells of; raises Malformed. Counted before it is cut."""
    given = frame.get("repositories") or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Malformed("repositories is a list of objects")
    at, error = frame.get("scanned_at"), frame.get("error")
    if not isinstance(at, str | None) or not isinstance(error, str | None):
        raise Malformed("scanned_at and error are text")
    return Scan(_moment(at, now), list(_bounded(given[:MOST])), (error or "")[:LONGEST])


def merged(known: Sequence[Repository], told: Sequence[Repository]) -> list[Repository]:
    """All there are, by their roots: what is told now comes over what was known, and takes away what is gone."""
    found = {each["repo_root"]: each for each in (*known, *told)}
    return [found[root] for root in sorted(found) if not found[root]["removed"]][:MOST]


def changes(before: Sequence[Repository], now: Sequence[Repository]) -> list[Repository]:
    """What watchers have to be told, who know what was before; those that are gone come as removed."""
    known = {each["repo_root"]: each for each in before}
    here = {each["repo_root"] for each in now}
    gone = [{**each, "unified_diff": "", "removed": True} for root, each in known.items() if root not in here]
    changed = [each for each in now if shown(each) != shown(known.get(each["repo_root"], {}))]
    return [shown(each) for each in (*changed, *gone)]


def shown(repository: Mapping[str, Any]) -> Repository:
    """The repository as watchers see it."""
    return {key: repository.get(key) for key in SHOWN}


def main(repositories: Iterable[Repository]) -> Repository | None:
    """The one that a chat is taken to work on: one with changes and a remote before others."""
    ranked = sorted(repositories, key=lambda each: (not each["changed_files"], not each["remote_origin"]))
    return ranked[0] if ranked else None


def counts(repositories: Iterable[Repository]) -> dict[str, int]:
    """Added and deleted lines, and changed files, of all."""
    found = list(repositories)
    return {key: min(sum(each[key] for each in found), 2**31 - 1) for key in COUNTED}


def counted(diff: str) -> dict[str, int]:
    """The same of one unified diff. Lines are counted within hunks only, whatever they look like."""
    additions = deletions = files = old = new = 0
    for line in diff.split("\n"):
        if old > 0 or new > 0:
            first = line[:1]
            if first == "+":
                additions, new = additions + 1, new - 1
            elif first == "-":
                deletions, old = deletions + 1, old - 1
            elif first != "\\":
                old, new = old - 1, new - 1
        elif line.startswith("diff --git "):
            files += 1
        elif hunk := _HUNK.match(line):
            old, new = (int(length) if length is not None else 1 for length in hunk.groups())
    return {"additions": additions, "deletions": deletions, "changed_files": files}


def _bounded(given: Iterable[Mapping[str, Any]]) -> Iterator[Repository]:
    room = MOST_BYTES
    for each in given:
        root, branch, origin, diff = (_text(each, key) for key in SHOWN[:4])
        if not root:
            raise Malformed("a repository has a repo_root")
        kept = _cut(diff, room)
        room -= _size(kept)
        yield {
            "repo_root": root[:LONGEST],
            "branch": branch[:LONGEST],
            "remote_origin": origin[:LONGEST],
            "unified_diff": kept,
            "removed": bool(each.get("removed")),
            **counted(diff),
        }


def _moment(text: str | None, now: datetime) -> str:
    try:
        at = datetime.fromisoformat(text) if text else now
        return rfc3339(at if at.tzinfo else now)
    except (ValueError, OverflowError):
        return rfc3339(now)


def _cut(diff: str, room: int) -> str:
    """Whole lines of the diff, in so many bytes of JSON."""
    if _size(diff) <= room:
        return diff
    kept = diff
    while kept and (size := _size(kept) + len(LEFT_OUT)) > room:
        kept = kept[: min(len(kept) * max(room, 0) // size, len(kept) - 1)]
        kept = kept[: kept.rfind("\n") + 1]
    return kept + LEFT_OUT


def _size(text: str) -> int:
    return len(orjson.dumps(text))


def _text(repository: Mapping[str, Any], key: str) -> str:
    value = repository.get(key) or ""
    if not isinstance(value, str):
        raise Malformed(f"{key} is text")
    # A half of a pair of surrogates is no text, and there is no JSON of it.
    return value.encode("utf-8", "replace").decode()
