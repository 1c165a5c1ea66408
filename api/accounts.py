"""Who may see and change whose account, and which roles they may hand out."""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from fastapi import Request

from api.caller import Caller
from api.resources import Opened
from models.errors import Forbidden, Invalid, NotFound, Validation
from models.principal import OrgRole, Principal, Scope, SiteRole
from models.rules import passwords
from models.store import organizations, people
from models.store.database import Row
from models.store.session import Session

ABOVE = "You cannot act on the account of somebody who may do more than you."

# Which site roles the holder of a role may give and take. Nobody hands out what is more than their own.
GRANTS: dict[SiteRole, frozenset[SiteRole]] = {
    SiteRole.OWNER: frozenset(SiteRole),
    SiteRole.USER_ADMIN: frozenset({SiteRole.USER_ADMIN}),
}


def grantable(caller: Principal) -> frozenset[str]:
    """The site roles that the caller may give and take."""
    return frozenset(role for held, roles in GRANTS.items() if held in caller.site_roles for role in roles)


def may_read(caller: Principal, row: Row) -> bool:
    """Oneself; everybody, for those who administer or audit users; one's organization, for its admins and auditors."""
    if caller.user_id == row["id"] or caller.may_administer_users() or caller.may_read_deployment():
        return True
    return any(reads_members(caller, organization) for organization in row["organization_ids"])


def reads_members(caller: Principal, organization_id: UUID) -> bool:
    """May the caller see who is in the organization, and as what?"""
    if caller.may_administer_users() or caller.may_read_deployment():
        return True
    auditor = caller.has_scope(Scope.ALL) and caller.has_org_role(organization_id, OrgRole.AUDITOR)
    return auditor or caller.may_administer_people(organization_id)


def reads_members_in(caller: Principal) -> list[UUID] | None:
    """The organizations where the caller may see who is in them; None is all."""
    if caller.may_administer_users() or caller.may_read_deployment():
        return None
    return [each for each in caller.organizations if reads_members(caller, each)]


def finds_members(caller: Principal, organization_id: UUID) -> bool:
    """May the caller see who and which groups there are? Also who has chats to share, by name and no more."""
    return reads_members(caller, organization_id) or caller.may_share_in(organization_id)


def audited(caller: Principal) -> list[UUID] | None:
    """The organizations whose entries of the audit log the caller may read; None is all of the log."""
    if caller.may_read_deployment():
        return None
    roles = (OrgRole.ADMIN, OrgRole.AUDITOR) if caller.has_scope(Scope.ALL) else ()
    return [each for each in caller.organizations if any(caller.has_org_role(each, role) for role in roles)]


def may_see_organization(caller: Principal, organization_id: UUID) -> bool:
    return caller.is_member(organization_id) or reads_members(caller, organization_id)


def require_readable(caller: Principal, row: Row) -> Row:
    """The row, or NotFound: a user one may not see does not exist."""
    if not may_read(caller, row):
        raise NotFound
    return row


async def require_power_over(session: Session, caller: Principal, row: Row) -> None:
    """Raises NotFound for a user one may not see, Forbidden for one who may do to others what the caller may not.

    Power over somebody with a role that one has not, or could not grant, would be that role by a detour.
    """
    require_readable(caller, row)
    if not caller.may_administer_users():
        raise Forbidden
    theirs = await people.principal(session, row["id"], or_suspended=True)
    beyond = set(row["roles"]) - grantable(caller)
    require_no_more(sorted(beyond | set(caller.lacks(theirs) if theirs else ())))


def require_no_more(roles: Sequence[str]) -> None:
    """Raises Forbidden where somebody has these roles, which the caller has not."""
    if roles:
        raise Forbidden(ABOVE, f"Their rights include what yours do not: {', '.join(roles)}.")


async def require_identity_of(session: Session, caller: Principal, row: Row) -> None:
    """Raises NotFound or Forbidden unless the caller may act as this user: themselves, or anybody for owners.

    A service account cannot come in to make its tokens itself: whoever administers it acts for it, or all of its
    organizations.
    """
    require_readable(caller, row)
    if row["id"] == caller.user_id or caller.may_update_deployment():
        return
    if not row["is_service_account"]:
        raise Forbidden
    if not _governs_all_of(caller, row):
        await require_power_over(session, caller, row)


def _governs_all_of(caller: Principal, row: Row) -> bool:
    where = row["organization_ids"]
    return bool(where) and not row["roles"] and all(map(caller.may_administer_organization, where))


async def require_account_of(session: Session, caller: Principal, row: Row) -> None:
    """Raises NotFound or Forbidden unless it is the caller's own account, or that of somebody whom they administer."""
    if row["id"] != caller.user_id:
        await require_power_over(session, caller, row)


def check_password(password: str, *about: str, field: str = "password") -> None:
    """Raises Invalid for a password that is too easy to guess for somebody who is called this."""
    if found := passwords.weakness(password, about):
        raise Invalid(validations=[Validation(field, found)])


def check_site_roles(caller: Principal, row: Row, wanted: Iterable[str]) -> None:
    """Raises Invalid for unknown roles, Forbidden for a change the caller may not make."""
    _check_known(wanted, frozenset(SiteRole))
    changed = set(wanted) ^ set(row["roles"])
    if changed - grantable(caller):
        raise Forbidden


def require_power_over_roles(caller: Principal, organization_id: UUID) -> None:
    """Raises Forbidden unless the caller administers the organization: they may do there what any role allows."""
    if not caller.may_administer_organization(organization_id):
        raise Forbidden


def check_org_roles(wanted: Iterable[str], own: Collection[str]) -> None:
    """Raises Invalid for roles that are neither built in nor the organization's own."""
    _check_known(wanted, frozenset(OrgRole) | set(own))


def _check_known(wanted: Iterable[str], known: frozenset[str]) -> None:
    unknown = sorted(set(wanted) - known)
    if unknown:
        detail = f"Unknown role: {', '.join(unknown)}. Known: {', '.join(sorted(known))}."
        raise Invalid("Invalid roles.", detail, [Validation("roles", detail)])


def named(caller: Principal, user: str) -> UUID | str:
    """What to look up for `{user}`: an id, a username or `me`."""
    return caller.user_id if user == "me" else user


def address(request: Request) -> str:
    """Where a request comes from, as far as we know."""
    return request.client.host if request.client else ""


async def administered_organization(organization: str, caller: Caller, resources: Opened) -> UUID:
    """The organization, for its admins; who does not belong to it does not learn of it."""
    async with resources.database.read() as session:
        row = await organizations.get(session, organization)
    if not may_see_organization(caller, row["id"]):
        raise NotFound
    if not caller.may_administer_organization(row["id"]):
        raise Forbidden
    organization_id: UUID = row["id"]
    return organization_id
