"""Signing in with an OpenID Connect provider: there and back through the browser (authorization code with PKCE)."""

import html
import secrets
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Request, Response

from api import accounts, cookies
from api.answers import answer
from api.author import By
from api.caller import UserAdmin
from api.errors import raises, respond, status_of
from api.ratelimit import network
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas import views
from api.schemas.people import AuthMethods, SetLoginType, UserView
from models import oidc
from models.errors import Exhausted, Forbidden, Invalid, NotFound, TurnstoneError, Unauthenticated, Unavailable
from models.rules import sign_in
from models.store import audit, deeds, identities, people

router = Router(tags=["users"])

PATH = "/api/v2/users/oidc/callback"
COOKIE = "turnstone_oidc"
LIFE = 600  # seconds from leaving for the provider to coming back
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{message}</title>
<h1>{message}</h1><p>{detail}</p><p><a href="{again}">Try again</a></p></html>
"""
Word = Annotated[str, Query(max_length=8192)]


@router.get("/authmethods", response_model=AuthMethods, summary="How can people sign in?")
async def list_auth_methods(resources: Opened) -> Response:
    """Asked by the sign-in page, before anybody has signed in."""
    settings = resources.settings
    return answer(
        {
            "terms_of_service_url": "",
            "password": {"enabled": True},
            "github": {"enabled": False, "default_provider_configured": False},
            "oidc": {
                "enabled": resources.provider.configured,
                "signInText": settings.oidc_sign_in_text,
                "iconUrl": settings.oidc_icon_url,
            },
        }
    )


@router.get(
    "/oidc/callback",
    response_class=Response,
    status_code=307,
    responses={
        307: {"description": "To the provider; and once back from there with a session, to where one came from."},
        **raises(Invalid, Unauthenticated, Forbidden, NotFound, Exhausted, Unavailable),
    },
    summary="Sign in with OpenID Connect",
)
async def oidc_callback(
    request: Request,
    resources: Opened,
    code: Word = "",
    state: Word = "",
    iss: Word = "",
    error: Word = "",
    error_description: Word = "",
    redirect: Annotated[
        Word, Query(description="Path of this site to go to afterwards; another address is not gone to.")
    ] = sign_in.HOME,
) -> Response:
    """Without `code` it begins: the browser is sent to the provider, which sends it back here.

    A browser that is not let in gets a page that says why; other clients the usual envelope.
    """
    provider = resources.provider
    if not provider.configured:
        raise NotFound("OpenID Connect sign-in is not configured.")
    wait = resources.arrivals.take(network(accounts.address(request)))
    if wait:
        raise Exhausted("Too many attempts to sign in.", retry_after=timedelta(seconds=wait))
    who = None
    try:
        if not (code or state or error):
            return await _leave(request, resources, sign_in.local_path(redirect))
        sent, where = _attempt(request, resources, state)
        if error:
            detail = f"{error}: {error_description}" if error_description else error
            raise Unauthenticated("The identity provider did not sign you in.", detail[:500])
        if not code:
            raise Invalid("Code must be provided.")
        if iss and iss.rstrip("/") != resources.settings.oidc_issuer.rstrip("/"):
            raise Unauthenticated("The answer is another provider's.")
        granted = await provider.redeem(code, sent, _redirect_uri(request, resources))
        who = sign_in.identity(await provider.issuer(), granted.claims, resources.settings)
        return await _enter(request, resources, who, granted, where)
    except TurnstoneError as refusal:
        await _note(request, resources, refusal, who)
        return _refusal(request, refusal)


@router.put(
    "/{user}/login-type",
    response_model=UserView,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Have a user sign in with OpenID Connect",
)
async def set_login_type(user: str, body: SetLoginType, caller: UserAdmin, by: By, resources: Opened) -> Response:
    """Their password and their sessions end; the first sign-in with their address, verified, links the account."""
    if not resources.provider.configured:
        raise Invalid("OpenID Connect sign-in is not configured.")
    async with resources.database.begin() as session:
        row = await people.get(session, accounts.named(caller, user))
        await accounts.require_power_over(session, caller, row)
        if row["is_service_account"]:
            raise Invalid("A service account comes in by tokens alone.")
        await identities.let_sign_in(session, row["id"])
        audit.record(
            session,
            action="write",
            resource_type="user",
            resource_id=row["id"],
            target=row["username"],
            user_id=by.user_id,
            diff=audit.changed(login_type=(row["login_type"], body.login_type)),
            request_id=by.request_id,
        )
        row = await people.get(session, row["id"])
    resources.principals.forget(str(row["id"]))
    return answer(views.user(row))


async def _leave(request: Request, resources: Resources, where: str) -> Response:
    sent = oidc.Secrets(*(secrets.token_urlsafe(32) for _ in range(3)))
    kept = {**asdict(sent), "where": where, "until": int(time.time()) + LIFE}
    cookie = resources.cipher.encrypt_document(kept)
    address = await resources.provider.address(sent, _redirect_uri(request, resources))
    response = _to(address)
    secure = cookies.is_secure(request.scope, resources.settings)
    response.set_cookie(COOKIE, cookie or "", max_age=LIFE, path=PATH, httponly=True, samesite="lax", secure=secure)
    return response


def _attempt(request: Request, resources: Resources, state: str) -> tuple[oidc.Secrets, str]:
    """What this browser left with, and where it wants to go; raises Invalid, Unauthenticated.

    Only who began may finish: else somebody could sign others in as themselves, and read what they then write.
    """
    if not state:
        raise Invalid("State must be provided.")
    cookie = request.cookies.get(COOKIE, "")
    if not cookie:
        raise Unauthenticated(f'Cookie "{COOKIE}" must be provided.', "You may have begun to sign in elsewhere.")
    try:
        kept = resources.cipher.decrypt_document(cookie)
    except (TurnstoneError, ValueError):  # a cookie may hold anything
        kept = {"state": "", "until": 0}
    if kept["until"] < time.time() or not secrets.compare_digest(str(kept["state"]).encode(), state.encode()):
        raise Unauthenticated("State mismatched.", "Signing in took too long, or was begun in another window.")
    return oidc.Secrets(kept["state"], kept["nonce"], kept["verifier"]), sign_in.local_path(kept["where"])


async def _enter(
    request: Request, resources: Resources, who: sign_in.Identity, granted: oidc.Granted, where: str
) -> Response:
    settings = resources.settings
    access = sign_in.access(granted.claims, settings)
    async with resources.database.begin() as session:
        arrival = await identities.sign_in(
            session, resources.cipher, settings, who, access, granted.tokens, request.state.request_id
        )
        _, token = await people.create_token(
            session,
            arrival.user_id,
            kind="session",
            lifetime=settings.session_ttl,
            ip_address=accounts.address(request),
            user_agent=deeds.current().user_agent,
        )
    resources.principals.forget(str(arrival.user_id))
    response = _to(where)
    cookies.sign_in(response, request, settings, token)
    response.delete_cookie(COOKIE, path=PATH)
    return response


async def _note(request: Request, resources: Resources, refusal: TurnstoneError, who: sign_in.Identity | None) -> None:
    """Write down whom we did not let in; what no provider has vouched for is no entry, or anybody could write many."""
    if not isinstance(refusal, sign_in.Refused | oidc.NotAccepted):
        return
    async with resources.database.begin() as session:
        await identities.refused(
            session,
            str(refusal),
            status_code=status_of(type(refusal)),
            who=who,
            user_id=getattr(refusal, "user_id", None),
            request_id=request.state.request_id,
        )


def _refusal(request: Request, refusal: TurnstoneError) -> Response:
    response = respond(refusal)
    if "text/html" in request.headers.get("accept", ""):
        words = {"message": refusal.message, "detail": refusal.detail, "again": PATH}
        page = _PAGE.format(**{name: html.escape(word) for name, word in words.items()})
        guard = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        later = {name: value for name, value in response.headers.items() if name == "retry-after"}
        response = Response(page, response.status_code, {**guard, **later}, "text/html; charset=utf-8")
    response.delete_cookie(COOKIE, path=PATH)
    return response


def _redirect_uri(request: Request, resources: Resources) -> str:
    return (resources.settings.public_url or str(request.base_url)).rstrip("/") + PATH


def _to(address: str) -> Response:
    # What is an answer to one browser is nobody else's.
    return Response(status_code=307, headers={"Location": quote(address, safe=_SAFE), "Cache-Control": "no-store"})


_SAFE = ":/%#?=@[]!$&'()*+,;"
