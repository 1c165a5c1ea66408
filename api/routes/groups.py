"""Groups of an organization's members: user admins make them, admins and auditors see them, all may name them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response

from api import accounts
from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.requests import Router
from api.resources import Opened
from api.schemas.groups import CreateGroup, GroupView, UpdateGroup, counted, view
from api.schemas.people import Message
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable, Validation
from models.principal import Principal
from models.store import deeds, groups, organizations, people
from models.store.database import Row

in_organization = Router(tags=["groups"])
router = Router(tags=["groups"])


@in_organization.get(
    "/{organization}/groups",
    response_model=list[GroupView],
    responses=raises(Forbidden, NotFound),
    summary="List an organization's groups",
)
async def list_groups(organization: str, caller: Caller, resources: Opened) -> Response:
    """By name, with their members; Everyone is one of them. Who has chats to share there sees how many, not whom."""
    async with resources.database.read() as session:
        row = _seen(caller, await organizations.get(session, organization))
        if not accounts.finds_members(caller, row["id"]):
            raise Forbidden
        if not accounts.reads_members(caller, row["id"]):
            return answer([counted(each) for each in await groups.counted(session, row["id"])])
        return answer([view(each) for each in await groups.of_organization(session, row["id"])])


@in_organization.get(
    "/{organization}/groups/{name}",
    response_model=GroupView,
    responses=raises(Forbidden, NotFound),
    summary="Get a group by its name",
)
async def get_group_by_name(organization: str, name: str, caller: Caller, resources: Opened) -> Response:
    """As by its id."""
    async with resources.database.read() as session:
        row = _seen(caller, await organizations.get(session, organization))
        if not accounts.finds_members(caller, row["id"]):
            raise Forbidden
        return answer(_shown(caller, await groups.named(session, row["id"], name)))


@in_organization.post(
    "/{organization}/groups",
    response_model=GroupView,
    status_code=201,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Create a group",
)
async def create_group(
    organization: str, body: CreateGroup, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """Without members at first."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = _seen(caller, await organizations.get(session, organization))
        if not caller.may_administer_people(row["id"]):
            raise Forbidden
        if not body.name:
            raise Invalid(validations=[Validation("name", 'Validation failed for tag "required" with value: ""')])
        _refuse_everyone(body.name)
        group_id = await groups.create(
            session, row["id"], name=body.name, display_name=body.display_name, avatar_url=body.avatar_url
        )
        return await once.keep(session, answer(view(await groups.get(session, group_id)), 201))


@router.get("", response_model=list[GroupView], responses=raises(NotFound), summary="List groups")
async def list_all_groups(
    caller: Caller,
    resources: Opened,
    organization: Annotated[str, Query(description="of this organization: its id or name")] = "",
    has_member: Annotated[str, Query(description="that this user is in, by id or username")] = "",
) -> Response:
    """Of the organizations where the caller may see who is in them, by name."""
    async with resources.database.read() as session:
        where = accounts.reads_members_in(caller)
        if organization:
            row = _seen(caller, await organizations.get(session, organization))
            where = [row["id"]] if where is None or row["id"] in where else []
        member = None
        if has_member:
            found = await people.get(session, accounts.named(caller, has_member))
            member = accounts.require_readable(caller, found)["id"]
        return answer([view(each) for each in await groups.of_organizations(session, where, member=member)])


@router.get("/{group}", response_model=GroupView, responses=raises(NotFound), summary="Get a group")
async def get_group(group: UUID, caller: Caller, resources: Opened) -> Response:
    """With its members; who has chats to share there sees how many, not whom."""
    async with resources.database.read() as session:
        return answer(_shown(caller, _visible(caller, await groups.get(session, group))))


@router.patch(
    "/{group}",
    response_model=GroupView,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Change a group",
)
async def update_group(group: UUID, body: UpdateGroup, caller: Caller, once: OnlyOnce, resources: Opened) -> Response:
    """Its names, and who is in it. Everyone keeps its name and has all members, always."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = _administered(caller, await groups.get(session, group))
        name = body.name if body.name != row["name"] else None
        if row["id"] == row["organization_id"] and (name or body.add_users or body.remove_users):
            raise Invalid(f'Cannot rename the "{groups.EVERYONE}" group, or add or remove its users.')
        _refuse_everyone(name or "")
        await groups.update(
            session,
            row,
            name=name or None,
            display_name=body.display_name,
            avatar_url=body.avatar_url,
            add=body.add_users,
            remove=body.remove_users,
        )
        response = await once.keep(session, answer(view(await groups.get(session, group))))
    resources.principals.forget()
    return response


@router.delete("/{group}", response_model=Message, responses=raises(Forbidden, NotFound), summary="Delete a group")
async def delete_group(group: UUID, caller: Caller, resources: Opened) -> Response:
    """Its members stay in the organization."""
    async with resources.database.begin() as session:
        row = _administered(caller, await groups.get(session, group))
        if row["id"] == row["organization_id"]:
            raise Invalid(f'"{groups.EVERYONE}" is a reserved group and cannot be deleted!')
        await groups.delete(session, group)
    resources.principals.forget()
    return answer({"message": "Successfully deleted group!"})


def _seen(caller: Principal, row: Row) -> Row:
    if not accounts.may_see_organization(caller, row["id"]):
        raise NotFound
    return row


def _visible(caller: Principal, row: Row) -> Row:
    if not accounts.finds_members(caller, row["organization_id"]):
        raise NotFound
    return row


def _shown(caller: Principal, row: Row) -> dict[str, Any]:
    return (view if accounts.reads_members(caller, row["organization_id"]) else counted)(row)


def _administered(caller: Principal, row: Row) -> Row:
    _visible(caller, row)
    if not caller.may_administer_people(row["organization_id"]):
        raise Forbidden
    deeds.was(row)
    return row


def _refuse_everyone(name: str) -> None:
    if name.lower() == groups.EVERYONE.lower():
        detail = f'"{groups.EVERYONE}" is a reserved group name'
        raise Invalid(detail, validations=[Validation("name", detail)])
