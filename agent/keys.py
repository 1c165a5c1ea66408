"""What keys are called in requests, and the symbols by which X11 knows them."""

import unicodedata

_F1 = 0xFFBE
_NAMES = {
    "alt": 0xFFE9,
    "altgr": 0xFE03,
    "backspace": 0xFF08,
    "capslock": 0xFFE5,
    "ctrl": 0xFFE3,
    "delete": 0xFFFF,
    "down": 0xFF54,
    "end": 0xFF57,
    "enter": 0xFF0D,
    "escape": 0xFF1B,
    "home": 0xFF50,
    "insert": 0xFF63,
    "left": 0xFF51,
    "menu": 0xFF67,
    "meta": 0xFFE7,
    "minus": ord("-"),
    "numlock": 0xFF7F,
    "pagedown": 0xFF56,
    "pageup": 0xFF55,
    "pause": 0xFF13,
    "plus": ord("+"),
    "printscreen": 0xFF61,
    "right": 0xFF53,
    "scrolllock": 0xFF14,
    "shift": 0xFFE1,
    "space": ord(" "),
    "super": 0xFFEB,
    "tab": 0xFF09,
    "up": 0xFF52,
    **{f"f{number}": _F1 + number - 1 for number in range(1, 25)},
}
SHIFT = _NAMES["shift"]
CAPS_LOCK = _NAMES["capslock"]
UNICODE = 0x01000000
_TYPED = {"\n": _NAMES["enter"], "\r": _NAMES["enter"], "\t": _NAMES["tab"]}


def symbol(name: str) -> int | None:
    """The symbol of a key by its name, or by the one character that it makes."""
    return _NAMES.get(name) or (of_character(name) if len(name) == 1 else None)


def of_character(character: str) -> int | None:
    """The symbol that types a character; None for what no key can."""
    known = _TYPED.get(character)
    if known is not None:
        return known
    if unicodedata.category(character) in {"Cc", "Cs"}:
        return None
    number = ord(character)
    return number if 0x20 <= number <= 0xFF else UNICODE | number
