"""Whose key a model call is made with: a provider's policy, and which keys there are (admin.md 9.3)."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Where the credentials of a call come from. CENTRAL includes the server's own, where a type needs no key."""

    USER = "user"
    CENTRAL = "central"


class Lack(StrEnum):
    """Why there are none, as the catalogue says it: the person can mend the first, only administrators the second."""

    USER_KEY = "user_api_key_required"
    KEY = "missing_api_key"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a provider's administrator lets calls be made with."""

    central_api_key_enabled: bool = True
    allow_user_api_key: bool = True
    allow_central_api_key_fallback: bool = True

    def complaints(self) -> dict[str, str]:
        """What makes no sense, by field."""
        central, own = self.central_api_key_enabled, self.allow_user_api_key
        if not (central or own):
            return {"central_api_key_enabled": "At least one of central and user API keys must be allowed."}
        if self.allow_central_api_key_fallback and not (central and own):
            return {"allow_central_api_key_fallback": "Needs both central and user API keys."}
        return {}

    def takes_own(self, byok: bool) -> bool:
        """Do people's own keys count? Not where the deployment allows none (`byok`)."""
        return byok and self.allow_user_api_key

    def source(self, *, byok: bool, has_own: bool, has_central: bool) -> Source | Lack:
        """Whose key is used. One's own always wins; no fallback means none, though there is a central key."""
        own = self.takes_own(byok)
        if own and has_own:
            return Source.USER
        if self.central_api_key_enabled and has_central and (self.allow_central_api_key_fallback or not own):
            return Source.CENTRAL
        return Lack.USER_KEY if own else Lack.KEY


FIELDS = ("central_api_key_enabled", "allow_user_api_key", "allow_central_api_key_fallback")
"""The policy's fields, as they are stored and sent."""
