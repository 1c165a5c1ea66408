"""Templates: what workspaces are made of, in versions that never change, with presets and prebuilt workspaces."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, Uuid, func, text
from sqlmodel import Field, SQLModel

from models.tables.rows import document, identity, moment, now

PROVISIONERS = ("local", "docker", "external")


def _words() -> Any:
    return Field(default="", sa_column_kwargs={"server_default": ""})


class Template(SQLModel, table=True):
    """What an organization offers to build workspaces from. `deprecated` says why not, if it says anything."""

    __tablename__ = "templates"
    __table_args__ = (
        Index(
            "uq_templates_organization_id_name_lower",
            "organization_id",
            func.lower(text("name")),
            unique=True,
            postgresql_where=text("NOT deleted"),
        ),
        CheckConstraint(f"provisioner IN {PROVISIONERS}", name="provisioner"),
    )

    id: UUID = identity()
    organization_id: UUID = Field(foreign_key="organizations.id", ondelete="CASCADE")
    name: str
    display_name: str = _words()
    description: str = _words()
    icon: str = _words()
    provisioner: str
    active_version_id: UUID | None = Field(
        default=None,
        sa_type=Uuid,
        sa_column_args=[
            ForeignKey("template_versions.id", name="fk_templates_active_version_id_template_versions", use_alter=True)
        ],
    )
    deprecated: str = _words()
    deleted: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    created_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = now()
    updated_at: datetime = now()


class TemplateVersion(SQLModel, table=True):
    """One state of a template. `spec` is what its provisioner needs; `parameters` is what who builds may choose."""

    __tablename__ = "template_versions"
    __table_args__ = (UniqueConstraint("template_id", "name", name="uq_template_versions_template_id_name"),)

    id: UUID = identity()
    template_id: UUID = Field(foreign_key="templates.id", ondelete="CASCADE")
    name: str
    message: str = _words()
    readme: str = _words()
    spec: dict[str, Any] = document("{}")
    parameters: list[dict[str, Any]] = document("[]")
    created_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = now()


class TemplatePreset(SQLModel, table=True):
    """Values for a version's parameters under a name, and how many workspaces of them to keep ready."""

    __tablename__ = "template_version_presets"
    __table_args__ = (
        UniqueConstraint("template_version_id", "name", name="uq_template_version_presets_template_version_id_name"),
    )

    id: UUID = identity()
    template_version_id: UUID = Field(foreign_key="template_versions.id", ondelete="CASCADE")
    name: str
    description: str = _words()
    icon: str = _words()
    is_default: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    parameters: dict[str, str] = document("{}")
    desired_prebuilds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    failing_since: datetime | None = moment()
    created_at: datetime = now()
