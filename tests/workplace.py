"""A workspace with one agent, as a finished start build leaves it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.store import secrets
from models.store.database import Database, fetch
from models.tables.agents import WorkspaceAgent
from models.tables.templates import Template, TemplateVersion
from models.tables.workspaces import Workspace, WorkspaceBuild
from tests.seeds import insert


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a chat works, and the token of its agent."""

    template_id: UUID
    version_id: UUID
    workspace_id: UUID
    build_id: UUID
    agent_id: UUID
    token: str


async def furnish(
    database: Database, owner_id: UUID, organization_id: UUID, *, name: str = "bench", **agent: Any
) -> Workplace:
    """A workspace that was started, whose agent has not come yet."""
    template = Template(organization_id=organization_id, name=f"t-{name}", provisioner="external")
    version = TemplateVersion(template_id=template.id, name="v1")
    workspace = Workspace(owner_id=owner_id, organization_id=organization_id, template_id=template.id, name=name)
    build, made, token = start(workspace.id, version.id, 1, **agent)
    async with database.begin() as session:
        await insert(session, template, version, workspace, build, made)
    return Workplace(template.id, version.id, workspace.id, build.id, made.id, token)


async def rebuild(database: Database, place: Workplace, **agent: Any) -> Workplace:
    """The same workspace started anew: it has another agent."""
    build, made, token = start(place.workspace_id, place.version_id, 2, **agent)
    async with database.begin() as session:
        await insert(session, build, made)
    return Workplace(place.template_id, place.version_id, place.workspace_id, build.id, made.id, token)


def start(
    workspace_id: UUID, version_id: UUID, number: int, **agent: Any
) -> tuple[WorkspaceBuild, WorkspaceAgent, str]:
    token = secrets.new_token("agent")
    build = WorkspaceBuild(
        workspace_id=workspace_id,
        template_version_id=version_id,
        build_number=number,
        transition="start",
        status="succeeded",
    )
    made = WorkspaceAgent(
        build_id=build.id,
        workspace_id=workspace_id,
        hashed_token=secrets.digest(token),
        sealed_token="",
        **{"name": "main", "lifecycle": "ready", **agent},
    )
    return build, made, token


async def seat(database: Database, chat_id: UUID, place: Workplace) -> None:
    """The chat works there."""
    async with database.begin() as session:
        await fetch(
            session,
            "UPDATE chats SET workspace_id = %(workspace)s WHERE id = %(chat)s",
            {"chat": chat_id, "workspace": place.workspace_id},
        )
