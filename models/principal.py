"""Who is asking and what they may do (reference: admin.md section 3). Permissions are its questions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


class SiteRole(StrEnum):
    """Roles that hold everywhere."""

    OWNER = "owner"
    AUDITOR = "auditor"
    USER_ADMIN = "user-admin"
    TEMPLATE_ADMIN = "template-admin"


class OrgRole(StrEnum):
    """Roles that hold inside one organization."""

    ADMIN = "organization-admin"
    AUDITOR = "organization-auditor"
    USER_ADMIN = "organization-user-admin"
    TEMPLATE_ADMIN = "organization-template-admin"
    AGENTS_ACCESS = "agents-access"


class Scope(StrEnum):
    """What an API token may be used for; a token without scopes may do what its user may."""

    ALL = "all"
    CHAT_ALL = "chat:*"
    CHAT_CREATE = "chat:create"
    CHAT_READ = "chat:read"
    CHAT_UPDATE = "chat:update"
    CHAT_DELETE = "chat:delete"
    CHAT_SHARE = "chat:share"


_POWERS: Mapping[str, str] = {
    OrgRole.ADMIN: SiteRole.OWNER,
    OrgRole.AUDITOR: SiteRole.AUDITOR,
    OrgRole.USER_ADMIN: SiteRole.USER_ADMIN,
    OrgRole.TEMPLATE_ADMIN: SiteRole.TEMPLATE_ADMIN,
}
"""Roles with power over others in an organization, and those that have it everywhere."""

CHAT_RIGHTS = (Scope.CHAT_CREATE, Scope.CHAT_READ, Scope.CHAT_UPDATE, Scope.CHAT_DELETE, Scope.CHAT_SHARE)
"""What can be allowed with chats: to tokens, and by an organization's own roles."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What the roles that an organization made for itself let a member do there."""

    everywhere: frozenset[str] = frozenset()  # with every chat of the organization
    own: frozenset[str] = frozenset()  # with their own

    def __or__(self, other: "Grants") -> "Grants":
        return Grants(self.everywhere | other.everywhere, self.own | other.own)


_NOTHING = Grants()


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `organizations` maps each organization they belong to onto their roles there."""

    user_id: UUID
    username: str
    site_roles: frozenset[str] = frozenset()
    organizations: Mapping[UUID, frozenset[str]] = field(default_factory=dict)
    grants: Mapping[UUID, Grants] = field(default_factory=dict)
    groups: frozenset[UUID] = frozenset()
    scopes: frozenset[str] = frozenset({Scope.ALL})
    token_id: str = ""
    spends_freely: bool = True  # no spend limits are on; with them, the store says what is left
    is_budgeted: bool = False  # there are budgets, of whomever: the store says which hold and what is left
    shares: bool = True  # sharing is not switched off; where it is, nobody sees a chat by being named in it

    @property
    def is_owner(self) -> bool:
        return SiteRole.OWNER in self.site_roles

    def is_member(self, organization_id: UUID) -> bool:
        return organization_id in self.organizations

    def has_org_role(self, organization_id: UUID, role: OrgRole) -> bool:
        return role in self.organizations.get(organization_id, frozenset())

    def has_scope(self, scope: Scope) -> bool:
        """May the token be used for this? `chat:*` covers each chat scope, `all` everything."""
        if Scope.ALL in self.scopes or scope in self.scopes:
            return True
        return scope.startswith("chat:") and Scope.CHAT_ALL in self.scopes

    def may_create_chat(self, organization_id: UUID) -> bool:
        """Create a chat of one's own: a member whose role says so, an organization admin, or the deployment's owner."""
        if not self.has_scope(Scope.CHAT_CREATE) or not self.is_member(organization_id):
            return False
        return self._may(Scope.CHAT_CREATE, self.user_id, organization_id)

    def may_read_chat(self, owner_id: UUID, organization_id: UUID) -> bool:
        """Read by role or ownership (sharing comes on top, in the store)."""
        return self.has_scope(Scope.CHAT_READ) and self._may(Scope.CHAT_READ, owner_id, organization_id)

    def may_update_chat(self, owner_id: UUID, organization_id: UUID) -> bool:
        """Change a chat by role or ownership; sending in somebody else's name is refused elsewhere."""
        return self.has_scope(Scope.CHAT_UPDATE) and self._may(Scope.CHAT_UPDATE, owner_id, organization_id)

    def may_share_chat(self, owner_id: UUID, organization_id: UUID) -> bool:
        """Say who else may read a chat: its owner, or who governs its organization."""
        return self.has_scope(Scope.CHAT_SHARE) and self._may(Scope.CHAT_SHARE, owner_id, organization_id)

    def may_share_in(self, organization_id: UUID) -> bool:
        """Have chats there that could be shared; who may, may know with whom."""
        may = self._may(Scope.CHAT_SHARE, self.user_id, organization_id)
        return self.has_scope(Scope.CHAT_SHARE) and self.shares_in(organization_id) and may

    def reads_all_in(self) -> list[UUID]:
        """Organizations whose chats the caller may read by role, whoever owns them."""
        return [each for each in self.organizations if self._governs(Scope.CHAT_READ, each)]

    def reads_own_in(self) -> list[UUID]:
        """Organizations where the caller may read the chats that are their own."""
        return [each for each in self.organizations if self._may(Scope.CHAT_READ, self.user_id, each)]

    def shares_in(self, organization_id: UUID) -> bool:
        """May the caller read what is shared with them there? Who leaves an organization leaves its shared chats."""
        return self.shares and self.is_member(organization_id)

    def may_read_deployment(self) -> bool:
        return Scope.ALL in self.scopes and (self.is_owner or SiteRole.AUDITOR in self.site_roles)

    def may_update_deployment(self) -> bool:
        return Scope.ALL in self.scopes and self.is_owner

    def may_administer_users(self) -> bool:
        return Scope.ALL in self.scopes and (self.is_owner or SiteRole.USER_ADMIN in self.site_roles)

    def may_administer_organization(self, organization_id: UUID) -> bool:
        return Scope.ALL in self.scopes and (self.is_owner or self.has_org_role(organization_id, OrgRole.ADMIN))

    def may_read_budgets(self, owner_id: UUID, organization_id: UUID) -> bool:
        """See what limits a chat's spending: its owner, and who may see all budgets of its organization."""
        everything = self.may_read_deployment() or self.may_administer_organization(organization_id)
        return everything or self.user_id == owner_id

    def may_administer_people(self, organization_id: UUID) -> bool:
        """Say who belongs to an organization and to its groups; roles there are for its admins alone."""
        if self.may_administer_users() or self.may_administer_organization(organization_id):
            return True
        return Scope.ALL in self.scopes and self.has_org_role(organization_id, OrgRole.USER_ADMIN)

    def may_read_templates(self, organization_id: UUID) -> bool:
        """See what an organization builds workspaces from."""
        everywhere = self.site_roles & {SiteRole.OWNER, SiteRole.AUDITOR, SiteRole.TEMPLATE_ADMIN}
        return Scope.ALL in self.scopes and (bool(everywhere) or self.is_member(organization_id))

    def may_write_templates(self, organization_id: UUID) -> bool:
        return Scope.ALL in self.scopes and (
            SiteRole.TEMPLATE_ADMIN in self.site_roles
            or self.has_org_role(organization_id, OrgRole.TEMPLATE_ADMIN)
            or self.may_administer_organization(organization_id)
        )

    def may_create_workspace(self, organization_id: UUID) -> bool:
        """Create a workspace of one's own."""
        return Scope.ALL in self.scopes and (self.is_owner or self.is_member(organization_id))

    def may_read_workspace(self, owner_id: UUID | None, organization_id: UUID) -> bool:
        """See a workspace: its owner, and who governs or audits its organization. One that is nobody's has no owner."""
        everywhere = self.site_roles & {SiteRole.AUDITOR, SiteRole.TEMPLATE_ADMIN}
        overseer = bool(everywhere) or any(
            self.has_org_role(organization_id, role) for role in (OrgRole.AUDITOR, OrgRole.TEMPLATE_ADMIN)
        )
        return self.may_update_workspace(owner_id, organization_id) or (Scope.ALL in self.scopes and overseer)

    def may_update_workspace(self, owner_id: UUID | None, organization_id: UUID) -> bool:
        """Build, rename, connect to: its owner while they belong to the organization, and its admins."""
        own = self.user_id == owner_id and self.is_member(organization_id)
        return self.may_administer_organization(organization_id) or (Scope.ALL in self.scopes and own)

    def may_enter_workspace(self, owner_id: UUID | None, organization_id: UUID) -> bool:
        """Work in a workspace (the reference's SSH): its owner, or the deployment's; not who governs its organization.

        One that was built ahead is nobody's.
        """
        if owner_id is None or not self.may_update_workspace(owner_id, organization_id):
            return False
        return self.is_owner or self.user_id == owner_id

    def sees_workspaces_of(self) -> frozenset[UUID] | None:
        """Organizations whose workspaces the caller sees, whoever owns them; None: of all."""
        if self.site_roles & {SiteRole.OWNER, SiteRole.AUDITOR, SiteRole.TEMPLATE_ADMIN}:
            return None
        overseers = {OrgRole.ADMIN, OrgRole.AUDITOR, OrgRole.TEMPLATE_ADMIN}
        return frozenset(each for each, roles in self.organizations.items() if roles & overseers)

    def lacks(self, other: "Principal", *, within: UUID | None = None) -> list[str]:
        """The roles that give `other` power over others, everywhere or `within` an organization, which one has not.

        Who may act in somebody's name has their power. What one may do with one's own chats is power over nobody.
        """
        if self.is_owner:
            return []
        beyond = other.site_roles - self.site_roles if within is None else frozenset()
        for organization, roles in other.organizations.items():
            if self.has_org_role(organization, OrgRole.ADMIN) or within not in (None, organization):
                continue
            beyond |= (roles & _POWERS.keys()) - self.organizations.get(organization, frozenset())
            beyond -= {role for role, everywhere in _POWERS.items() if everywhere in self.site_roles}
            if other.grants.get(organization, _NOTHING).everywhere - self._granted(organization).everywhere:
                beyond |= roles - frozenset(OrgRole)
        return sorted(beyond)

    def _may(self, right: Scope, owner_id: UUID, organization_id: UUID) -> bool:
        if self.is_owner or self._governs(right, organization_id):
            return True
        if self.user_id != owner_id:
            return False
        using = right is not Scope.CHAT_DELETE and self.has_org_role(organization_id, OrgRole.AGENTS_ACCESS)
        return using or (self.is_member(organization_id) and right in self._granted(organization_id).own)

    def _governs(self, right: Scope, organization_id: UUID) -> bool:
        if self.has_org_role(organization_id, OrgRole.ADMIN):
            return True
        return self.is_member(organization_id) and right in self._granted(organization_id).everywhere

    def _granted(self, organization_id: UUID) -> Grants:
        return self.grants.get(organization_id, _NOTHING)
