"""What an edit changed, as a unified diff that is cheap for files of any size. Pure."""

import difflib
import re

LIMIT_BYTES = 64 * 1024
_CONTEXT = 3
_THOROUGH_LINES = 1000
_LINE_START = re.compile(r"(?<=\n)")
_HUNK = re.compile(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


def lines_of(text: str) -> list[str]:
    """The lines of a text with their ends; unlike `splitlines`, form feeds and the like end none."""
    return [line for line in _LINE_START.split(text) if line]


def unified(before: str, after: str, path: str, *, created: bool = False) -> str:
    """The diff from one text to another; empty when they are equal, cut where it gets too long."""
    if before == after:
        return ""
    old, new = lines_of(before), lines_of(after)
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    start = max(0, head - _CONTEXT)
    keep = max(0, tail - _CONTEXT)
    old, new = old[start : len(old) - keep], new[start : len(new) - keep]
    sources = "/dev/null" if created else f"a/{path.lstrip('/')}", f"b/{path.lstrip('/')}"
    if max(len(old), len(new)) > _THOROUGH_LINES:
        # Comparing line with line is quadratic: one hunk says all of it.
        lines = [
            f"--- {sources[0]}\n",
            f"+++ {sources[1]}\n",
            f"@@ -{min(1, len(old))},{len(old)} +{min(1, len(new))},{len(new)} @@\n",
            *("-" + line for line in old),
            *("+" + line for line in new),
        ]
    else:
        lines = list(difflib.unified_diff(old, new, *sources, n=_CONTEXT))
    return _cut("".join(_shown(line, start) for line in lines))


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _shown(line: str, start: int) -> str:
    if line.startswith("@@") and (match := _HUNK.match(line)) is not None:
        old, old_count, new, new_count = match.groups(default="")
        line = f"@@ -{int(old) + start}{old_count} +{int(new) + start}{new_count} @@\n"
    return line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"


def _cut(diff: str) -> str:
    raw = diff.encode(errors="replace")
    if len(raw) <= LIMIT_BYTES:
        return diff
    kept = raw[:LIMIT_BYTES].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n[… the diff is {len(raw)} bytes long, the rest is left out …]\n"
