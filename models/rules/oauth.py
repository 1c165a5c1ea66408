"""What an authorization server is asked for and gives: the words of OAuth 2, with PKCE always."""

import base64
import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from models.errors import TurnstoneError


class Failed(TurnstoneError):
    """The other side did not give what was asked for; `for_good`: and will not, until the person consents anew."""

    default_message = "The authorization server refused."

    def __init__(self, message: str = "", detail: str = "", *, for_good: bool = False) -> None:
        self.for_good = for_good
        super().__init__(message, detail)


@dataclass(frozen=True, slots=True)
class Client:
    """What we are to an authorization server."""

    client_id: str
    token_url: str
    secret: str = field(default="", repr=False)
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens, and for how many seconds they hold, where that was said."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    token_type: str = "Bearer"  # noqa: S105 - not a secret
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """What discovery and registration came to."""

    client_id: str
    auth_url: str
    token_url: str
    scopes: str
    resource: str
    secret: str = field(default="", repr=False)


def authorization_url(
    auth_url: str, client_id: str, redirect_uri: str, scopes: str, state: str, code_verifier: str, resource: str
) -> str:
    """Where the person's browser is sent to consent."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": scopes,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": resource,
    }
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{auth_url}{'&' if urlsplit(auth_url).query else '?'}{query}"
