"""Tools for templates and workspaces: what there is to build, building it, and how the build goes."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from api.mcp_server import naming, rendering
from api.mcp_server.naming import V2
from api.mcp_server.tool import Arguments, Call, Id, Key, Tool
from models.principal import Scope as Use

LINES = 1000  # that one request gives
PAGES = 5  # that are looked through for a log's end
LONGEST_README = 8000

Organization = Annotated[
    str, Field(default="", description="Id or name; needed with a template's name if you belong to more than one.")
]
Preset = Annotated[str, Field(default="", description="Id or name of a preset: parameters under one name.")]
Parameters = Annotated[
    dict[str, str],
    Field(default_factory=dict, description="Values by parameter name, all as text; they beat a preset."),
]
Workspace = Annotated[str, Field(min_length=1, description="Id, or name of one of your workspaces.")]


class ListTemplates(Arguments):
    organization: str = Field(default="", description="Id or name; all that you can see if empty.")


async def list_templates(given: ListTemplates, call: Call) -> dict[str, Any]:
    """Templates that are still offered."""
    path = f"{V2}/templates"
    if given.organization:
        path = f"{V2}/organizations/{await naming.organization(call, given.organization)}/templates"
    found = await call.inside.get(path, deprecated="false")
    return {"templates": [rendering.template(each) for each in found[: naming.MOST_NAMED]], "count": len(found)}


class ReadTemplate(Arguments):
    template: str = Field(min_length=1, description="Id or name.")
    organization: Organization


async def read_template(given: ReadTemplate, call: Call) -> dict[str, Any]:
    """A template with what may be chosen."""
    found = await naming.template(call, given.template, given.organization)
    version = f"{V2}/templateversions/{found['active_version_id']}"
    parameters = await call.inside.get(f"{version}/rich-parameters")
    presets = await call.inside.get(f"{version}/presets")
    readme = (await call.inside.get(version))["readme"]
    return {
        "template": rendering.template(found),
        "parameters": [{name: value for name, value in each.items() if value not in ("", None)} for each in parameters],
        "presets": presets,
        "readme": rendering.cut(readme, LONGEST_README),
    }


class CreateWorkspace(Arguments):
    template: str = Field(min_length=1, description="Id or name.")
    name: str = Field(min_length=1, description="Unique among your workspaces.")
    preset: Preset
    parameters: Parameters
    organization: Organization
    idempotency_key: Key


async def create_workspace(given: CreateWorkspace, call: Call) -> dict[str, Any]:
    """The workspace and its first build."""
    found = await naming.template(call, given.template, given.organization)
    body = {
        "name": given.name,
        "template_id": found["id"],
        "template_version_preset_id": await naming.preset(call, given.preset, found["active_version_id"]),
        "rich_parameter_values": _values(given.parameters),
    }
    key = given.idempotency_key or call.key
    return {"workspace": rendering.workspace(await call.inside.change("POST", f"{V2}/users/me/workspaces", body, key))}


class ListWorkspaces(Arguments):
    q: str = Field(default="", description="Terms `key:value`: owner (`me` too), name, template, status, organization.")
    limit: int = Field(default=20, ge=1, le=100)
    offset: int = Field(default=0, ge=0, le=2**31 - 1)


async def list_workspaces(given: ListWorkspaces, call: Call) -> dict[str, Any]:
    """A page of workspaces."""
    page = await call.inside.get(f"{V2}/workspaces", q=given.q, limit=given.limit, offset=given.offset)
    return {"workspaces": [rendering.workspace(each) for each in page["workspaces"]], "count": page["count"]}


class BuildWorkspace(Arguments):
    workspace: Workspace
    transition: Literal["start", "stop", "delete"]
    preset: Preset
    parameters: Parameters
    idempotency_key: Key


async def build_workspace(given: BuildWorkspace, call: Call) -> dict[str, Any]:
    """The build that was begun, or goes on."""
    found = await naming.workspace(call, given.workspace)
    body = {
        "transition": given.transition,
        "template_version_preset_id": await naming.preset(
            call, given.preset, found["latest_build"]["template_version_id"]
        ),
        "rich_parameter_values": _values(given.parameters),
    }
    path = f"{V2}/workspaces/{found['id']}/builds"
    key = given.idempotency_key or call.key
    return {"build": rendering.build(await call.inside.change("POST", path, body, key))}


class ReadBuild(Arguments):
    build_id: UUID = Field(description="The build's id, as in a workspace's `latest_build`.")
    after: Annotated[Id, Field(description="Only lines after this one: `last_line` of the call before.")]
    lines: int = Field(default=50, ge=1, le=200, description="The last lines, so many at most.")


async def read_build(given: ReadBuild, call: Call) -> dict[str, Any]:
    """A build and the end of its log."""
    path = f"{V2}/workspacebuilds/{given.build_id}"
    found = await call.inside.get(path)
    log: list[dict[str, Any]] = []
    after, more = given.after, True
    for _ in range(PAGES):
        page = await call.inside.get(f"{path}/logs", after=after)
        log = [*log, *page][-given.lines :]
        after = page[-1]["id"] if page else after
        if not (more := len(page) == LINES):
            break
    said = [rendering.cut(f"[{each['stage']}] {each['output']}".strip(), 1000) for each in log]
    return {"build": rendering.build(found), "log": said, "last_line": after, "more": more}


def _values(parameters: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in parameters.items()]


PLACE_TOOLS = (
    Tool(
        "list_templates",
        "List templates",
        "Lists what workspaces can be made from.",
        ListTemplates,
        list_templates,
        (Use.ALL,),
        reads=True,
    ),
    Tool(
        "read_template",
        "Read a template",
        "Shows a template with its parameters (what may be chosen, and what must be) and its presets.",
        ReadTemplate,
        read_template,
        (Use.ALL,),
        reads=True,
    ),
    Tool(
        "create_workspace",
        "Create a workspace",
        "Makes a workspace of a template and starts it. The answer comes at once; read_build says when it is there.",
        CreateWorkspace,
        create_workspace,
        (Use.ALL,),
    ),
    Tool(
        "list_workspaces",
        "List workspaces",
        "Lists your workspaces and those that you oversee, with their latest builds and agents.",
        ListWorkspaces,
        list_workspaces,
        (Use.ALL,),
        reads=True,
    ),
    Tool(
        "build_workspace",
        "Start, stop or delete a workspace",
        "Starts a workspace (also with another preset or other parameters), stops it, or deletes it with all that is "
        "in it. While the same is under way already, that build is answered.",
        BuildWorkspace,
        build_workspace,
        (Use.ALL,),
        destroys=True,
        repeats=True,
    ),
    Tool(
        "read_build",
        "Read a build",
        "Says where a build stands, and the last lines of what was said in it.",
        ReadBuild,
        read_build,
        (Use.ALL,),
        reads=True,
    ),
)
