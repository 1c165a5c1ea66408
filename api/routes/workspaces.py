"""Workspaces: made, found, renamed, given a time to stop at."""

from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from api import accounts
from api.answers import answer, nothing
from api.caller import AccountHolder, Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.parameters import Count
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas import workspaces as views
from api.schemas.workspaces import (
    CreateWorkspace,
    ExternalAgentCredentials,
    SetTtl,
    UpdateWorkspace,
    WorkspacesView,
    WorkspaceView,
)
from models.errors import Conflict, Forbidden, Invalid, NotFound, Precondition, Unprocessable, Validation
from models.principal import Principal
from models.rules import workspace_search
from models.rules import workspaces as rules
from models.steps import BuildRequest
from models.store import agents, deeds, organizations, people, templates, workspaces
from models.store.database import Row
from models.store.session import Session

router = Router(tags=["workspaces"])
of_user = Router(tags=["workspaces"])
in_organization = Router(tags=["workspaces"])

PAGE, MOST = 25, 200
MAKES = raises(Invalid, Forbidden, NotFound, Conflict, Precondition, Unprocessable)


@in_organization.post(
    "/{organization}/members/{user}/workspaces",
    response_model=WorkspaceView,
    status_code=201,
    responses=MAKES,
    summary="Create a workspace in an organization",
)
async def create_member_workspace(
    organization: str, user: str, body: CreateWorkspace, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """For oneself, or for a member, as their organization's admin. Its build goes on by itself."""
    async with resources.database.begin() as session:
        row = await organizations.get(session, organization)
        if not caller.may_read_templates(row["id"]):
            raise NotFound
        response, begun = await _create(session, resources, caller, once, row["id"], user, body)
    return _begin(resources, response, begun)


@of_user.post(
    "/{user}/workspaces", response_model=WorkspaceView, status_code=201, responses=MAKES, summary="Create a workspace"
)
async def create_user_workspace(
    user: str, body: CreateWorkspace, caller: AccountHolder, once: OnlyOnce, resources: Opened
) -> Response:
    """In the organization of its template."""
    async with resources.database.begin() as session:
        organization_id = await _organization_of(session, caller, body)
        response, begun = await _create(session, resources, caller, once, organization_id, user, body)
    return _begin(resources, response, begun)


@of_user.get(
    "/{user}/workspace/{name}", response_model=WorkspaceView, responses=raises(NotFound), summary="Get one by name"
)
async def get_workspace_by_name(user: str, name: str, caller: Caller, resources: Opened) -> Response:
    """A person's workspace, by its name."""
    async with resources.database.read() as session:
        owner = await people.get(session, accounts.named(caller, user))
        row = await workspaces.named(session, owner["id"], name)
    return answer(views.workspace(_seen(caller, row)))


@router.get("", response_model=WorkspacesView, responses=raises(Invalid, Forbidden), summary="List workspaces")
async def list_workspaces(
    caller: AccountHolder,
    resources: Opened,
    q: Annotated[str, Query(description="`owner:`, `name:`, `template:`, `status:`, `organization:`")] = "",
    limit: Annotated[Count, Query()] = None,
    offset: Annotated[Count, Query()] = None,
) -> Response:
    """One's own first, then those of organizations whose workspaces the caller oversees. Deleted ones are asked for."""
    asked = workspace_search.parse(q)
    async with resources.database.read() as session:
        found, total = await workspaces.listed(
            session,
            asked,
            user_id=caller.user_id,
            member_of=caller.organizations,
            organizations=caller.sees_workspaces_of(),
            limit=min(limit or PAGE, MOST),
            offset=offset or 0,
        )
    return answer({"workspaces": [views.workspace(row) for row in found], "count": total})


@router.get("/{workspace}", response_model=WorkspaceView, responses=raises(NotFound), summary="Get a workspace")
async def get_workspace(
    workspace: UUID,
    caller: Caller,
    resources: Opened,
    include_deleted: Annotated[bool, Query(description="Whether a deleted one is answered too.")] = False,
) -> Response:
    """With its latest build and that one's agents."""
    async with resources.database.read() as session:
        row = _seen(caller, await workspaces.get(session, workspace))
    if row["deleted"] and not include_deleted:
        raise NotFound
    return answer(views.workspace(row))


@router.patch(
    "/{workspace}",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound, Conflict),
    summary="Rename a workspace",
)
async def update_workspace(workspace: UUID, body: UpdateWorkspace, caller: Caller, resources: Opened) -> Response:
    """Names are unique among a person's workspaces."""
    async with resources.database.begin() as session:
        await _changeable(session, caller, workspace)
        await workspaces.rename(session, workspace, body.name)
    return nothing()


@router.put(
    "/{workspace}/ttl",
    status_code=204,
    response_class=Response,
    responses=raises(Forbidden, NotFound),
    summary="Set when a workspace stops",
)
async def update_workspace_ttl(workspace: UUID, body: SetTtl, caller: Caller, resources: Opened) -> Response:
    """So long after its start; one that runs has it counted from now. Use puts the end off."""
    async with resources.database.begin() as session:
        await _changeable(session, caller, workspace)
        await workspaces.set_ttl(session, workspace, body.ttl_ms)
    return nothing()


@router.get(
    "/{workspace}/external-agent/{agent}/credentials",
    response_model=ExternalAgentCredentials,
    responses=raises(Forbidden, NotFound, Precondition),
    summary="Get what starts an external agent",
)
async def get_external_agent_credentials(workspace: UUID, agent: str, caller: Caller, resources: Opened) -> Response:
    """For who may change the workspace. The token is good until the next build."""
    async with resources.database.read() as session:
        await _changeable(session, caller, workspace)
        found = [each for each in await agents.of_workspace(session, workspace) if each["name"] == agent]
        if not found or not found[0]["external"]:
            raise NotFound(detail=f'There is no external agent "{agent}" at work.')
        token = await agents.token(session, resources.cipher, found[0]["id"])
    url = resources.settings.agents_url
    return answer({"command": f"TURNSTONE_AGENT_TOKEN={token} turnstone agent --url {url}", "agent_token": token})


async def _create(
    session: Session,
    resources: Resources,
    caller: Principal,
    once: OnlyOnce,
    organization_id: UUID,
    user: str,
    body: CreateWorkspace,
) -> tuple[Response, BuildRequest | None]:
    """The answer, and the build that is to be begun once this is committed."""
    earlier = await once.replay(session)
    if earlier is not None:
        return earlier, None
    owner = accounts.require_readable(caller, await people.get(session, accounts.named(caller, user)))
    rules.require_maker(caller, owner["id"], owner["organization_ids"], organization_id)
    made = await workspaces.create(
        session,
        resources.cipher,
        organization_id=organization_id,
        owner_id=owner["id"],
        name=body.name,
        template_id=body.template_id,
        version_id=body.template_version_id,
        preset_id=body.template_version_preset_id,
        given=views.values(body.rich_parameter_values),
        ttl_ms=body.ttl_ms,
        initiator_id=caller.user_id,
    )
    row = await workspaces.get(session, made.workspace_id)
    response = await once.keep(session, answer(views.workspace(row), 201))
    return response, None if made.claimed else made.request


def _begin(resources: Resources, response: Response, begun: BuildRequest | None) -> Response:
    if begun is not None:
        resources.errands.start(resources.temporal.build(begun))
    return response


async def _organization_of(session: Session, caller: Principal, body: CreateWorkspace) -> UUID:
    """The organization of the template that is asked for; raises Invalid when the caller cannot know of any."""
    if body.template_version_id is None and body.template_id is None:
        detail = "template_id or template_version_id is required."
        raise Invalid(detail, validations=[Validation("template_id", detail)])
    found: UUID | None = None
    with suppress(NotFound):
        if body.template_version_id is not None:
            found = (await templates.version(session, body.template_version_id))["organization_id"]
        elif body.template_id is not None:
            found = (await templates.get(session, body.template_id))["organization_id"]
    if found is None or not caller.may_read_templates(found):
        raise Invalid(f'Template "{body.template_version_id or body.template_id}" does not exist.')
    return found


def _seen(caller: Principal, row: Row) -> Row:
    rules.require_reader(caller, row["owner_id"], row["organization_id"])
    return row


async def _changeable(session: Session, caller: Principal, workspace_id: UUID) -> Row:
    row = _seen(caller, await workspaces.get(session, workspace_id))
    if row["deleted"]:
        raise NotFound
    rules.require_builder(caller, row["owner_id"], row["organization_id"])
    deeds.was(row)
    return row
