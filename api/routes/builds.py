"""Builds of workspaces: begun, followed, stopped."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response, WebSocket

from api import accounts
from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.idempotency import OnlyOnce
from api.live import lines, sse, websocket
from api.parameters import Count, RowId, row_id
from api.requests import Router
from api.resources import Opened, Resources
from api.schemas import workspaces as views
from api.schemas.people import Message
from api.schemas.workspaces import BuildLog, BuildView, CreateBuild
from models.errors import Conflict, Forbidden, Invalid, NotFound, Precondition, Unprocessable
from models.principal import Principal
from models.rules import workspaces as rules
from models.steps import BuildRequest
from models.store import agents, build_logs, builds, deeds, people, workspaces
from models.store.database import Row
from models.store.session import Session

of_user = Router(tags=["workspaces"])
of_workspace = Router(tags=["workspaces"])
router = Router(tags=["workspaces"])

PAGE, MOST = 25, 100
LINES = 1000

After = Annotated[Count, Query(description="Only lines with a greater id.")]
Before = Annotated[Count, Query(description="Only lines with a smaller id.")]


@of_workspace.get(
    "/{workspace}/builds",
    response_model=list[BuildView],
    responses=raises(NotFound),
    summary="List a workspace's builds",
)
async def list_workspace_builds(
    workspace: UUID,
    caller: Caller,
    resources: Opened,
    limit: Annotated[Count, Query()] = None,
    offset: Annotated[Count, Query()] = None,
) -> Response:
    """Newest first."""
    async with resources.database.read() as session:
        _seen(caller, await workspaces.get(session, workspace))
        found = await builds.of_workspace(session, workspace, limit=min(limit or PAGE, MOST), offset=offset or 0)
        made = await agents.of_builds(session, [row["id"] for row in found])
    return answer([views.build(row, [each for each in made if each["build_id"] == row["id"]]) for row in found])


@of_workspace.post(
    "/{workspace}/builds",
    response_model=BuildView,
    status_code=201,
    responses=raises(Invalid, Forbidden, NotFound, Conflict, Precondition, Unprocessable),
    summary="Start, stop or delete a workspace",
)
async def create_workspace_build(
    workspace: UUID, body: CreateBuild, caller: Caller, once: OnlyOnce, resources: Opened
) -> Response:
    """The build goes on by itself. While the same is under way already, that one is answered."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await workspaces.get(session, workspace)
        _require(caller, row)
        deeds.was(row)
        begun = await builds.begin(
            session,
            resources.cipher,
            workspace,
            body.transition,
            version_id=body.template_version_id,
            preset_id=body.template_version_preset_id,
            given=views.values(body.rich_parameter_values),
            initiator_id=caller.user_id,
        )
        response = await once.keep(session, answer(await _view(session, begun.build["id"]), 201))
    resources.errands.start(resources.temporal.build(begun.request))
    return response


@of_user.get(
    "/{user}/workspace/{name}/builds/{number}",
    response_model=BuildView,
    responses=raises(Invalid, NotFound),
    summary="Get a build by its number",
)
async def get_workspace_build_by_number(
    user: str, name: str, number: RowId, caller: Caller, resources: Opened
) -> Response:
    """Of a person's workspace, by its name."""
    wanted = row_id(number, "Failed to parse build number as integer.")
    async with resources.database.read() as session:
        owner = await people.get(session, accounts.named(caller, user))
        row = _seen(caller, await workspaces.named(session, owner["id"], name))
        found = await builds.numbered(session, row["id"], wanted)
        return answer(views.build(found, await agents.of_builds(session, [found["id"]])))


@router.get("/{build}", response_model=BuildView, responses=raises(NotFound), summary="Get a build")
async def get_workspace_build(build: UUID, caller: Caller, resources: Opened) -> Response:
    """With its agents."""
    async with resources.database.read() as session:
        row = _seen(caller, await builds.view(session, build))
        return answer(views.build(row, await agents.of_builds(session, [build])))


@router.patch(
    "/{build}/cancel",
    response_model=Message,
    responses=raises(Forbidden, NotFound, Conflict, Unprocessable),
    summary="Cancel a build",
)
async def cancel_workspace_build(build: UUID, caller: Caller, once: OnlyOnce, resources: Opened) -> Response:
    """What it has started is taken down again. One that is over is refused."""
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        row = await builds.view(session, build)
        _require(caller, row)
        deeds.was(row)
        canceled = await builds.cancel(session, build)
        response = await once.keep(session, answer({"message": "Job has been marked as canceled..."}))
    if canceled["status"] == "canceling":
        request = BuildRequest(build, canceled["workspace_id"])
        resources.errands.start(resources.temporal.build(request, cancel=True))
    return response


@router.get(
    "/{build}/logs",
    response_model=list[BuildLog],
    responses={**raises(NotFound), **lines.documented("BuildLog")},
    summary="Read what is said in a build",
)
async def get_workspace_build_logs(
    request: Request,
    build: UUID,
    caller: Caller,
    resources: Opened,
    after: After = None,
    before: Before = None,
    follow: Annotated[bool, Query(description="Whether to stay until it is over; for server-sent events.")] = False,
) -> Response:
    """The first thousand lines after `after`. With `follow`, every line as it is said, until the build is over."""
    async with resources.database.read() as session:
        _seen(caller, await builds.view(session, build))
        if not (follow and sse.MEDIA_TYPE in request.headers.get("accept", "").lower()):
            found = await build_logs.read(session, build, after=after or 0, before=before or 0, limit=LINES)
            return answer([views.build_log(row) for row in found])
    return lines.LineStream(_follow(resources, build, after or 0))


@router.websocket("/{build}/logs")
async def follow_workspace_build_logs(
    socket: WebSocket, build: UUID, caller: Caller, resources: Opened, after: int = 0
) -> None:
    """Every line as it is said, a message each, until the build is over."""
    websocket.refuse_other_origins(socket, resources.settings.public_url)
    async with resources.database.read() as session:
        _seen(caller, await builds.view(session, build))
    await lines.serve(socket, _follow(resources, build, max(0, after)))


async def _follow(resources: Resources, build_id: UUID, after: int) -> AsyncIterator[list[dict[str, object]]]:
    """Lines as they come, nothing when none came for a while, until the build is over."""
    while True:
        async with resources.database.read() as session:
            row = await builds.view(session, build_id)
            found = await build_logs.read(session, build_id, after=after, limit=LINES)
        yield [views.build_log(each) for each in found]
        after = found[-1]["id"] if found else after
        if row["status"] not in rules.UNDER_WAY and len(found) < LINES:
            return


async def _view(session: Session, build_id: UUID) -> dict[str, object]:
    row = await builds.view(session, build_id)
    return views.build(row, await agents.of_builds(session, [build_id]))


def _seen(caller: Principal, row: Row) -> Row:
    rules.require_reader(caller, row["owner_id"], row["organization_id"])
    return row


def _require(caller: Principal, row: Row) -> None:
    rules.require_builder(caller, row["owner_id"], row["organization_id"])
