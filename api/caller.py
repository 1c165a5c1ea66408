"""Who is calling, as parameter types: a handler's signature says who may."""

import hmac
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection, cookie_parser
from starlette.types import Scope

from api.resources import Resources
from models.errors import Forbidden, NotFound, Unauthenticated
from models.principal import Principal
from models.principal import Scope as Use
from models.store import secrets

HEADER = "Coder-Session-Token"
COOKIE = "coder_session_token"
CSRF_COOKIE = "csrf_token"
CSRF_HEADER = "X-CSRF-TOKEN"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CROSS_SITE = "Cross-site request refused."
_KEPT = "turnstone.credentials"
_KNOWN = "turnstone.principal"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token's digest and how it came; `digest` is None when there was none, or one that cannot be ours."""

    digest: bytes | None
    via: str = ""


def credentials(scope: Scope) -> Credentials:
    """The token of a request: header, bearer, query (GET only) or cookie, in this order."""
    kept: Credentials | None = scope.get(_KEPT)
    if kept is None:
        kept = scope[_KEPT] = _credentials(scope)
    return kept


def _credentials(scope: Scope) -> Credentials:
    headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
    token, via = headers.get(b"coder-session-token", b"").decode("latin-1").strip(), "header"
    if not token:
        scheme, _, rest = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        token, via = (rest.strip(), "bearer") if scheme.lower() == "bearer" else ("", "")
    # A token in the address of a form post would make another site's page an authenticated one.
    if not token and scope["query_string"] and scope.get("method", "GET") in SAFE_METHODS:
        token, via = parse_qs(scope["query_string"].decode("latin-1")).get(COOKIE, [""])[0], "query"
    if not token and b"cookie" in headers:
        token, via = cookie_parser(headers[b"cookie"].decode("latin-1")).get(COOKIE, ""), "cookie"
    if not token:
        return Credentials(None)
    return Credentials(secrets.digest(token) if secrets.plausible(token) else None, via)


def csrf_token(digest: bytes) -> str:
    """What shows that a request comes from a page that may read our cookies: it belongs to one session alone."""
    return hmac.digest(digest, b"turnstone csrf", "sha256").hex()


def _refuse_other_sites(connection: HTTPConnection, digest: bytes) -> None:
    """A cookie comes along with requests that other sites make: for changes the browser must say that it was ours."""
    shown = connection.headers.get(CSRF_HEADER, "").encode()
    if hmac.compare_digest(shown, csrf_token(digest).encode()):
        return
    if not _comes_from_us(connection, otherwise=False):
        raise Forbidden(_CROSS_SITE, "A request with a session cookie must come from the same origin.")


def refuse_foreign_forms(connection: HTTPConnection) -> None:
    """For what gives a browser a session: another site's form must not sign somebody in as whom it likes."""
    if not _comes_from_us(connection, otherwise=True):
        raise Forbidden(_CROSS_SITE, "Signing in must come from the same origin.")


def refuse_other_pages(connection: HTTPConnection) -> None:
    """For what no browser is meant to ask: a page of another site is refused, whatever it carries."""
    if not _comes_from_us(connection, otherwise=True):
        raise Forbidden(_CROSS_SITE, "Pages of other sites may not ask this.")


def _comes_from_us(connection: HTTPConnection, *, otherwise: bool) -> bool:
    """Does the browser say that a page of ours asks? `otherwise` where nothing is said, as by what is no browser."""
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    if site:
        return site in ("same-origin", "none")
    if origin is None:
        return otherwise
    ours = {connection.headers.get("host"), _host(connection.state.resources.settings.public_url)} - {None, ""}
    return _host(origin) in ours


def _host(origin: str | None) -> str:
    try:
        return urlsplit(origin or "").netloc
    except ValueError:
        return ""


async def authenticate(connection: HTTPConnection) -> Principal:
    """The principal behind the request's token; raises Unauthenticated."""
    known: Principal | None = connection.scope.get(_KNOWN)
    if known is not None:
        return known
    given = credentials(connection.scope)
    if not given.via:
        raise Unauthenticated(detail=f'Cookie "{COOKIE}", query parameter or header "{HEADER}" must be provided.')
    resources: Resources = connection.state.resources
    found = await resources.principals.find(given.digest) if given.digest is not None else None
    if found is None:
        raise Unauthenticated(detail="The session token is unknown, revoked or expired.")
    if given.via == "cookie" and given.digest is not None and connection.scope.get("method", "GET") not in SAFE_METHODS:
        _refuse_other_sites(connection, given.digest)
    connection.scope[_KNOWN] = found
    return found


Caller = Annotated[Principal, Depends(authenticate)]


async def _account_holder(caller: Caller) -> Principal:
    """With a token that stands for the whole account: a scoped token must not mint itself a stronger one."""
    if not caller.has_scope(Use.ALL):
        raise Forbidden
    return caller


async def _deployment_reader(caller: Caller) -> Principal:
    if not caller.may_read_deployment():
        raise Forbidden
    return caller


async def _insider(caller: Caller) -> Principal:
    """May read the deployment's settings; to everybody else there is nothing to be found."""
    if not caller.may_read_deployment():
        raise NotFound
    return caller


async def _keeper(caller: Caller) -> Principal:
    """May change the deployment's settings; to everybody else there is nothing to be found."""
    if not caller.may_update_deployment():
        raise NotFound
    return caller


async def _deployment_writer(caller: Caller) -> Principal:
    if not caller.may_update_deployment():
        raise Forbidden
    return caller


async def _user_admin(caller: Caller) -> Principal:
    if not caller.may_administer_users():
        raise Forbidden
    return caller


AccountHolder = Annotated[Principal, Depends(_account_holder)]
Insider = Annotated[Principal, Depends(_insider)]
Keeper = Annotated[Principal, Depends(_keeper)]
DeploymentReader = Annotated[Principal, Depends(_deployment_reader)]
DeploymentWriter = Annotated[Principal, Depends(_deployment_writer)]
UserAdmin = Annotated[Principal, Depends(_user_admin)]
