"""Roles: which there are, and those that an organization makes for its members."""

from typing import Any
from uuid import UUID

from fastapi import Response

from api import accounts
from api.answers import answer, nothing
from api.author import By
from api.caller import AccountHolder, Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.requests import Router
from api.resources import Opened
from api.schemas.people import WORD
from api.schemas.roles import RESERVED, AssignableRole, CustomRole, RoleDefinition, organization_roles, site_roles, view
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable, Validation
from models.principal import Principal
from models.store import audit, organizations, roles
from models.store.audit import Author
from models.store.database import Row
from models.store.session import Session

of_users = Router(tags=["users"])
router = Router(tags=["organizations"])

ROLE = "custom_role"


@of_users.get("/roles", response_model=list[AssignableRole], responses=raises(Forbidden), summary="List site roles")
async def list_site_roles(caller: AccountHolder) -> Response:
    """Those that hold everywhere, and which of them the caller may give and take."""
    return answer(site_roles(accounts.grantable(caller)))


@router.get(
    "/{organization}/members/roles",
    response_model=list[AssignableRole],
    responses=raises(Forbidden, NotFound),
    summary="List an organization's roles",
)
async def list_organization_roles(organization: str, caller: Caller, resources: Opened) -> Response:
    """Those that are built in, and its own."""
    async with resources.database.read() as session:
        row = _seen(caller, await organizations.get(session, organization))
        own = await roles.of_organization(session, row["id"])
    assignable = caller.may_administer_organization(row["id"])
    return answer(organization_roles(str(row["id"]), own, assignable=assignable))


@router.post(
    "/{organization}/members/roles",
    response_model=RoleDefinition,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Unprocessable),
    summary="Create a role",
)
async def create_organization_role(
    organization: str, body: CustomRole, caller: Caller, by: By, once: OnlyOnce, resources: Opened
) -> Response:
    """Of permissions on chats. Nobody has it until it is given to them."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = _administered(caller, await organizations.get(session, organization))
        _check_name(body.name)
        made = await roles.create(session, row["id"], name=body.name, display_name=body.display_name, **body.granted())
        _tell(session, "create", row["id"], made, (_NOTHING, made), by)
        return await once.keep(session, answer(view(made)))


@router.put(
    "/{organization}/members/roles",
    response_model=RoleDefinition,
    responses=raises(Invalid, Forbidden, NotFound),
    summary="Change a role",
)
async def update_organization_role(
    organization: str, body: CustomRole, caller: Caller, by: By, resources: Opened
) -> Response:
    """That of the same name: what it is called and allows is replaced, at once for all who have it."""
    async with resources.database.begin() as session:
        row = _administered(caller, await organizations.get(session, organization))
        _check_name(body.name)
        was = await roles.hold(session, row["id"], body.name)
        made = await roles.update(session, was["id"], display_name=body.display_name, **body.granted())
        _tell(session, "write", row["id"], made, (was, made), by)
    resources.principals.forget()
    return answer(view(made))


@router.delete(
    "/{organization}/members/roles/{role}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Delete a role",
)
async def delete_organization_role(organization: str, role: str, caller: Caller, by: By, resources: Opened) -> Response:
    """Who has it has it no more."""
    async with resources.database.begin() as session:
        row = _administered(caller, await organizations.get(session, organization))
        was = await roles.hold(session, row["id"], role)
        await roles.delete(session, was)
        _tell(session, "delete", row["id"], was, (was, _NOTHING), by, status_code=204)
    resources.principals.forget()
    return nothing()


_NOTHING: Row = {"name": "", "display_name": "", "everywhere": [], "own": []}


def _tell(
    session: Session, action: str, organization: UUID, role: Row, change: tuple[Row, Row], by: Author, **more: Any
) -> None:
    was, now = change
    audit.record(
        session,
        action=action,
        resource_type=ROLE,
        resource_id=role["id"],
        target=role["name"],
        organization_id=organization,
        user_id=by.user_id,
        diff=audit.changed(**{key: (was[key], now[key]) for key in _NOTHING if was[key] != now[key]}),
        request_id=by.request_id,
        **more,
    )


def _check_name(name: str) -> None:
    if name.lower() in RESERVED:
        raise Invalid("Reserved role name", f'"{name}" is a reserved role name, and not allowed to be used')
    if not WORD.fullmatch(name):
        detail = "must be letters, digits and single hyphens between them"
        raise Invalid("Invalid role name", detail, [Validation("name", detail)])


def _seen(caller: Principal, row: Row) -> Row:
    if not accounts.may_see_organization(caller, row["id"]):
        raise NotFound
    return row


def _administered(caller: Principal, row: Row) -> Row:
    accounts.require_power_over_roles(caller, _seen(caller, row)["id"])
    return row
