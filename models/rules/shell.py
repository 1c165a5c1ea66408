"""Which programs a shell command runs, as far as one can tell by reading it (`parsed_commands`, wire-api.md 2.4)."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\\\n)
      | (?P<comment>(?<![^\s;&|(){}])\#[^\n]*)
      | (?P<redirect>\d*(?:&>>?|>>|<<<|<<-?|<>|>\||[<>]&?)[ \t]*)
      | (?P<end>&&|\|\||;;|\|&|[;&|()\n])
    """,
    re.VERBOSE,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_WORD_ENDS = frozenset(" \t\n;&|()<>")
# Words after which another command begins.
_BEFORE_COMMAND = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"})
_ENDS_BLOCK = frozenset({"fi", "done", "}"})
_TOO_HARD = frozenset({"case", "function", "select", "[[", "((", "coproc"})
_LONGEST = 20_000  # characters


class _Unreadable(Exception):
    """It is no shell command, or one that takes a shell to understand."""


def parsed(command: str) -> list[list[str]] | None:
    """For each simple command, in order, its program and its first argument that is no flag; None if unreadable."""
    if len(command) > _LONGEST:
        return None
    try:
        return [_named(words) for words in _commands(command)]
    except _Unreadable:
        return None


def _named(words: list[str]) -> list[str]:
    program = words[0].rstrip("/").rpartition("/")[2] or words[0]
    first = next((word for word in words[1:] if not word.startswith("-")), None)
    return [program] if first is None else [program, first]


def _commands(command: str) -> Iterator[list[str]]:
    words: list[str] = []
    loop = False  # in the words of a `for`
    before = ""
    for kind, text in _tokens(command):
        last, before = before, text
        if kind == "end":
            if text == "(" and (words or _ASSIGNMENT.match(last)):
                raise _Unreadable  # a function, or an array
            if words and not loop:
                yield words
            words, loop = [], False
        elif not words and not loop and text in _TOO_HARD:
            raise _Unreadable
        elif not words and not loop and text == "for":
            loop = True
        elif loop or (not words and (text in _BEFORE_COMMAND | _ENDS_BLOCK or _ASSIGNMENT.match(text))):
            continue
        else:
            words.append(text)
    if words and not loop:
        yield words


def _tokens(command: str) -> Iterator[tuple[str, str]]:
    """Words and ends of commands; what is redirected, and where to, is left out."""
    at, target, heredocs = 0, False, list[str]()
    while at < len(command):
        match = _TOKEN.match(command, at)
        if match is None:
            word, at = _word(command, at)
            if not target:
                yield "word", word
            elif heredocs and not heredocs[-1]:
                heredocs[-1] = word
            target = False
            continue
        at = match.end()
        if match["redirect"]:
            if target:
                raise _Unreadable
            target = True
            if "<<" in match["redirect"] and "<<<" not in match["redirect"]:
                heredocs.append("")
        elif match["end"]:
            if target:
                raise _Unreadable
            yield "end", match["end"]
            if match["end"] == "\n" and heredocs:
                at, heredocs = _after(command, at, heredocs), []
    if target:
        raise _Unreadable


def _word(command: str, at: int) -> tuple[str, int]:
    """The word that begins here, without its quotes, and where it ends."""
    made: list[str] = []
    while at < len(command) and command[at] not in _WORD_ENDS:
        sign = command[at]
        if sign == "\\":
            made.append(command[at + 1 : at + 2].strip("\n"))
            at += 2
        elif sign == "'":
            end = _closing(command, at, "'")
            made.append(command[at + 1 : end])
            at = end + 1
        elif sign in '"`':
            end = _closing(command, at, sign)
            made.append(command[at + 1 : end] if sign == '"' else command[at : end + 1])
            at = end + 1
        elif command.startswith(("$(", "${"), at):
            end = _matching(command, at + 1)
            made.append(command[at:end])
            at = end
        else:
            made.append(sign)
            at += 1
    return "".join(made), at


def _closing(command: str, at: int, quote: str) -> int:
    end = at + 1
    while end < len(command):
        if command[end] == quote:
            return end
        if quote == '"' and command.startswith(("$(", "${"), end):
            end = _matching(command, end + 1)
        else:
            end += 2 if command[end] == "\\" and quote != "'" else 1
    raise _Unreadable


def _matching(command: str, at: int) -> int:
    """The place after the bracket that closes the one here."""
    opening = command[at]
    closing = {"(": ")", "{": "}"}[opening]
    depth = 0
    while at < len(command):
        sign = command[at]
        if sign in "'\"":
            at = _closing(command, at, sign)
        elif sign == "\\":
            at += 1
        elif sign == opening:
            depth += 1
        elif sign == closing:
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    raise _Unreadable


def _after(command: str, at: int, heredocs: list[str]) -> int:
    """The place after the texts that end with these words."""
    for word in heredocs:
        end = re.compile(rf"^\t*{re.escape(word)}$\n?", re.MULTILINE).search(command, at)
        if end is None:
            raise _Unreadable
        at = end.end()
    return at
