"""Templates of workspaces: for members to see, for template admins and their organization's admins to write."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from api.answers import answer
from api.caller import AccountHolder, Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.requests import Router
from api.resources import Opened
from api.schemas import templates as views
from api.schemas.people import Message
from api.schemas.templates import (
    ActivateVersion,
    CreateTemplate,
    CreateVersion,
    ParameterView,
    PresetView,
    TemplateView,
    UpdateTemplate,
    VersionView,
)
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from models.principal import Principal
from models.store import deeds, organizations, templates
from models.store.database import Row
from models.store.session import Session

in_organization = Router(tags=["templates"])
router = Router(tags=["templates"])
versions = Router(tags=["templates"])

Deprecated = Annotated[bool | None, Query(description="Only those that are, or are not, deprecated.")]


@in_organization.get(
    "/{organization}/templates",
    response_model=list[TemplateView],
    responses=raises(NotFound),
    summary="List an organization's templates",
)
async def list_organization_templates(
    organization: str, caller: Caller, resources: Opened, deprecated: Deprecated = None
) -> Response:
    """Those with the most active developers first."""
    async with resources.database.read() as session:
        row = _seen(caller, await organizations.get(session, organization))
        found = await templates.listed(session, [row["id"]], deprecated=deprecated)
    return answer([views.template(each) for each in found])


@in_organization.get(
    "/{organization}/templates/{name}",
    response_model=TemplateView,
    responses=raises(NotFound),
    summary="Get a template by its name",
)
async def get_template_by_name(organization: str, name: str, caller: Caller, resources: Opened) -> Response:
    """In any case of its letters."""
    async with resources.database.read() as session:
        row = _seen(caller, await organizations.get(session, organization))
        return answer(views.template(await templates.named(session, row["id"], name)))


@in_organization.post(
    "/{organization}/templates",
    response_model=TemplateView,
    status_code=201,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Create a template",
)
async def create_template(
    organization: str, body: CreateTemplate, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """With its first version, which workspaces are built from until another one is active."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = _seen(caller, await organizations.get(session, organization))
        if not caller.may_write_templates(row["id"]):
            raise Forbidden
        made = await templates.create(
            session,
            row["id"],
            name=body.name,
            provisioner=body.provisioner,
            display_name=body.display_name,
            description=body.description,
            icon=body.icon,
            created_by=caller.user_id,
        )
        await templates.add_version(session, made, created_by=caller.user_id, **views.stored(body.version))
        return await once.keep(session, answer(views.template(await templates.get(session, made)), 201))


@router.get(
    "", response_model=list[TemplateView], responses=raises(Forbidden), summary="List templates of all organizations"
)
async def list_templates(caller: AccountHolder, resources: Opened, deprecated: Deprecated = None) -> Response:
    """Those that the caller may build workspaces from or administer, the most used first."""
    async with resources.database.read() as session:
        found = await templates.listed(session, None, deprecated=deprecated)
    return answer([views.template(each) for each in found if caller.may_read_templates(each["organization_id"])])


@router.get("/{template}", response_model=TemplateView, responses=raises(NotFound), summary="Get a template")
async def get_template(template: UUID, caller: Caller, resources: Opened) -> Response:
    """By its id."""
    async with resources.database.read() as session:
        return answer(views.template(await _readable(session, caller, template)))


@router.patch(
    "/{template}",
    response_model=TemplateView,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Change a template",
)
async def update_template(
    template: UUID, body: UpdateTemplate, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """Its words, and whether it is still offered. A deprecated one makes no new workspaces."""
    fields = body.model_dump(exclude_none=True)
    if "deprecation_message" in fields:
        fields["deprecated"] = fields.pop("deprecation_message")
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        await _writable(session, caller, template)
        if fields:
            await templates.change(session, template, fields)
        return await once.keep(session, answer(views.template(await templates.get(session, template))))


@router.delete(
    "/{template}",
    response_model=Message,
    responses=raises(Forbidden, NotFound, Conflict),
    summary="Delete a template",
)
async def delete_template(template: UUID, caller: Caller, resources: Opened) -> Response:
    """Refused while there are workspaces of it."""
    async with resources.database.begin() as session:
        await _writable(session, caller, template)
        await templates.delete(session, template)
    return answer({"message": "Template has been deleted!"})


@router.get(
    "/{template}/versions",
    response_model=list[VersionView],
    responses=raises(NotFound),
    summary="List a template's versions",
)
async def list_template_versions(template: UUID, caller: Caller, resources: Opened) -> Response:
    """Newest first."""
    async with resources.database.read() as session:
        await _readable(session, caller, template)
        return answer([views.version(each) for each in await templates.versions(session, template)])


@router.post(
    "/{template}/versions",
    response_model=VersionView,
    status_code=201,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Unprocessable),
    summary="Add a version to a template",
)
async def create_template_version(
    template: UUID, body: CreateVersion, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """A version never changes. Workspaces that are there keep theirs until a build names another."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        await _writable(session, caller, template)
        made = await templates.add_version(session, template, created_by=caller.user_id, **views.stored(body))
        return await once.keep(session, answer(views.version(await templates.version(session, made)), 201))


@router.patch(
    "/{template}/versions",
    response_model=Message,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Choose a template's active version",
)
async def activate_template_version(
    template: UUID, body: ActivateVersion, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """New workspaces are built from it from now on, and those built ahead are replaced."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        await _writable(session, caller, template)
        await templates.activate_version(session, template, body.id)
        return await once.keep(session, answer({"message": "Updated the active template version!"}))


@versions.get("/{version}", response_model=VersionView, responses=raises(NotFound), summary="Get a template version")
async def get_template_version(version: UUID, caller: Caller, resources: Opened) -> Response:
    """By its id."""
    async with resources.database.read() as session:
        return answer(views.version(await _version(session, caller, version)))


@versions.get(
    "/{version}/rich-parameters",
    response_model=list[ParameterView],
    responses=raises(NotFound),
    summary="List a version's parameters",
)
async def list_template_version_parameters(version: UUID, caller: Caller, resources: Opened) -> Response:
    """In the order in which they were defined."""
    async with resources.database.read() as session:
        row = await _version(session, caller, version)
    return answer([views.parameter(each) for each in row["parameters"]])


@versions.get(
    "/{version}/presets",
    response_model=list[PresetView],
    responses=raises(NotFound),
    summary="List a version's presets",
)
async def list_template_version_presets(version: UUID, caller: Caller, resources: Opened) -> Response:
    """The default one first, then by name."""
    async with resources.database.read() as session:
        await _version(session, caller, version)
        return answer([views.preset(each) for each in await templates.presets(session, version)])


def _seen(caller: Principal, organization: Row) -> Row:
    if not caller.may_read_templates(organization["id"]):
        raise NotFound
    return organization


async def _readable(session: Session, caller: Principal, template_id: UUID) -> Row:
    row = await templates.get(session, template_id)
    if not caller.may_read_templates(row["organization_id"]):
        raise NotFound
    return row


async def _writable(session: Session, caller: Principal, template_id: UUID) -> Row:
    row = await _readable(session, caller, template_id)
    if not caller.may_write_templates(row["organization_id"]):
        raise Forbidden
    deeds.was(row)
    return row


async def _version(session: Session, caller: Principal, version_id: UUID) -> Row:
    row = await templates.version(session, version_id)
    if not caller.may_read_templates(row["organization_id"]):
        raise NotFound
    return row
