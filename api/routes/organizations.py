"""Organizations, and who belongs to them with which roles."""

from fastapi import Response

from api import accounts
from api.answers import answer, nothing
from api.caller import Caller, DeploymentWriter
from api.errors import raises
from api.idempotency import OnlyOnce
from api.requests import Router
from api.resources import Opened
from api.schemas import views
from api.schemas.people import CreateOrganization, MemberView, OrganizationView, SetRoles
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from models.principal import Principal
from models.store import deeds, organizations, people, roles
from models.store.database import Row

router = Router(tags=["organizations"])


@router.get("", response_model=list[OrganizationView], summary="List organizations")
async def list_organizations(caller: Caller, resources: Opened) -> Response:
    """Those that the caller may see, by name."""
    async with resources.database.read() as session:
        found = await organizations.of_user(session)
    return answer([row for row in found if accounts.may_see_organization(caller, row["id"])])


@router.post(
    "",
    response_model=OrganizationView,
    status_code=201,
    responses=raises(Forbidden, Conflict, Unprocessable),
    summary="Create an organization",
)
async def create_organization(
    body: CreateOrganization, caller: DeploymentWriter, once: OnlyOnce, resources: Opened
) -> Response:
    """Its creator becomes its first admin."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await organizations.create(
            session,
            name=body.name,
            display_name=body.display_name,
            description=body.description,
            icon=body.icon,
        )
        await organizations.add(session, row["id"], caller.user_id, ("organization-admin", "agents-access"))
        response = await once.keep(session, answer(row, 201))
    resources.principals.forget(str(caller.user_id))
    return response


@router.get(
    "/{organization}", response_model=OrganizationView, responses=raises(NotFound), summary="Get an organization"
)
async def get_organization(organization: str, caller: Caller, resources: Opened) -> Response:
    """By id, name or `default`."""
    async with resources.database.read() as session:
        row = await organizations.get(session, organization)
    return answer(_visible(caller, row))


@router.get(
    "/{organization}/members",
    response_model=list[MemberView],
    responses=raises(Forbidden, NotFound),
    summary="List members",
)
async def list_members(organization: str, caller: Caller, resources: Opened) -> Response:
    """For the organization's admins and auditors, and those of the deployment.

    Who has chats to share there is told names and pictures; `email` and the roles are empty.
    """
    async with resources.database.read() as session:
        row = _visible(caller, await organizations.get(session, organization))
        if not accounts.finds_members(caller, row["id"]):
            raise Forbidden
        found = await organizations.members(session, row["id"])
    shown = views.member if accounts.reads_members(caller, row["id"]) else views.acquaintance
    return answer([shown(each) for each in found])


@router.get(
    "/{organization}/members/{user}",
    response_model=MemberView,
    responses=raises(NotFound),
    summary="Get a member",
)
async def get_member(organization: str, user: str, caller: Caller, resources: Opened) -> Response:
    """Oneself, or anybody for those who may list members."""
    async with resources.database.read() as session:
        row = _visible(caller, await organizations.get(session, organization))
        account = accounts.require_readable(caller, await people.get(session, accounts.named(caller, user)))
        found = await organizations.member(session, row["id"], account["id"])
    return answer(views.member(found))


@router.post(
    "/{organization}/members/{user}",
    response_model=MemberView,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Add a member",
)
async def add_member(organization: str, user: str, caller: Caller, once: OnlyOnce, resources: Opened) -> Response:
    """One that the caller may see elsewhere, without any role: `agents-access` is given explicitly."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = _administered(caller, await organizations.get(session, organization))
        account = accounts.require_readable(caller, await people.get(session, accounts.named(caller, user)))
        await organizations.add(session, row["id"], account["id"])
        found = await organizations.member(session, row["id"], account["id"])
        deeds.was({"id": account["id"], "username": account["username"], "organization_id": row["id"]})
        response = await once.keep(session, answer(views.member(found)))
    resources.principals.forget(str(account["id"]))
    return response


@router.delete(
    "/{organization}/members/{user}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Remove a member",
)
async def remove_member(organization: str, user: str, caller: Caller, resources: Opened) -> Response:
    """Their chats there stay, out of their reach. Nobody removes who may do there what they may not."""
    async with resources.database.begin() as session:
        row = _administered(caller, await organizations.get(session, organization))
        account = await people.get(session, accounts.named(caller, user))
        theirs = await people.principal(session, account["id"], or_suspended=True)
        if theirs is not None and account["id"] != caller.user_id:
            accounts.require_no_more(caller.lacks(theirs, within=row["id"]))
        await organizations.remove(session, row["id"], account["id"])
        deeds.was({"id": account["id"], "username": account["username"], "organization_id": row["id"]})
    resources.principals.forget(str(account["id"]))
    return nothing()


@router.put(
    "/{organization}/members/{user}/roles",
    response_model=MemberView,
    responses=raises(Forbidden, NotFound),
    summary="Set a member's roles",
)
async def set_member_roles(organization: str, user: str, body: SetRoles, caller: Caller, resources: Opened) -> Response:
    """Replaces them all. Changing one's own is for owners of the deployment."""
    async with resources.database.begin() as session:
        row = _visible(caller, await organizations.get(session, organization))
        accounts.require_power_over_roles(caller, row["id"])
        accounts.check_org_roles(body.roles, await roles.names(session, row["id"], body.roles))
        account = await people.get(session, accounts.named(caller, user))
        if account["id"] == caller.user_id and not caller.is_owner:
            raise Invalid("You cannot change your own organization roles.")
        before = await organizations.member(session, row["id"], account["id"])
        deeds.was({**before, "id": account["id"], "username": account["username"], "organization_id": row["id"]})
        await organizations.set_roles(session, row["id"], account["id"], body.roles)
        found = await organizations.member(session, row["id"], account["id"])
    resources.principals.forget(str(account["id"]))
    return answer(views.member(found))


def _visible(caller: Principal, row: Row) -> Row:
    if not accounts.may_see_organization(caller, row["id"]):
        raise NotFound
    return row


def _administered(caller: Principal, row: Row) -> Row:
    """Membership is for the organization's admins and for user admins; roles are for the former alone."""
    _visible(caller, row)
    if not caller.may_administer_people(row["id"]):
        raise Forbidden
    return row
