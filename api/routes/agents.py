"""Agents of workspaces, as people see them."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from api.answers import answer
from api.caller import Caller
from api.errors import raises
from api.parameters import Count
from api.requests import Router
from api.resources import Opened
from api.schemas import workspaces as views
from api.schemas.workspaces import AgentLog, AgentView
from models.errors import NotFound
from models.principal import Principal
from models.store import agents
from models.store.database import Row
from models.store.session import Session

router = Router(tags=["workspaces"])

LINES = 1000


@router.get("/{agent}", response_model=AgentView, responses=raises(NotFound), summary="Get a workspace agent")
async def get_workspace_agent(agent: UUID, caller: Caller, resources: Opened) -> Response:
    """Whether it is connected, and what it is at."""
    async with resources.database.read() as session:
        return answer(views.agent(await _seen(session, caller, agent)))


@router.get(
    "/{agent}/logs",
    response_model=list[AgentLog],
    responses=raises(NotFound),
    summary="Read what an agent's startup script says",
)
async def get_workspace_agent_logs(
    agent: UUID,
    caller: Caller,
    resources: Opened,
    after: Annotated[Count, Query(description="Only lines with a greater id.")] = None,
) -> Response:
    """The first thousand lines after `after`."""
    async with resources.database.read() as session:
        await _seen(session, caller, agent)
        return answer(await agents.logs(session, agent, after=after or 0, limit=LINES))


async def _seen(session: Session, caller: Principal, agent_id: UUID) -> Row:
    row = await agents.get(session, agent_id)
    if not caller.may_read_workspace(row["owner_id"], row["organization_id"]):
        raise NotFound
    return row
