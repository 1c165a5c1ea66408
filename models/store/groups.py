"""Groups of an organization's members. Everyone is one of them: its id is its organization's, its members all of it."""

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Conflict, Invalid, NotFound, Validation
from models.store.database import Row, fetch
from models.store.people import changed, is_unique_violation
from models.store.session import Session

EVERYONE = "Everyone"

_PERSON: LiteralString = """
    u.id, u.username, u.name, u.email, u.avatar_url, u.status, u.login_type, u.created_at, u.updated_at, u.last_seen_at
"""
_GROUP: LiteralString = """
    SELECT g.id, g.name, g.display_name, g.avatar_url, g.source, g.organization_id, o.name AS organization_name,
        o.display_name AS organization_display_name
    FROM groups g JOIN organizations o ON o.id = g.organization_id
"""


async def of_organization(session: Session, organization_id: UUID) -> list[Row]:
    """The organization's groups with their `members`, by name."""
    rows = await fetch(
        session,
        f"{_GROUP} WHERE g.organization_id = %(organization)s ORDER BY lower(g.name), g.id",
        {"organization": organization_id},
    )
    return await _peopled(session, rows)


async def of_organizations(
    session: Session, organizations: Sequence[UUID] | None, *, member: UUID | None = None
) -> list[Row]:
    """The groups of these organizations, or of all, with their `members`, by name; `member`: those they are in."""
    rows = await fetch(
        session,
        f"""
        {_GROUP}
        WHERE (%(everywhere)s OR g.organization_id = ANY(%(organizations)s::uuid[])) AND (%(member)s::uuid IS NULL
            OR EXISTS (SELECT FROM group_members m WHERE m.group_id = g.id AND m.user_id = %(member)s)
            OR EXISTS (SELECT FROM organization_members m WHERE m.organization_id = g.id AND m.user_id = %(member)s))
        ORDER BY lower(g.name), g.id
        """,  # noqa: S608 - fixed text
        {"everywhere": organizations is None, "organizations": list(organizations or ()), "member": member},
    )
    return await _peopled(session, rows)


async def counted(session: Session, organization_id: UUID) -> list[Row]:
    """The organization's groups with their `total_member_count` and without members, by name."""
    return await fetch(
        session,
        f"""
        SELECT g.*, (SELECT count(*) FROM group_members m WHERE m.group_id = g.id)
            + (SELECT count(*) FROM organization_members m WHERE m.organization_id = g.id) AS total_member_count
        FROM ({_GROUP}) g WHERE g.organization_id = %(organization)s ORDER BY lower(g.name), g.id
        """,  # noqa: S608 - fixed text
        {"organization": organization_id},
    )


async def get(session: Session, group_id: UUID) -> Row:
    """A group with its `members`; raises NotFound."""
    rows = await fetch(session, f"{_GROUP} WHERE g.id = %(id)s", {"id": group_id})
    if not rows:
        raise NotFound
    return (await _peopled(session, rows))[0]


async def named(session: Session, organization_id: UUID, name: str) -> Row:
    """The organization's group of this name, with its `members`; raises NotFound."""
    rows = await fetch(
        session,
        f"{_GROUP} WHERE g.organization_id = %(organization)s AND g.name = %(name)s",
        {"organization": organization_id, "name": name},
    )
    if not rows:
        raise NotFound
    return (await _peopled(session, rows))[0]


async def create(
    session: Session, organization_id: UUID, *, name: str, display_name: str = "", avatar_url: str = ""
) -> UUID:
    """A new group without members; raises Conflict when the organization has one of that name."""
    new_id = uuid7()
    params = {
        "id": new_id,
        "organization": organization_id,
        "name": name,
        "display_name": display_name,
        "avatar_url": avatar_url,
    }
    await _named(
        session,
        name,
        """
        INSERT INTO groups (id, organization_id, name, display_name, avatar_url)
        VALUES (%(id)s, %(organization)s, %(name)s, %(display_name)s, %(avatar_url)s)
        """,
        params,
    )
    return new_id


async def update(
    session: Session,
    group: Row,
    *,
    name: str | None = None,
    display_name: str | None = None,
    avatar_url: str | None = None,
    add: list[UUID] | None = None,
    remove: list[UUID] | None = None,
) -> None:
    """Change what is given. Raises Conflict for a name that is taken, Invalid for somebody who is no member here."""
    params = {"id": group["id"], "name": name, "display_name": display_name, "avatar_url": avatar_url}
    await _named(
        session,
        name or "",
        """
        UPDATE groups SET name = coalesce(%(name)s, name), display_name = coalesce(%(display_name)s, display_name),
            avatar_url = coalesce(%(avatar_url)s, avatar_url), updated_at = now()
        WHERE id = %(id)s
        """,
        params,
    )
    if add:
        await _add(session, group, list(dict.fromkeys(add)))
    if remove:
        await fetch(
            session,
            "DELETE FROM group_members WHERE group_id = %(id)s AND user_id = ANY(%(users)s)",
            {"id": group["id"], "users": remove},
        )
    if add or remove:
        await changed(session, "*")  # principals know their groups


async def delete(session: Session, group_id: UUID) -> None:
    """The group is gone, and what its members had through it."""
    await fetch(session, "DELETE FROM groups WHERE id = %(id)s", {"id": group_id})
    await changed(session, "*")


async def _add(session: Session, group: Row, users: list[UUID]) -> None:
    # A lock on the memberships: nobody leaves the organization while they join its group.
    here = await fetch(
        session,
        """
        SELECT user_id FROM organization_members
        WHERE organization_id = %(organization)s AND user_id = ANY(%(users)s) FOR SHARE
        """,
        {"organization": group["organization_id"], "users": users},
    )
    if strangers := set(users) - {row["user_id"] for row in here}:
        named = next(user for user in users if user in strangers)
        detail = f"User {named} must be a member of organization {group['organization_name']}."
        raise Invalid(detail, validations=[Validation("add_users", detail)])
    await fetch(
        session,
        """
        INSERT INTO group_members (group_id, user_id) SELECT %(id)s, unnest(%(users)s::uuid[]) ON CONFLICT DO NOTHING
        """,
        {"id": group["id"], "users": users},
    )


async def _named(session: Session, name: str, statement: LiteralString, params: dict[str, Any]) -> None:
    try:
        async with session.begin_nested():
            await fetch(session, statement, params)
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict(f'A group named "{name}" already exists.') from clash
        raise


async def _peopled(session: Session, groups: list[Row]) -> list[Row]:
    """The groups with their members, by username: one statement for all of them."""
    rows = await fetch(
        session,
        f"""
        SELECT i.group_id, {_PERSON} FROM (
            SELECT group_id, user_id FROM group_members WHERE group_id = ANY(%(ids)s)
            UNION ALL SELECT organization_id, user_id FROM organization_members WHERE organization_id = ANY(%(ids)s)
        ) AS i JOIN users u ON u.id = i.user_id WHERE NOT u.deleted ORDER BY lower(u.username), u.id
        """,  # noqa: S608 - fixed text
        {"ids": [group["id"] for group in groups]},
    )
    members: dict[UUID, list[Row]] = {group["id"]: [] for group in groups}
    for row in rows:
        members[row.pop("group_id")].append(row)
    return [{**group, "members": members[group["id"]]} for group in groups]
