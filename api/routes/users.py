"""Users: who exists, who they are, what they may do everywhere."""

import asyncio
from typing import Annotated

from fastapi import Query, Response

from api import accounts
from api.answers import answer, nothing
from api.author import By
from api.caller import AccountHolder, Caller, UserAdmin
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import stop_turns_of
from api.requests import Router
from api.resources import Opened
from api.schemas import views
from api.schemas.people import (
    CreateUser,
    Message,
    OrganizationView,
    SetPassword,
    SetRoles,
    UsersView,
    UserView,
)
from models.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound, Unprocessable, Validation
from models.principal import Principal
from models.store import audit, deeds, identities, lockouts, organizations, people, secrets

router = Router(tags=["users"])

SERVICE = "A service account has no password and cannot sign in."
NO_ORGANIZATION = (
    "No organization specified to place the user as a member of. It is required to specify at least one "
    "organization id to place the user in."
)


@router.get("", response_model=UsersView, responses=raises(Forbidden), summary="List users")
async def list_users(
    caller: UserAdmin,
    resources: Opened,
    q: Annotated[str, Query(max_length=256, description="part of a name, username or address")] = "",
    limit: Annotated[int, Query(ge=0, le=1000, description="0 is all")] = 0,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """By username, and how many there are in all."""
    async with resources.database.read() as session:
        rows, count = await people.search(session, text=q, limit=limit, offset=offset)
    return answer({"users": [views.user(row) for row in rows], "count": count})


@router.post(
    "",
    response_model=UserView,
    status_code=201,
    responses=raises(Forbidden, Conflict, Unprocessable),
    summary="Create a user",
)
async def create_user(body: CreateUser, caller: AccountHolder, once: OnlyOnce, resources: Opened) -> Response:
    """For user admins, and for admins of all the organizations named. Roles, `agents-access` too, are given later."""
    if not body.organization_ids:
        missing = Validation("organization_ids", "Missing values, this cannot be empty")
        if not caller.may_administer_users() and not _administers_any(caller):
            raise Forbidden
        raise Invalid(NO_ORGANIZATION, validations=[missing])
    if not all(map(caller.may_administer_people, body.organization_ids)):
        raise Forbidden
    password = _password_to_set(body)
    if password:
        accounts.check_password(password, body.username, body.email or "", body.name)
    hashed = await asyncio.to_thread(secrets.hash_password, password) if password else ""
    wanted = list(dict.fromkeys(body.organization_ids))
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        if unknown := await organizations.missing(session, wanted):
            detail = f"Organization does not exist with the id {unknown[0]}."
            raise Invalid(detail, validations=[Validation("organization_ids", detail)])
        user_id = await people.create(
            session,
            username=body.username,
            email=body.email or "",
            name=body.name,
            password_hash=hashed,
            status=body.user_status,
            service=body.service_account,
        )
        if body.login_type == identities.OIDC:
            await identities.let_sign_in(session, user_id)
        for organization_id in wanted:
            await organizations.add(session, organization_id, user_id)
        row = await people.get(session, user_id)
        return await once.keep(session, answer(views.user(row), 201))


def _administers_any(caller: Principal) -> bool:
    return any(map(caller.may_administer_people, caller.organizations))


def _password_to_set(body: CreateUser) -> str:
    if body.service_account:
        return _no_password(body)
    if body.email is None:
        raise Invalid(validations=[Validation("email", 'Validation failed for tag "required" with value: ""')])
    match body.login_type or ("password" if body.password else "none"):
        case "password" if body.password:
            return body.password
        case "password":
            raise Invalid(validations=[Validation("password", 'Validation failed for tag "required" with value: ""')])
        case "none" | identities.OIDC as other if body.password:
            detail = f"Password cannot be set for login type {other}."
            raise Invalid(detail, validations=[Validation("password", detail)])
        case "none" | identities.OIDC:
            return ""
    raise Invalid(validations=[Validation("login_type", "Must be password, oidc or none.")])


def _no_password(body: CreateUser) -> str:
    """A service account comes in by tokens alone, and nobody writes to it."""
    if body.password or body.login_type not in ("", "none"):
        raise Invalid(SERVICE, validations=[Validation("password" if body.password else "login_type", SERVICE)])
    if body.email:
        detail = "A service account has no email address."
        raise Invalid(detail, validations=[Validation("email", detail)])
    return ""


@router.get("/{user}", response_model=UserView, responses=raises(NotFound), summary="Get a user")
async def get_user(user: str, caller: Caller, resources: Opened) -> Response:
    """By id, username or `me`."""
    async with resources.database.read() as session:
        row = await people.get(session, accounts.named(caller, user))
    return answer(views.user(accounts.require_readable(caller, row)))


@router.delete(
    "/{user}", response_model=Message, responses=raises(Forbidden, NotFound, Conflict), summary="Delete a user"
)
async def delete_user(user: str, caller: UserAdmin, resources: Opened) -> Response:
    """Their tokens, webhooks and running turns end at once; their chats stay, for their organization's admins."""
    async with resources.database.begin() as session:
        row = await people.get(session, accounts.named(caller, user))
        deeds.was(row)
        await accounts.require_power_over(session, caller, row)
        if row["id"] == caller.user_id:
            raise Invalid("You cannot delete yourself!")
        await people.delete(session, row["id"])
    resources.principals.forget(str(row["id"]))
    await stop_turns_of(resources, row["id"])
    return answer({"message": "User has been deleted!"})


@router.put(
    "/{user}/roles",
    response_model=UserView,
    responses=raises(Forbidden, NotFound, Conflict),
    summary="Set a user's site roles",
)
async def set_user_roles(user: str, body: SetRoles, caller: UserAdmin, resources: Opened) -> Response:
    """Replaces them all. Only owners make owners."""
    async with resources.database.begin() as session:
        row = await people.get(session, accounts.named(caller, user))
        deeds.was(row)
        if row["id"] == caller.user_id:
            raise Invalid("You cannot change your own roles.")
        accounts.check_site_roles(caller, row, body.roles)
        await people.set_roles(session, row["id"], body.roles)
        row = await people.get(session, row["id"])
    resources.principals.forget(str(row["id"]))
    return answer(views.user(row))


@router.put(
    "/{user}/status/suspend",
    response_model=UserView,
    responses=raises(Forbidden, NotFound, Conflict),
    summary="Suspend a user",
)
async def suspend_user(user: str, caller: UserAdmin, resources: Opened) -> Response:
    """Their sessions end, their turns are stopped, and until they are activated again no token or webhook works.

    What was queued stays queued, and is theirs to send on when they are back.
    """
    return await _set_status(user, "suspended", caller, resources)


@router.put(
    "/{user}/status/activate",
    response_model=UserView,
    responses=raises(Forbidden, NotFound),
    summary="Activate a suspended user",
)
async def activate_user(user: str, caller: UserAdmin, resources: Opened) -> Response:
    """Their tokens work again."""
    return await _set_status(user, "active", caller, resources)


async def _set_status(user: str, status: str, caller: Principal, resources: Opened) -> Response:
    async with resources.database.begin() as session:
        row = await people.get(session, accounts.named(caller, user))
        deeds.was(row)
        await accounts.require_power_over(session, caller, row)
        if row["id"] == caller.user_id and status != "active":
            raise Invalid("You cannot suspend yourself.")
        await people.set_status(session, row["id"], status)
        row = await people.get(session, row["id"])
    resources.principals.forget(str(row["id"]))
    await stop_turns_of(resources, row["id"])
    return answer(views.user(row))


@router.put(
    "/{user}/password",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound, Exhausted),
    summary="Set a password",
)
async def set_user_password(user: str, body: SetPassword, caller: AccountHolder, resources: Opened) -> Response:
    """One's own (with the old one, if there is one), or that of a user one administers. Ends their other sessions."""
    async with resources.database.read() as session:
        row = await people.get(session, accounts.named(caller, user))
        stored = await people.password_hash(session, row["id"])
        deeds.was(row)
        await accounts.require_account_of(session, caller, row)
    if row["is_service_account"]:
        raise Invalid(SERVICE)
    own, account = row["id"] == caller.user_id, lockouts.account(row["email"])
    accounts.check_password(body.password, row["username"], row["email"], row["name"])
    if own and stored:
        with deeds.unnoticed():
            async with resources.database.begin() as session:
                await lockouts.attempt(session, account)
        if not await asyncio.to_thread(secrets.check_password, stored, body.old_password):
            detail = "Old password is incorrect."
            raise Invalid(detail, validations=[Validation("old_password", detail)])
    if own and row["login_type"] == identities.OIDC:
        raise Invalid("Users without password-based authentication cannot change their password.")
    hashed = await asyncio.to_thread(secrets.hash_password, body.password)
    async with resources.database.begin() as session:
        # In the order of a sign-in: the person, then what is held against them.
        await people.set_password(session, row["id"], hashed, keep_token=caller.token_id if own else "")
        await lockouts.forgive(session, account)
    resources.principals.forget(str(row["id"]))
    return nothing()


@router.post(
    "/{user}/unlock",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Let a user sign in again",
)
async def unlock_user(user: str, caller: UserAdmin, by: By, once: OnlyOnce, resources: Opened) -> Response:
    """Who failed to sign in too often waits up to 15 minutes; this ends the wait, and forgets the failures."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await people.get(session, accounts.named(caller, user))
        await accounts.require_power_over(session, caller, row)
        await lockouts.forgive(session, lockouts.account(row["email"]))
        audit.record(
            session,
            action="unlock",
            resource_type="user",
            resource_id=row["id"],
            target=row["username"],
            user_id=by.user_id,
            status_code=204,
            request_id=by.request_id,
        )
        return await once.keep(session, nothing())


@router.get(
    "/{user}/organizations",
    response_model=list[OrganizationView],
    responses=raises(NotFound),
    summary="List a user's organizations",
)
async def list_user_organizations(user: str, caller: Caller, resources: Opened) -> Response:
    """Those that the caller may see."""
    async with resources.database.read() as session:
        row = await people.get(session, accounts.named(caller, user))
        accounts.require_readable(caller, row)
        found = await organizations.of_user(session, row["id"])
    return answer([each for each in found if accounts.may_see_organization(caller, each["id"])])
