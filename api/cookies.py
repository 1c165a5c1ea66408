"""What a browser is given to keep, and what it is told to beware of."""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Scope

from api.caller import COOKIE, CSRF_COOKIE, csrf_token
from models.settings import Settings
from models.store import secrets

# Nobody frames our pages, guesses at types or learns from where one comes. A path of ours may name a chat.
_GUARDS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"referrer-policy", b"same-origin"),
)
_ALWAYS_TLS = (b"strict-transport-security", b"max-age=31536000")


def is_secure(scope: Scope, settings: Settings) -> bool:
    """Does the browser reach us by TLS, as far as we know? A proxy may end it before us."""
    return scope["scheme"] in ("https", "wss") or settings.public_url.startswith("https://")


def sign_in(response: Response, request: Request, settings: Settings, token: str) -> None:
    """Put the session into the browser, out of scripts' reach, and beside it what scripts show with changes."""
    seconds = int(settings.session_ttl.total_seconds())
    secure = is_secure(request.scope, settings)
    response.set_cookie(COOKIE, token, max_age=seconds, path="/", httponly=True, samesite="lax", secure=secure)
    shown = csrf_token(secrets.digest(token))
    response.set_cookie(CSRF_COOKIE, shown, max_age=seconds, path="/", httponly=False, samesite="lax", secure=secure)


def sign_out(response: Response) -> None:
    """Take both from the browser."""
    for name in (COOKIE, CSRF_COOKIE):
        response.delete_cookie(name, path="/")


def guards(scope: Scope, message: Message) -> Iterable[tuple[bytes, bytes]]:
    """The headers of every answer to a browser that the answer does not set itself."""
    if message["type"] != "http.response.start":
        return ()
    said = {name for name, _ in message.get("headers", ())}
    found = [guard for guard in _GUARDS if guard[0] not in said]
    if is_secure(scope, scope["state"]["resources"].settings):
        found.append(_ALWAYS_TLS)
    return found
