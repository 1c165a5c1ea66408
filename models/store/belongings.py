"""What a sign-in settles: site roles, organizations and roles there, and groups, each as far as claims have a say."""

import logging
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from models.errors import Conflict
from models.principal import OrgRole
from models.rules.sign_in import Access
from models.settings import Settings
from models.store import groups, organizations, people
from models.store.database import Row, fetch
from models.store.session import Session

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Changes:
    """What was so and is so now, by name, and what could not be done: for the audit log."""

    diff: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, before: list[str], after: list[str]) -> None:
        if before != after:
            self.diff[name] = (before, after)


async def settle(session: Session, settings: Settings, user_id: UUID, access: Access, *, joins: bool) -> Changes:
    """Give what the claims grant and take what they grant no longer; who `joins` is new and gets the default first."""
    changes = Changes()
    if access.unknown_roles:
        log.warning("TURNSTONE_OIDC_ROLE_MAPPING names roles that there are not: %s", sorted(access.unknown_roles))
        changes.notes["unknown_roles"] = sorted(access.unknown_roles)
    if access.site_roles is not None:
        await _site_roles(session, user_id, sorted(access.site_roles), changes)
    homes = await _homes(session, settings, access, changes)
    belongs = await _memberships(session, settings, user_id, access, homes, changes, joins=joins)
    if access.groups is not None:
        await _groups(
            session, settings, user_id, access, {name: homes[name] for name in homes if homes[name] in belongs}, changes
        )
    return changes


async def _site_roles(session: Session, user_id: UUID, wanted: list[str], changes: Changes) -> None:
    had = sorted((await people.get(session, user_id))["roles"])
    if had == wanted:
        return
    try:
        await people.set_roles(session, user_id, wanted)
    except Conflict as last:
        # A mistake in the mapping must not lock everybody out.
        log.warning("the roles of the last owner were left as they are: %s", last)
        changes.notes["roles_kept"] = last.message
        return
    changes.put("roles", had, wanted)


async def _homes(session: Session, settings: Settings, access: Access, changes: Changes) -> dict[str, UUID]:
    """The organizations that are spoken of, by the names that are used for them; those that do not exist are noted."""
    names = {settings.oidc_organization, *(access.organizations or ()), *access.group_homes} - {""}
    rows = await fetch(
        session,
        """
        SELECT named.name, o.id FROM unnest(%(names)s::text[]) AS named(name)
        JOIN organizations o ON o.name = named.name
            OR (named.name = %(default)s AND o.is_default
                AND NOT EXISTS (SELECT FROM organizations n WHERE n.name = named.name))
        """,
        {"names": sorted(names), "default": organizations.DEFAULT},
    )
    homes: dict[str, UUID] = {row["name"]: row["id"] for row in rows}
    if missing := sorted(names - homes.keys()):
        log.error("signing in speaks of organizations that do not exist: %s", ", ".join(missing))
        changes.notes["unknown_organizations"] = missing
    return homes


async def _memberships(
    session: Session,
    settings: Settings,
    user_id: UUID,
    access: Access,
    homes: dict[str, UUID],
    changes: Changes,
    *,
    joins: bool,
) -> set[UUID]:
    """Settle memberships and roles there; returns where the person belongs."""
    rows = await fetch(
        session,
        "SELECT organization_id, roles FROM organization_members WHERE user_id = %(user)s FOR UPDATE",
        {"user": user_id},
    )
    had: dict[UUID, list[str]] = {row["organization_id"]: sorted(row["roles"]) for row in rows}
    default = homes.get(settings.oidc_organization)
    if access.organizations is not None:
        wanted = {homes[name] for name in access.organizations if name in homes}
        for gone in had.keys() - wanted:
            await organizations.remove(session, gone, user_id)
    else:
        wanted = set(had) | ({default} if joins and default else set())
    first = {str(OrgRole.AGENTS_ACCESS)} if settings.oidc_agents_access else set()
    roles = sorted({*first, *(access.org_roles or ())})
    for organization_id in sorted(wanted - had.keys()):
        await organizations.add(session, organization_id, user_id, tuple(roles))
    if access.org_roles is not None:
        # Roles are granted where claims decide who belongs, which is everywhere or in the default organization.
        governed = wanted if access.organizations is not None else wanted & {default}
        for organization_id in sorted(governed & had.keys()):
            if had[organization_id] != roles:
                await organizations.set_roles(session, organization_id, user_id, roles)
                changes.put(f"roles in {organization_id}", had[organization_id], roles)
    changes.put("organizations", sorted(map(str, had)), sorted(map(str, wanted)))
    return wanted


async def _groups(
    session: Session, settings: Settings, user_id: UUID, access: Access, homes: dict[str, UUID], changes: Changes
) -> None:
    """Be in the groups of the claim, and in no other of the organizations that claims or mappings speak of."""
    places = sorted((homes[home], name) for home, name in access.groups or () if home in homes)
    governed = sorted({homes[home] for home in access.group_homes if home in homes})
    known = await _known(session, governed)
    if settings.oidc_create_groups:
        for organization_id, name in places:
            if (organization_id, name) not in known:
                known[organization_id, name] = await _made(session, organization_id, name)
    wanted = sorted({known[place] for place in places if place in known})
    rows = await fetch(
        session,
        """
        WITH gone AS (
            DELETE FROM group_members m USING groups g
            WHERE m.group_id = g.id AND m.user_id = %(user)s AND g.organization_id = ANY(%(governed)s)
                AND g.id <> ALL(%(wanted)s) RETURNING g.name, false AS came),
        came AS (
            INSERT INTO group_members (group_id, user_id) SELECT unnest(%(wanted)s::uuid[]), %(user)s
            ON CONFLICT DO NOTHING RETURNING group_id)
        SELECT name, came FROM gone
        UNION ALL SELECT g.name, true FROM came JOIN groups g ON g.id = came.group_id
        """,
        {"user": user_id, "governed": governed, "wanted": wanted},
    )
    changes.put(
        "groups",
        sorted(row["name"] for row in rows if not row["came"]),
        sorted(row["name"] for row in rows if row["came"]),
    )


async def _known(session: Session, governed: list[UUID]) -> dict[tuple[UUID, str], UUID]:
    rows: list[Row] = await fetch(
        session,
        """
        SELECT id, organization_id, name FROM groups
        WHERE organization_id = ANY(%(governed)s) AND id <> organization_id FOR SHARE
        """,
        {"governed": governed},
    )
    return {(row["organization_id"], row["name"]): row["id"] for row in rows}


async def _made(session: Session, organization_id: UUID, name: str) -> UUID:
    """The group, made now; or by somebody else at the same moment."""
    try:
        made = await groups.create(session, organization_id, name=name)
    except Conflict:
        return (await _known(session, [organization_id]))[organization_id, name]
    await fetch(session, "UPDATE groups SET source = 'oidc' WHERE id = %(id)s", {"id": made})
    return made
