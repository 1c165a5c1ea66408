"""Roles as clients send and see them, in Coder's shape: lists of permissions, each an action on a type of resource."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from api.requests import Body
from api.schemas.people import ORG_ROLE_NAMES, SITE_ROLE_NAMES, Line
from models.errors import Invalid, Validation
from models.principal import CHAT_RIGHTS, OrgRole
from models.store.database import Row

CHAT, EVERYTHING = "chat", "*"
RESERVED = frozenset({*SITE_ROLE_NAMES, *ORG_ROLE_NAMES, "member", "organization-member"})
ACTIONS: Mapping[str, str] = {right.removeprefix("chat:"): str(right) for right in CHAT_RIGHTS}
# What the roles that are built in allow with chats: with all of an organization, and with one's own.
_BUILT_IN: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    OrgRole.ADMIN: (list(ACTIONS.values()), ()),
    OrgRole.AGENTS_ACCESS: ((), [each for each in ACTIONS.values() if each != "chat:delete"]),
}


class Permission(BaseModel):
    """What a role allows."""

    resource_type: str = Field(max_length=64, examples=[CHAT])
    action: str = Field(max_length=64, description=f"{', '.join(ACTIONS)}, or *", examples=["read"])
    negate: bool = Field(default=False, description="always false: roles only allow")


Permissions = Annotated[list[Permission], Field(max_length=100)]


class RoleDefinition(BaseModel):
    """A role. What is of the site or of users, an organization's role has none of."""

    name: str
    display_name: str
    organization_id: str = Field(description="empty for roles that hold everywhere")
    site_permissions: list[Permission]
    organization_permissions: list[Permission] = Field(description="on everybody's resources in the organization")
    user_permissions: list[Permission]
    organization_member_permissions: list[Permission] = Field(description="on one's own resources there")


class AssignableRole(RoleDefinition):
    assignable: bool = Field(description="whether the caller may give it to others")
    built_in: bool


class CustomRole(Body):
    """A role that an organization makes for its members."""

    name: Annotated[str, StringConstraints(max_length=64)] = Field(examples=["chat-reader"])
    display_name: Line = Field(default="", examples=["Chat reader"])
    site_permissions: Permissions = Field(default_factory=list, examples=[[]])
    organization_permissions: Permissions = Field(default_factory=list)
    user_permissions: Permissions = Field(default_factory=list, examples=[[]])
    organization_member_permissions: Permissions = Field(default_factory=list)

    def granted(self) -> dict[str, list[str]]:
        """What it allows `everywhere` in the organization, and with one's `own`; raises Invalid."""
        refused = "Invalid request, not allowed to assign {} permissions for an organization role."
        if self.site_permissions:
            detail = "organization scoped roles may not contain site wide permissions"
            raise Invalid(refused.format("site wide"), detail)
        if self.user_permissions:
            raise Invalid(refused.format("user"), "organization scoped roles may not contain user permissions")
        return {
            "everywhere": _rights(self.organization_permissions, "organization_permissions"),
            "own": _rights(self.organization_member_permissions, "organization_member_permissions"),
        }


def _rights(permissions: Iterable[Permission], field: str) -> list[str]:
    found: set[str] = set()
    for each in permissions:
        known = each.resource_type == CHAT and (each.action in ACTIONS or each.action == EVERYTHING)
        if not known or each.negate:
            said = f"{'not ' if each.negate else ''}{each.resource_type}:{each.action}"
            detail = f'Invalid permission "{said}". Known: chat:{EVERYTHING}, {", ".join(ACTIONS.values())}.'
            raise Invalid(validations=[Validation(field, detail)])
        found.update(ACTIONS.values() if each.action == EVERYTHING else (ACTIONS[each.action],))
    return sorted(found)


def _permissions(rights: Iterable[str]) -> list[dict[str, Any]]:
    return [{"resource_type": CHAT, "action": each.removeprefix("chat:"), "negate": False} for each in sorted(rights)]


def _shown(name: str, display_name: str, organization: str, everywhere: Iterable[str], own: Iterable[str]) -> Row:
    return {
        "name": name,
        "display_name": display_name,
        "organization_id": organization,
        "site_permissions": [],
        "organization_permissions": _permissions(everywhere),
        "user_permissions": [],
        "organization_member_permissions": _permissions(own),
    }


def view(row: Row) -> Row:
    """RoleDefinition of a row of `roles`."""
    return _shown(
        row["name"], row["display_name"] or row["name"], str(row["organization_id"]), row["everywhere"], row["own"]
    )


def site_roles(grantable: frozenset[str]) -> list[Row]:
    """The roles that hold everywhere, as AssignableRoles."""
    return [
        {**_shown(role, name, "", (), ()), "assignable": role in grantable, "built_in": True}
        for role, name in SITE_ROLE_NAMES.items()
    ]


def organization_roles(organization: str, own: Iterable[Row], *, assignable: bool) -> list[Row]:
    """The roles of an organization, those that are built in first, as AssignableRoles."""
    built_in = [
        {**_shown(role, name, organization, *_BUILT_IN.get(role, ((), ()))), "built_in": True}
        for role, name in ORG_ROLE_NAMES.items()
    ]
    return [
        {**role, "assignable": assignable} for role in (*built_in, *({**view(each), "built_in": False} for each in own))
    ]
