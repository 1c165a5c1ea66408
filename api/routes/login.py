"""Coming in: the first user, signing in with a password, signing out."""

import asyncio
from datetime import timedelta
from uuid import UUID

from fastapi import Request, Response

from api import accounts, cookies
from api.answers import answer
from api.caller import Caller, refuse_foreign_forms
from api.errors import raises
from api.ratelimit import network
from api.requests import Router
from api.resources import Opened
from api.schemas.people import (
    CreateFirstUser,
    FirstUserView,
    Login,
    LoginView,
    Message,
    PasswordJudgement,
    ValidatePassword,
)
from models.errors import Conflict, Exhausted, Forbidden, NotFound, Unauthenticated
from models.principal import SiteRole
from models.rules import passwords
from models.store import audit, bootstrap, deeds, lockouts, people, secrets
from models.store.audit import Told

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
    accounts.check_password(body.password, body.username, body.email, body.name)
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
        deeds.current().user_id = user_id
        deeds.made({"id": user_id, "username": body.username, "organization_id": organization_id})
    return answer({"user_id": user_id, "organization_id": organization_id}, 201)


def _refuse_second(found: bool) -> None:
    if found:
        raise Conflict("The initial user has already been created.")


@router.post(
    "/login",
    response_model=LoginView,
    status_code=201,
    responses=raises(Unauthenticated, Forbidden, Exhausted),
    summary="Sign in with a password",
)
async def login(body: Login, request: Request, resources: Opened) -> Response:
    """A session token, also as a cookie. Who fails waits, an account after 5 times and an address after 20; each time
    longer, 15 minutes at most. Whether there is such an account makes no difference."""
    refuse_foreign_forms(request)
    where, email = accounts.address(request), body.email.replace("\x00", "")
    if wait := resources.logins.take(network(where)):
        raise Exhausted("Too many attempts to sign in.", retry_after=timedelta(seconds=wait))
    async with resources.database.begin() as session:
        attempt = await lockouts.attempt(session, lockouts.account(email), lockouts.address(where))
    async with resources.database.read() as session:
        found = await people.password_of(session, email)
    right = await asyncio.to_thread(secrets.check_password, found[1] if found else None, body.password)
    if found is None or not right:
        async with resources.database.read() as session:
            await audit.record_alone(session, **_told(found, 401))
        raise Unauthenticated("Incorrect email or password.")
    lifetime = resources.settings.session_ttl
    agent = deeds.current().user_agent
    async with resources.database.begin() as session:
        # A password that was changed meanwhile has ended all sessions: this one would be left over.
        if await people.password_of(session, email, hold=True) != found:
            raise Unauthenticated("Incorrect email or password.")
        await lockouts.succeeded(session, attempt)
        _, token = await people.create_token(
            session, found[0], kind="session", lifetime=lifetime, ip_address=where, user_agent=agent
        )
        audit.record(session, **_told(found, 201))
    response = answer({"session_token": token}, 201)
    cookies.sign_in(response, request, resources.settings, token)
    return response


@router.post("/validate-password", response_model=PasswordJudgement, summary="Is a password good enough?")
async def validate_password(body: ValidatePassword) -> Response:
    """Before it is set. What it must not have of its user's own name is looked at only then."""
    found = passwords.weakness(body.password)
    return answer({"valid": not found, "details": found})


@router.post("/logout", response_model=Message, summary="Sign out")
async def logout(caller: Caller, resources: Opened) -> Response:
    """The token that asks ends here."""
    async with resources.database.begin() as session:
        await people.delete_token(session, caller.user_id, caller.token_id)
        deeds.was({"id": caller.user_id, "username": caller.username})
    resources.principals.forget(caller.token_id)
    response = answer({"message": "Logged out!"})
    cookies.sign_out(response)
    return response


def _told(found: tuple[UUID, str] | None, status_code: int) -> Told:
    """Of who came in, or did not. What was typed as an address is not kept: it may be a password."""
    user_id = found[0] if found else None
    return Told(
        action="login",
        resource_type="session",
        resource_id=user_id or UUID(int=0),
        target=str(user_id)[:8] if user_id else "unknown",
        user_id=user_id,
        status_code=status_code,
    )
