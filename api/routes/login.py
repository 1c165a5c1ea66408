"""Coming in: the first user, signing in with a password, signing out."""

import asyncio
from datetime import timedelta

from fastapi import Request, Response

from api import accounts
from api.answers import answer
from api.caller import COOKIE, Caller
from api.errors import raises
from api.ratelimit import network
from api.requests import Router
from api.resources import Opened
from api.schemas.people import CreateFirstUser, FirstUserView, Login, LoginView, Message
from models.errors import Conflict, Exhausted, NotFound, Unauthenticated
from models.principal import SiteRole
from models.store import bootstrap, people, secrets

router = Router(tags=["users"])


@router.get("/first", response_model=Message, responses=raises(NotFound), summary="Is there a first user?")
async def first_user_exists(resources: Opened) -> Response:
    """404 until one is created."""
    async with resources.database.read() as session:
        if not await people.any_user(session):
            raise NotFound("The initial user has not been created!")
    return answer({"message": "The initial user has already been created!"})


@router.post(
    "/first", response_model=FirstUserView, status_code=201, responses=raises(Conflict), summary="Create the first user"
)
async def create_first_user(body: CreateFirstUser, resources: Opened) -> Response:
    """The owner of a new deployment, and its default organization. Works once."""
    async with resources.database.read() as session:
        _refuse_second(await people.any_user(session))
    hashed = await asyncio.to_thread(secrets.hash_password, body.password)
    async with resources.database.begin() as session:
        await people.hold_set_up(session)
        _refuse_second(await people.any_user(session))
        user_id = await people.create(
            session,
            username=body.username,
            email=body.email,
            name=body.name,
            password_hash=hashed,
            roles=(SiteRole.OWNER,),
        )
        organization_id = await bootstrap.default_organization(session, user_id)
    return answer({"user_id": user_id, "organization_id": organization_id}, 201)


def _refuse_second(found: bool) -> None:
    if found:
        raise Conflict("The initial user has already been created.")


@router.post(
    "/login",
    response_model=LoginView,
    status_code=201,
    responses=raises(Unauthenticated, Exhausted),
    summary="Sign in with a password",
)
async def login(body: Login, request: Request, resources: Opened) -> Response:
    """A session token, also as a cookie. Attempts are limited for an address and for an account."""
    where = network(accounts.address(request))
    wait = resources.logins.take(where) or resources.guesses.take(f"{where} {body.email.lower()}")
    if wait:
        raise Exhausted("Too many attempts to sign in.", retry_after=timedelta(seconds=wait))
    async with resources.database.read() as session:
        found = await people.password_of(session, body.email.replace("\x00", ""))
    right = await asyncio.to_thread(secrets.check_password, found[1] if found else None, body.password)
    if found is None or not right:
        raise Unauthenticated("Incorrect email or password.")
    lifetime = resources.settings.session_ttl
    async with resources.database.begin() as session:
        _, token = await people.create_token(session, found[0], kind="session", lifetime=lifetime)
    response = answer({"session_token": token}, 201)
    secure = request.url.scheme == "https" or resources.settings.public_url.startswith("https://")
    seconds = int(lifetime.total_seconds())
    response.set_cookie(COOKIE, token, max_age=seconds, path="/", httponly=True, samesite="lax", secure=secure)
    return response


@router.post("/logout", response_model=Message, summary="Sign out")
async def logout(caller: Caller, resources: Opened) -> Response:
    """The token that asks ends here."""
    async with resources.database.begin() as session:
        await people.delete_token(session, caller.user_id, caller.token_id)
    resources.principals.forget(caller.token_id)
    response = answer({"message": "Logged out!"})
    response.delete_cookie(COOKIE, path="/")
    return response
