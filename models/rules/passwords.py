"""Whether a password is too easy to guess: judged by what is left once what everybody tries is taken out."""

import math
import re
from collections.abc import Iterable

SHORTEST, JUDGED = 8, 128
"""Characters that a password has at least, and how many of the first are judged."""

NEEDED = 45.0
"""Bits: ten lower-case letters at random, or eight of all kinds."""

TOO_SHORT = f"Must be at least {SHORTEST} characters long."
TOO_EASY = (
    "Too easy to guess: make it longer, or of more kinds of characters, without common words, rows of keys, "
    "repetitions, or your own name."
)

# What lists of stolen passwords begin with; each counts as one character, however it is written.
# fmt: off
_COMMON = (
    "password", "passwort", "passwd", "letmein", "welcome", "admin", "administrator", "login", "master", "secret",
    "changeme", "default", "monkey", "dragon", "football", "baseball", "superman", "batman", "sunshine", "princess",
    "iloveyou", "trustno", "starwars", "shadow", "michael", "jordan", "hunter", "whatever", "freedom", "computer",
    "internet", "summer", "winter", "spring", "autumn", "january", "february", "august", "september", "october",
    "november", "december", "monday", "friday", "qwerty", "qwertz", "azerty", "qazwsx", "zaqxsw", "asdfgh", "zxcvbn",
    "test", "guest", "root", "user", "turnstone",
)
# fmt: on
_ROWS = ("01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop")
_LOOKALIKES = str.maketrans("4@8301!$57", "aabeoiisst")
_RUN = re.compile(r"(.+?)\1+")
_WORDS = re.compile(r"[^\W_]+")
_ONE = "\x00"


def weakness(password: str, about: Iterable[str] = ()) -> str:
    """Why this is no good password for somebody who is called what is said `about` them; "" if it is one."""
    if len(password) < SHORTEST:
        return TOO_SHORT
    return TOO_EASY if _bits(password[:JUDGED], about) < NEEDED else ""


def _bits(password: str, about: Iterable[str]) -> float:
    left = len(_reduced(password.lower(), about))
    return left * math.log2(_alphabet(password))


def _reduced(text: str, about: Iterable[str]) -> str:
    own = [word for each in about for word in _WORDS.findall(each.lower()) if len(word) > 2]
    spelled = _without(_without(text, own), _COMMON)
    plain = _without(_without(text.translate(_LOOKALIKES), own), _COMMON)
    return min((_RUN.sub(r"\1", _rows(each)) for each in (spelled, plain)), key=len)


def _without(text: str, words: Iterable[str]) -> str:
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, _ONE)
    return text


def _rows(text: str) -> str:
    """Each run of three or more neighbours of a row, either way, counts as one character."""
    for row in _ROWS:
        for line in (row, row[::-1]):
            for size in range(len(line), 2, -1):
                for start in range(len(line) - size + 1):
                    text = text.replace(line[start : start + size], _ONE)
    return text


def _alphabet(password: str) -> int:
    kinds = (("a", "z", 26), ("A", "Z", 26), ("0", "9", 10))
    found = sum(size for low, high, size in kinds if any(low <= each <= high for each in password))
    if any(each.isascii() and not each.isalnum() for each in password):
        found += 33
    if any(not each.isascii() for each in password):
        found += 100
    return max(2, found)
