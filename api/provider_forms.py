"""Is this a provider we can work with? Every field is judged, and all complaints come back together."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from api.schemas.catalog import ChangedKey, CreateProvider, ProviderSettings, UpdateProvider
from models.errors import Invalid, Validation
from models.rules.credentials import FIELDS, Policy
from models.rules.profiles import PROVIDER_TYPES
from models.store.providers import KeptKey, NewKey

MESSAGE = "Invalid AI provider request."
NO_KEYS = "Bedrock providers do not accept api_keys; configure access credentials via settings."
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_NAME = 64
LONGEST_KEY = 10_240
SECRET_SETTINGS = ("access_key", "access_key_secret", "session_token")
# Which settings a type has; others have none.
SETTINGS = {"bedrock": ("region", *SECRET_SETTINGS), "azure": ("api_version",)}


def provider_type(given: str) -> str:
    """The type as we spell it."""
    return given.strip().lower()


def check_name(name: str) -> list[Validation]:
    if NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return []
    return [Validation("name", f"Must match ^{NAME.pattern}$ and have at most {LONGEST_NAME} characters.")]


def check_type(kind: str) -> list[Validation]:
    if kind in PROVIDER_TYPES:
        return []
    return [Validation("type", f"Must be one of {', '.join(PROVIDER_TYPES)}.")]


def check_base_url(url: str, kind: str) -> list[Validation]:
    """Absolute http or https; the demo provider goes nowhere."""
    if kind == "demo" and not url:
        return []
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if good and not re.search(r"\s", url) and len(url) <= 2048:
        return []
    return [Validation("base_url", "Must be an absolute http or https URL.")]


def check_keys(keys: Sequence[str]) -> list[Validation]:
    return [
        Validation(f"api_keys[{place}]", complaint)
        for place, key in enumerate(keys)
        if (complaint := _complaint_about_key(key.strip()))
    ]


def _complaint_about_key(key: str) -> str:
    if not key:
        return "Must not be empty."
    if len(key.encode()) > LONGEST_KEY:
        return f"Must not be longer than {LONGEST_KEY} bytes."
    if not key.isprintable() or not key.isascii():
        return "Must be printable ASCII."
    return ""


def check_settings(settings: ProviderSettings | None, kind: str) -> list[Validation]:
    if settings is None or kind not in PROVIDER_TYPES:
        return []
    allowed = SETTINGS.get(kind, ())
    if not allowed:
        return [Validation("settings", f"Providers of type {kind} have no settings.")]
    if settings.kind not in (None, "", kind):
        return [Validation("settings", f'"_type" must be "{kind}".')]
    if settings.version not in (None, 1):
        return [Validation("settings", '"_version" must be 1.')]
    given = settings.model_dump(exclude_none=True, exclude={"kind", "version"})
    return [Validation("settings", f'"{key}" is not a setting of {kind}.') for key in given if key not in allowed]


def policy_of(given: CreateProvider | UpdateProvider, stored: Policy) -> Policy:
    """The policy that is asked for: what is absent stays, and the fallback ends where it cannot be."""
    fields = {name: value for name in FIELDS if (value := getattr(given, name)) is not None}
    wanted = replace(stored, **fields)
    if given.allow_central_api_key_fallback is None and wanted.complaints():
        wanted = replace(wanted, allow_central_api_key_fallback=False)
    return wanted


def check_policy(policy: Policy) -> list[Validation]:
    return [Validation(name, complaint) for name, complaint in policy.complaints().items()]


def refuse(complaints: Sequence[Validation]) -> None:
    """Raises Invalid if there are any."""
    if complaints:
        raise Invalid(MESSAGE, validations=complaints)


def keys_to_store(changes: Sequence[ChangedKey], known: frozenset[str]) -> list[KeptKey | NewKey]:
    """The keys that a provider shall have; raises Invalid for unknown ids and for ambiguous entries."""
    complaints: list[Validation] = []
    wanted: list[KeptKey | NewKey] = []
    for place, change in enumerate(changes):
        field = f"api_keys[{place}]"
        if (change.id is None) == (change.api_key is None):
            complaints.append(Validation(field, "Exactly one of id and api_key must be set."))
        elif change.id is not None:
            if str(change.id) not in known:
                complaints.append(Validation(field, f"There is no key {change.id}."))
            wanted.append(KeptKey(change.id))
        else:
            key = (change.api_key or "").strip()
            if complaint := _complaint_about_key(key):
                complaints.append(Validation(field, complaint))
            wanted.append(NewKey(key))
    refuse(complaints)
    return wanted


def settings_to_store(given: ProviderSettings | None, stored: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The settings to keep: those given, with stored secrets where none is given; an empty one clears."""
    if given is None:
        return stored or None
    kept = {key: stored[key] for key in SECRET_SETTINGS if key in stored}
    merged = {**kept, **given.model_dump(exclude_none=True, exclude={"kind", "version"})}
    return {"_type": kind, "_version": 1, **{key: value for key, value in merged.items() if value}}


def settings_to_show(stored: dict[str, Any]) -> dict[str, Any] | None:
    """The settings without their secrets."""
    return {key: value for key, value in stored.items() if key not in SECRET_SETTINGS} or None
