"""What holds of workspaces: their names, what their builds make of them, which agent a chat works with."""

import re
from collections.abc import Collection
from uuid import UUID

from models.errors import Conflict, Forbidden, Invalid, NotFound, Validation
from models.principal import Principal

NAME = re.compile(r"[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*")
LONGEST_NAME = 32
BASE = 27  # characters of a made name, before its hyphen and its four random ones

UNDER_WAY = frozenset({"pending", "running", "canceling"})

_DOING = {"start": "starting", "stop": "stopping", "delete": "deleting"}
_DONE = {"start": "running", "stop": "stopped", "delete": "deleted"}


def check_name(name: str) -> None:
    """Raises Invalid for a name that no workspace, template or agent may have."""
    if not 1 <= len(name) <= LONGEST_NAME or not NAME.fullmatch(name):
        detail = f"must be 1 to {LONGEST_NAME} letters and digits, with single hyphens between them"
        raise Invalid(validations=[Validation("name", detail)])


def require_maker(
    caller: Principal, owner_id: UUID, owner_organizations: Collection[UUID], organization_id: UUID
) -> None:
    """Raises Forbidden unless the caller may make the owner a workspace there, Invalid when the owner is no member."""
    own = owner_id == caller.user_id and caller.may_create_workspace(organization_id)
    if not own and not caller.may_administer_organization(organization_id):
        raise Forbidden
    if organization_id not in owner_organizations:
        raise Invalid("The owner of a workspace must be a member of its organization.")


def require_reader(caller: Principal, owner_id: UUID | None, organization_id: UUID) -> None:
    """Raises NotFound of a workspace that the caller does not see."""
    if not caller.may_read_workspace(owner_id, organization_id):
        raise NotFound


def require_builder(caller: Principal, owner_id: UUID | None, organization_id: UUID) -> None:
    """Raises NotFound or Forbidden unless the caller may build the workspace."""
    require_reader(caller, owner_id, organization_id)
    if not caller.may_update_workspace(owner_id, organization_id):
        raise Forbidden


def made_name(wish: str, letters: str) -> str:
    """A workspace's name from a wish, which any text may be, and four random letters."""
    base = re.sub(r"[^a-z0-9]+", "-", wish.lower()).strip("-")[:BASE].strip("-")
    return f"{base or 'workspace'}-{letters}"


def status(transition: str, build_status: str) -> str:
    """A workspace's status, by its latest build."""
    if build_status == "running":
        return _DOING[transition]
    return _DONE[transition] if build_status == "succeeded" else build_status


def builds_of(workspace_status: str) -> tuple[str, str]:
    """Which latest build makes a workspace's status: its transition, "" for any, and its own status."""
    for words, build_status in ((_DOING, "running"), (_DONE, "succeeded")):
        for transition, word in words.items():
            if word == workspace_status:
                return transition, build_status
    return "", workspace_status


def busy() -> Conflict:
    """What a second build is told while another is under way."""
    return Conflict("A workspace build is already active.", "Wait for it to end, or cancel it.")
