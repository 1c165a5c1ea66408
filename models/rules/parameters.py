"""What who builds a workspace may choose: which definitions of parameters are sound, and which values fit them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import regex

from models.errors import Invalid, Validation

KINDS = ("string", "number", "bool", "list(string)")
MOST_PARAMETERS = 100
MOST_OPTIONS = 100
LONGEST_NAME, LONGEST_VALUE, LONGEST_REGEX = 64, 8192, 512
REGEX_SECONDS = 0.1  # that one value may take: an expression that backtracks without end would hold up the process

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")

Definition = dict[str, Any]

DEFAULTS: Mapping[str, Any] = {
    "display_name": "",
    "description": "",
    "type": "string",
    "mutable": False,
    "default_value": "",
    "icon": "",
    "options": [],
    "required": False,
    "ephemeral": False,
    "validation_regex": "",
    "validation_error": "",
    "validation_min": None,
    "validation_max": None,
}


def defined(given: Iterable[Mapping[str, Any]]) -> list[Definition]:
    """The definitions, each with all its fields; raises Invalid that names every one that is not sound."""
    definitions = [{"name": str(each.get("name", "")), **DEFAULTS, **_known(each)} for each in given]
    if len(definitions) > MOST_PARAMETERS:
        raise Invalid("Invalid parameters.", f"A version has at most {MOST_PARAMETERS}.")
    wrong: list[Validation] = []
    seen: set[str] = set()
    for number, each in enumerate(definitions):
        detail = "The name is taken by another parameter." if each["name"] in seen else _complaint(each)
        seen.add(each["name"])
        if detail:
            wrong.append(Validation(f"parameters[{number}]", f"{each['name'] or 'a parameter'}: {detail}"))
    if wrong:
        raise Invalid("Invalid parameters.", wrong[0].detail, wrong)
    return definitions


def chosen(
    definitions: Iterable[Definition],
    given: Mapping[str, str],
    *,
    preset: Mapping[str, str] | None = None,
    previous: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The value of each parameter: the preset's, else the given, else the one before, else the default.

    Raises Invalid that names each value that does not fit, each that is missing, and each that cannot be changed.
    """
    known = {each["name"]: each for each in definitions}
    values: dict[str, str] = {}
    wrong = [Validation(name, f'There is no parameter "{name}".') for name in given if name not in known]
    for name, definition in known.items():
        before = None if previous is None or definition["ephemeral"] else previous.get(name)
        value = (preset or {}).get(name, given.get(name))
        if value is not None and before is not None and value != before and not definition["mutable"]:
            wrong.append(Validation(name, f'Parameter "{name}" is not mutable: it keeps the value of the first build.'))
            continue
        if value is None:
            value = before
        if value is None and definition["required"]:
            wrong.append(Validation(name, f'Parameter "{name}" is required.'))
            continue
        value = definition["default_value"] if value is None else value
        detail = "" if value == "" and not definition["required"] else unfit(definition, value)
        if detail:
            wrong.append(Validation(name, detail))
        values[name] = value
    if wrong:
        raise Invalid("Unable to validate parameters.", wrong[0].detail, wrong)
    return values


def preset_values(definitions: Iterable[Definition], values: Mapping[str, str]) -> None:
    """Raises Invalid unless a preset names parameters that there are, with values that fit them."""
    known = {each["name"]: each for each in definitions}
    wrong = []
    for name, value in values.items():
        detail = unfit(known[name], value) if name in known else f'There is no parameter "{name}".'
        if detail:
            wrong.append(Validation(f"presets.{name}", detail))
    if wrong:
        raise Invalid("Invalid preset.", wrong[0].detail, wrong)


def unfit(definition: Definition, value: str) -> str:
    """Why the value does not fit the parameter; empty when it does."""
    name = definition["name"]
    if len(value) > LONGEST_VALUE:
        return f'The value of parameter "{name}" is longer than {LONGEST_VALUE} characters.'
    options = [each["value"] for each in definition["options"]]
    match definition["type"]:
        case "number":
            return _unfit_number(definition, value) or _unlisted(name, [value], options)
        case "bool":
            return "" if value in ("true", "false") else f'Parameter "{name}" must be true or false.'
        case "list(string)":
            items = _strings(value)
            if items is None:
                return f'Parameter "{name}" must be a JSON array of strings.'
            return _unlisted(name, items, options)
    if definition["validation_regex"] and not _matches(definition["validation_regex"], value):
        return definition["validation_error"] or (
            f'The value of parameter "{name}" does not match {definition["validation_regex"]}.'
        )
    return _unlisted(name, [value], options)


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in DEFAULTS if given.get(name) is not None}


def _complaint(each: Definition) -> str:
    """What is wrong with a definition; empty when nothing is."""
    if len(each["name"]) > LONGEST_NAME or not NAME.fullmatch(each["name"]):
        return f"A name is a letter, then letters, digits, _ and -, {LONGEST_NAME} at most."
    if each["type"] not in KINDS:
        return f"The type must be one of {', '.join(KINDS)}."
    if each["validation_regex"]:
        if each["type"] != "string":
            return "Only strings are held to a regex."
        if len(each["validation_regex"]) > LONGEST_REGEX or not _compiles(each["validation_regex"]):
            return "The regex cannot be read."
    if each["type"] != "number" and (each["validation_min"], each["validation_max"]) != (None, None):
        return "Only numbers have a minimum and a maximum."
    if len(each["options"]) > MOST_OPTIONS:
        return f"There are at most {MOST_OPTIONS} options."
    for option in each["options"]:
        alone = each if each["type"] != "list(string)" else {**each, "type": "string"}
        if detail := unfit({**alone, "options": []}, option["value"]):
            return f"An option does not fit: {detail}"
    if each["required"] and each["default_value"]:
        return "What is required has no default."
    return unfit(each, each["default_value"]) if each["default_value"] else ""


def _compiles(text: str) -> bool:
    try:
        regex.compile(text)
    except (regex.error, OverflowError, RecursionError):
        return False
    return True


def _matches(text: str, value: str) -> bool:
    try:
        return regex.search(text, value, timeout=REGEX_SECONDS) is not None
    except TimeoutError:
        return False


def _unfit_number(definition: Definition, value: str) -> str:
    name, least, most = definition["name"], definition["validation_min"], definition["validation_max"]
    if not NUMBER.fullmatch(value):
        return f'Parameter "{name}" must be a number.'
    if (least is not None and float(value) < least) or (most is not None and float(value) > most):
        return definition["validation_error"] or f'Parameter "{name}" must be {_between(least, most)}.'
    return ""


def _between(least: float | None, most: float | None) -> str:
    if most is None:
        return f"at least {least:g}"
    return f"at most {most:g}" if least is None else f"between {least:g} and {most:g}"


def _strings(value: str) -> list[str] | None:
    try:
        items = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return items if isinstance(items, list) and all(isinstance(each, str) for each in items) else None


def _unlisted(name: str, values: Iterable[str], options: list[str]) -> str:
    if options and any(each not in options for each in values):
        return f'The value of parameter "{name}" must be one of: {", ".join(options)}.'
    return ""
