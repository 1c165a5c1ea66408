"""Templates, their versions and presets as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from api.requests import Body
from api.schemas.people import Line, Paragraph
from models.store.database import Row


def _clean(value: str) -> str:
    return value.replace("\x00", "")


Value = Annotated[str, StringConstraints(max_length=8192), AfterValidator(_clean)]
Document = Annotated[str, StringConstraints(max_length=1024 * 1024), AfterValidator(_clean)]

NOBODY = UUID(int=0)


class ParameterOption(Body):
    """One of the values that a parameter may have."""

    name: Line = Field(examples=["Small"])
    value: Value = Field(examples=["small"])
    description: Paragraph = ""
    icon: Line = ""


class Parameter(Body):
    """What who builds a workspace may choose."""

    name: Line = Field(examples=["size"])
    display_name: Line = ""
    description: Paragraph = ""
    type: Line = Field(default="string", description="string, number, bool or list(string)", examples=["string"])
    mutable: bool = Field(default=False, description="whether a later build may change it")
    required: bool = False
    ephemeral: bool = Field(default=False, description="whether each build begins with the default again")
    default_value: Value = ""
    icon: Line = ""
    options: list[ParameterOption] = Field(default_factory=list, max_length=100)
    validation_regex: Line = ""
    validation_error: Line = Field(default="", description="what is said of a value that does not fit")
    validation_min: float | None = None
    validation_max: float | None = None


class ParameterView(Parameter):
    description_plaintext: str


class PresetParameter(BaseModel):
    name: str = Field(examples=["size"])
    value: str = Field(examples=["small"])


class CreatePreset(Body):
    """Values for parameters under a name, and how many workspaces of them to keep ready."""

    name: Line = Field(examples=["Small"], min_length=1)
    description: Paragraph = ""
    icon: Line = ""
    default: bool = False
    parameters: list[PresetParameter] = Field(default_factory=list, max_length=100)
    desired_prebuild_instances: int = Field(default=0, ge=0, le=100)


class PresetView(BaseModel):
    id: UUID
    name: str
    description: str
    icon: str
    default: bool
    parameters: list[PresetParameter]
    desired_prebuild_instances: int
    prebuild_failing_since: datetime | None = None


class CreateVersion(Body):
    """A state of a template. `spec` says which agents there are, and what its provisioner needs."""

    name: Line = Field(default="", description="numbered unless given", examples=["v2"])
    message: Paragraph = ""
    readme: Document = ""
    spec: dict[str, Any] = Field(
        default_factory=dict,
        examples=[{"agents": [{"name": "main", "startup_script": "git status"}], "docker": {"image": "python:3.13"}}],
    )
    rich_parameters: list[Parameter] = Field(default_factory=list, max_length=100)
    presets: list[CreatePreset] = Field(default_factory=list, max_length=50)
    activate: bool = True


class CreateTemplate(Body):
    """A template with its first version."""

    name: Line = Field(examples=["python"])
    display_name: Line = ""
    description: Paragraph = ""
    icon: Line = ""
    provisioner: Literal["local", "docker", "external"] = "local"
    version: CreateVersion = Field(default_factory=CreateVersion)


class UpdateTemplate(Body):
    """What to change; what is absent stays."""

    name: Line | None = None
    display_name: Line | None = None
    description: Paragraph | None = None
    icon: Line | None = None
    deprecation_message: Line | None = Field(default=None, description="why it is offered no more; empty offers it")


class ActivateVersion(Body):
    id: UUID


class TemplateView(BaseModel):
    """What an organization offers to build workspaces from."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    organization_id: UUID
    organization_name: str
    organization_display_name: str
    name: str
    display_name: str
    description: str
    icon: str
    provisioner: str = Field(examples=["local"])
    active_version_id: UUID
    active_user_count: int = Field(description="people who used a workspace of it in the last 60 days")
    deprecated: bool
    deprecation_message: str
    created_by_id: UUID
    created_by_name: str
    use_external_agent: bool


class VersionView(BaseModel):
    """One state of a template; it never changes."""

    id: UUID
    template_id: UUID
    organization_id: UUID
    created_at: datetime
    updated_at: datetime
    name: str
    message: str
    readme: str
    spec: dict[str, Any]
    active: bool
    created_by_id: UUID
    created_by_name: str
    has_external_agent: bool


def template(row: Row) -> dict[str, Any]:
    """TemplateView of a row of `templates.get`."""
    shown = {key: row[key] for key in TemplateView.model_fields if key in row}
    return shown | {
        "active_version_id": row["active_version_id"] or NOBODY,
        "active_user_count": row["active_developers"],
        "deprecated": bool(row["deprecated"]),
        "deprecation_message": row["deprecated"],
        "created_by_id": row["created_by"] or NOBODY,
        "created_by_name": row["created_by_name"] or "",
        "use_external_agent": row["provisioner"] == "external",
    }


def version(row: Row) -> dict[str, Any]:
    """VersionView of a row of `templates.version`."""
    shown = {key: row[key] for key in VersionView.model_fields if key in row}
    return shown | {
        "updated_at": row["created_at"],
        "active": row["active_version_id"] == row["id"],
        "created_by_id": row["created_by"] or NOBODY,
        "created_by_name": row["created_by_name"] or "",
        "has_external_agent": row["provisioner"] == "external",
    }


def parameter(definition: dict[str, Any]) -> dict[str, Any]:
    """ParameterView of a stored definition."""
    shown = {key: value for key, value in definition.items() if value is not None}
    return shown | {"description_plaintext": definition["description"]}


def preset(row: Row) -> dict[str, Any]:
    """PresetView of a row of `templates.presets`."""
    shown = {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "icon": row["icon"],
        "default": row["is_default"],
        "parameters": [{"name": name, "value": value} for name, value in sorted(row["parameters"].items())],
        "desired_prebuild_instances": row["desired_prebuilds"],
    }
    return shown if row["failing_since"] is None else shown | {"prebuild_failing_since": row["failing_since"]}


def stored(body: CreateVersion) -> dict[str, Any]:
    """The version as `templates.add_version` takes it."""
    return {
        "name": body.name,
        "message": body.message,
        "readme": body.readme,
        "spec": body.spec,
        "parameters_": [each.model_dump() for each in body.rich_parameters],
        "presets": [
            {
                "name": each.name,
                "description": each.description,
                "icon": each.icon,
                "is_default": each.default,
                "parameters": {value.name: value.value for value in each.parameters},
                "desired_prebuilds": each.desired_prebuild_instances,
            }
            for each in body.presets
        ],
        "activate": body.activate,
    }
