"""The names of keys: X's, OpenAI's and people's spellings as the one by which the workspace's agent knows a key."""

from collections.abc import Mapping, Sequence

MODIFIERS = ("ctrl", "shift", "alt", "super")


def _spelt(names: str) -> dict[str, str]:
    """`a: b c; d:` → each spelling's key."""
    made: dict[str, str] = {}
    for entry in names.split(";"):
        key, _, spellings = entry.strip().partition(":")
        made |= dict.fromkeys((key, *spellings.split()), key)
    return made


# Spellings without `_`, `-` and white space, in lower case.
_NAMED: Mapping[str, str] = {
    **_spelt(
        """ctrl: control ctl controll controlr ctrll ctrlr; shift: shiftl shiftr; alt: altl altr option opt;
        super: superl superr meta metal metar cmd command win windows; enter: return kpenter linefeed; escape: esc;
        tab: isolefttab kptab; space: spacebar kpspace; backspace: back; delete: del kpdelete; insert: ins kpinsert;
        home: kphome; end: kpend; pageup: prior pgup kpprior kppageup; pagedown: next pgdn pgdown kpnext kppagedown;
        up: arrowup uparrow kpup; down: arrowdown downarrow kpdown; left: arrowleft leftarrow kpleft;
        right: arrowright rightarrow kpright; capslock: caps; numlock: num; printscreen: print prtsc prtscn sysrq;
        menu: contextmenu apps"""
    ),
    **{f"f{number}": f"f{number}" for number in range(1, 25)},
}
_CHARACTERS: Mapping[str, str] = {
    "plus": "+", "minus": "-", "comma": ",", "period": ".", "slash": "/", "backslash": "\\", "grave": "`",
    "backquote": "`", "backtick": "`", "quoteleft": "`", "equal": "=", "equals": "=", "semicolon": ";", "colon": ":",
    "apostrophe": "'", "quote": "'", "quoteright": "'", "quotedbl": '"', "bracketleft": "[", "bracketright": "]",
    "braceleft": "{", "braceright": "}", "parenleft": "(", "parenright": ")", "asterisk": "*", "exclam": "!", "at": "@",
    "numbersign": "#", "dollar": "$", "percent": "%", "asciicircum": "^", "ampersand": "&", "underscore": "_",
    "less": "<", "greater": ">", "bar": "|", "asciitilde": "~", "question": "?", "kpadd": "+", "kpsubtract": "-",
    "kpmultiply": "*", "kpdivide": "/", "kpdecimal": ".", "kpequal": "=",
    **{f"kp{digit}": str(digit) for digit in range(10)},
}  # fmt: skip


class NoSuchKey(ValueError):
    """No key has this name; the text is the name."""


def key(name: str) -> str:
    """The key's one name; a single character is its own. Raises NoSuchKey."""
    if len(name) == 1 and name.isprintable():
        return "space" if name.isspace() else name
    plain = "".join(name.lower().replace("_", " ").replace("-", " ").split())
    if found := _NAMED.get(plain) or _CHARACTERS.get(plain):
        return found
    raise NoSuchKey(name)


def chord(text: str) -> list[str]:
    """The keys of `ctrl+shift+t`; `+` is itself a key where it stands alone or at the end. Raises NoSuchKey."""
    if text == "+":
        return ["+"]
    names = f"{text[:-2]}+plus".split("+") if text.endswith("++") else text.split("+")
    return [key(name.strip() or name) for name in names]


def strokes(keys: Sequence[str]) -> list[list[str]]:
    """The chords that press the keys in this order: modifiers are held, all the others are pressed one by one."""
    held = [each for each in dict.fromkeys(keys) if each in MODIFIERS]
    pressed = [each for each in keys if each not in MODIFIERS]
    return [[*held, each] for each in pressed] or [held]
