"""Workspaces, builds and agents as clients send and see them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.requests import Body
from api.schemas.people import Line
from api.schemas.templates import NOBODY, Value
from models.rules import workspaces as rules
from models.store.database import Row

MOST_TTL_MS = 30 * 86_400_000


class ParameterValue(Body):
    name: Line = Field(examples=["size"])
    value: Value = Field(examples=["small"])


class CreateWorkspace(Body):
    """A workspace, and the build that starts it. One that was built ahead for the preset is taken, if there is one."""

    name: Line = Field(examples=["my-project"])
    template_id: UUID | None = None
    template_version_id: UUID | None = Field(default=None, description="instead of the template's active version")
    template_version_preset_id: UUID | None = None
    rich_parameter_values: list[ParameterValue] = Field(default_factory=list, max_length=100)
    ttl_ms: int | None = Field(default=None, ge=60_000, le=MOST_TTL_MS, description="how long after its start it stops")


class UpdateWorkspace(Body):
    name: Line = Field(examples=["my-project"])


class SetTtl(Body):
    """Absent: it does not stop by itself."""

    ttl_ms: int | None = Field(default=None, ge=60_000, le=MOST_TTL_MS, examples=[28_800_000])


class CreateBuild(Body):
    transition: Literal["start", "stop", "delete"] = Field(examples=["start"])
    template_version_id: UUID | None = Field(default=None, description="the latest build's unless given")
    template_version_preset_id: UUID | None = None
    rich_parameter_values: list[ParameterValue] = Field(default_factory=list, max_length=100)


class Health(BaseModel):
    healthy: bool
    reason: str = ""


class AgentView(BaseModel):
    """Who works in a workspace for us."""

    id: UUID
    parent_id: UUID | None = None
    name: str
    created_at: datetime
    updated_at: datetime
    resource_id: UUID
    status: str = Field(examples=["connected"])
    lifecycle_state: str = Field(examples=["ready"])
    first_connected_at: datetime | None = None
    last_connected_at: datetime | None = None
    disconnected_at: datetime | None = None
    started_at: datetime | None = None
    ready_at: datetime | None = None
    architecture: str
    operating_system: str
    version: str
    directory: str
    expanded_directory: str
    environment_variables: dict[str, str]
    connection_timeout_seconds: int
    display_order: int
    health: Health


class Resource(BaseModel):
    """What a build made: here, the place that its agents work in."""

    id: UUID
    created_at: datetime
    job_id: UUID
    workspace_transition: str
    type: str = Field(examples=["local"])
    name: str
    agents: list[AgentView]


class JobView(BaseModel):
    """How the work at a build goes."""

    id: UUID
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    canceled_at: datetime | None = None
    error: str = ""
    error_code: str = ""
    status: str = Field(examples=["succeeded"])


class BuildView(BaseModel):
    """One start, stop or deletion of a workspace."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    workspace_id: UUID
    workspace_name: str
    workspace_owner_id: UUID
    workspace_owner_name: str
    template_version_id: UUID
    template_version_name: str
    template_version_preset_id: UUID | None = None
    build_number: int
    transition: str = Field(examples=["start"])
    reason: str = Field(examples=["initiator"])
    initiator_id: UUID
    initiator_name: str
    status: str = Field(description="what the workspace is by it", examples=["running"])
    job: JobView
    resources: list[Resource]
    deadline: datetime | None = None


class WorkspaceView(BaseModel):
    """A place to work in."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    owner_id: UUID
    owner_name: str
    owner_avatar_url: str
    organization_id: UUID
    organization_name: str
    template_id: UUID
    template_name: str
    template_display_name: str
    template_icon: str
    template_active_version_id: UUID
    latest_build: BuildView
    outdated: bool
    name: str
    ttl_ms: int | None = None
    last_used_at: datetime
    is_prebuild: bool


class WorkspacesView(BaseModel):
    workspaces: list[WorkspaceView]
    count: int


class BuildLog(BaseModel):
    """A line that a provisioner said."""

    id: int
    created_at: datetime
    log_source: str = Field(examples=["provisioner"])
    log_level: str = Field(examples=["info"])
    stage: str
    output: str


class AgentLog(BaseModel):
    """A line that a startup script said."""

    id: int
    created_at: datetime
    level: str = Field(examples=["info"])
    output: str
    source: str


class ExternalAgentCredentials(BaseModel):
    """What starts an external agent on a host of one's own."""

    command: str
    agent_token: str


def workspace(row: Row) -> dict[str, Any]:
    """WorkspaceView of a row of `workspaces.get`."""
    shown = {key: row[key] for key in WorkspaceView.model_fields if row.get(key) is not None}
    return shown | {
        "owner_id": row["owner_id"] or NOBODY,
        "owner_name": row["owner_name"] or "",
        "owner_avatar_url": row["owner_avatar_url"] or "",
        "template_active_version_id": row["template_active_version_id"] or NOBODY,
        "outdated": row["template_active_version_id"] != row["latest_build"]["template_version_id"],
        "is_prebuild": row["owner_id"] is None,
        "latest_build": build(row["latest_build"], row["latest_build"]["agents"]),
    }


def build(row: Row, made: list[Row]) -> dict[str, Any]:
    """BuildView of a row of `builds.view` with its agents."""
    shown = {key: row[key] for key in BuildView.model_fields if row.get(key) is not None}
    times = {key: row[key] for key in ("started_at", "completed_at") if row[key] is not None}
    job = {
        "id": row["id"],
        "created_at": row["created_at"],
        "status": row["status"],
        "error": row["error"],
        "error_code": row["error_code"],
        **times,
    }
    if row["status"] == "canceled":
        job["canceled_at"] = row["completed_at"]
    resource = {
        "id": row["id"],
        "created_at": row["created_at"],
        "job_id": row["id"],
        "workspace_transition": row["transition"],
        "type": row["provisioner"],
        "name": row["workspace_name"],
        "agents": [agent(each) for each in made],
    }
    if row["preset_id"] is not None:
        shown["template_version_preset_id"] = row["preset_id"]
    if row["deadline_at"] is not None and row["transition"] == "start":
        shown["deadline"] = row["deadline_at"]
    return shown | {
        "updated_at": row["completed_at"] or row["started_at"] or row["created_at"],
        "workspace_owner_id": row["owner_id"] or NOBODY,
        "workspace_owner_name": row["owner_name"] or "",
        "initiator_id": row["initiator_id"] or NOBODY,
        "initiator_name": row["initiator_name"] or "",
        "status": rules.status(row["transition"], row["status"]),
        "job": job,
        "resources": [resource],
    }


def agent(row: Row) -> dict[str, Any]:
    """AgentView of a row of `agents`."""
    facts, status = row["facts"], row["status"]
    shown = {key: row[key] for key in AgentView.model_fields if row.get(key) is not None}
    if row["last_seen_at"] is not None:
        shown["last_connected_at"] = row["last_seen_at"]
    ready = row["lifecycle"] not in ("start_error", "start_timeout")
    troubles = {"connected": "" if ready else "The agent's startup script did not end well."}
    reason = troubles.get(status, f"The agent is {status}.")
    return shown | {
        "updated_at": row["last_seen_at"] or row["created_at"],
        "resource_id": row["build_id"],
        "lifecycle_state": row["lifecycle"],
        "architecture": str(facts.get("architecture", "")),
        "operating_system": str(facts.get("os", "")),
        "version": str(facts.get("version", "")),
        "expanded_directory": str(facts.get("directory", "") or row["directory"]),
        "environment_variables": row["environment"],
        "health": {"healthy": not reason, "reason": reason},
    }


def build_log(row: Row) -> dict[str, Any]:
    """BuildLog of a row of `build_logs.read`."""
    return {
        "id": row["id"],
        "created_at": row["created_at"],
        "log_source": "provisioner",
        "log_level": row["level"],
        "stage": row["stage"],
        "output": row["output"],
    }


def values(given: list[ParameterValue]) -> dict[str, str]:
    """What was chosen, by name; the last of two counts."""
    return {each.name: each.value for each in given}
