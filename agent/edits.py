"""Applies replacements to a text: exactly where they fit, else where only white space differs. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.differences import lines_of


class EditFailed(Exception):
    """An edit that fits nowhere, or in more places than one; the message is for the model."""


@dataclass(frozen=True)
class Edit:
    """Replace a text by another; each place if `everywhere`, else the one place there must be."""

    search: str
    replace: str
    everywhere: bool = False


def apply(text: str, edits: list[Edit]) -> str:
    """The text after all edits, each applied to what the one before it left."""
    for number, edit in enumerate(edits, 1):
        try:
            text = _apply(text, edit)
        except EditFailed as error:
            raise EditFailed(f"edit {number} of {len(edits)}: {error}" if len(edits) > 1 else str(error)) from None
    return text


def _apply(text: str, edit: Edit) -> str:
    if not edit.search:
        raise EditFailed("search is empty: say which text to replace")
    search, replace = edit.search, edit.replace
    if "\r\n" in text and "\r" not in search:
        # The model was shown lines, not line ends: the file keeps its own.
        crlf = search.replace("\n", "\r\n")
        if crlf in text:
            search, replace = crlf, replace.replace("\r\n", "\n").replace("\n", "\r\n")
    found = text.count(search)
    if found == 1 or (found and edit.everywhere):
        return text.replace(search, replace)
    if found:
        raise EditFailed(
            f"search fits in {found} places: make it longer until it fits in one, or set replace_all to change each"
        )
    return _by_lines(text, edit)


def _by_lines(text: str, edit: Edit) -> str:
    """Match whole lines without their trailing white space; failing that, without their indentation too."""
    lines = lines_of(text)
    wanted = lines_of(edit.search)
    for same in (str.rstrip, str.strip):
        places = _places(lines, wanted, same)
        if len(places) > 1 and not edit.everywhere:
            raise EditFailed(
                f"search fits in {len(places)} places when white space is ignored: make it longer until it fits in one,"
                " or set replace_all to change each"
            )
        if places:
            for place in reversed(places):
                end = place + len(wanted)
                lines[place:end] = _replacement(lines[place:end], wanted, edit)
            return "".join(lines)
    raise EditFailed("search was not found in the file: read it again, and copy the text exactly")


def _places(lines: list[str], wanted: list[str], same: Callable[[str], str]) -> list[int]:
    bare = [same(line) for line in lines]
    goal = [same(line) for line in wanted]
    if not any(goal):
        return []  # lines of nothing but white space would fit anywhere
    found: list[int] = []
    at = 0
    while at + len(goal) <= len(bare):
        if bare[at : at + len(goal)] == goal:
            found.append(at)
            at += len(goal)
        else:
            at += 1
    return found


def _replacement(matched: list[str], wanted: list[str], edit: Edit) -> list[str]:
    """The new lines, with the file's indentation and line ends in place of the model's."""
    theirs, ours = _indentation(wanted), _indentation(matched)
    ending = "\r\n" if matched[0].endswith("\r\n") else "\n"
    new = []
    for whole in lines_of(edit.replace):
        line = whole.rstrip("\r\n")
        moved = ours + line[len(theirs) :] if theirs != ours and line.strip() and line.startswith(theirs) else line
        new.append(moved + ending)
    if new and not matched[-1].endswith(("\n", "\r")):
        new[-1] = new[-1].removesuffix(ending)  # the last line of a file without a final line end
    return new


def _indentation(lines: list[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    return first[: len(first) - len(first.lstrip())].rstrip("\r\n")
