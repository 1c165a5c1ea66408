"""Organizations and who belongs to them, with which roles."""

from typing import LiteralString
from uuid import UUID

from uuid_utils.compat import uuid7

from models.errors import Conflict, NotFound
from models.store.database import Row, fetch
from models.store.people import changed, is_unique_violation
from models.store.session import Session

DEFAULT = "default"  # an alias for the default organization, whatever its name

_ORGANIZATION: LiteralString = (
    "o.id, o.name, o.display_name, o.description, o.icon, o.is_default, o.created_at, o.updated_at"
)
_MEMBER: LiteralString = """
    m.user_id, m.organization_id, m.roles, m.created_at, m.updated_at, u.username, u.name, u.email, u.avatar_url,
    u.roles AS global_roles
"""


async def create(
    session: Session,
    *,
    name: str,
    display_name: str = "",
    description: str = "",
    icon: str = "",
    is_default: bool = False,
) -> Row:
    """A new organization, with its group Everyone; raises Conflict when the name is taken."""
    try:
        async with session.begin_nested():
            rows = await fetch(
                session,
                f"""
                WITH o AS (
                    INSERT INTO organizations (id, name, display_name, description, icon, is_default)
                    VALUES (%(id)s, %(name)s, %(display_name)s, %(description)s, %(icon)s, %(is_default)s)
                    RETURNING *),
                everyone AS (INSERT INTO groups (id, organization_id, name) SELECT id, id, 'Everyone' FROM o)
                SELECT {_ORGANIZATION} FROM o
                """,  # noqa: S608 - fixed text
                {
                    "id": uuid7(),
                    "name": name,
                    "display_name": display_name or name,
                    "description": description,
                    "icon": icon,
                    "is_default": is_default,
                },
            )
    except Exception as clash:
        if is_unique_violation(clash):
            raise Conflict("Organization already exists with that name.") from clash
        raise
    return rows[0]


async def get(session: Session, organization: UUID | str) -> Row:
    """An organization by id, name or the alias `default`; raises NotFound."""
    text = str(organization)
    rows = await fetch(
        session,
        f"""
        SELECT {_ORGANIZATION} FROM organizations o
        WHERE o.id::text = lower(%(text)s) OR o.name = %(text)s OR (%(text)s = 'default' AND o.is_default)
        ORDER BY o.id::text = lower(%(text)s) DESC, o.is_default DESC LIMIT 1
        """,  # noqa: S608 - fixed text
        {"text": text},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def of_user(session: Session, user_id: UUID | None = None) -> list[Row]:
    """The organizations a user belongs to (without a user: all), by name."""
    return await fetch(
        session,
        f"""
        SELECT {_ORGANIZATION} FROM organizations o
        WHERE %(user)s::uuid IS NULL
           OR EXISTS (SELECT FROM organization_members m WHERE m.organization_id = o.id AND m.user_id = %(user)s)
        ORDER BY o.name
        """,  # noqa: S608 - fixed text
        {"user": user_id},
    )


async def missing(session: Session, ids: list[UUID]) -> list[UUID]:
    """Those of `ids` that are no organization."""
    rows = await fetch(session, "SELECT id FROM organizations WHERE id = ANY(%(ids)s)", {"ids": ids})
    known = {row["id"] for row in rows}
    return [each for each in ids if each not in known]


async def members(session: Session, organization_id: UUID) -> list[Row]:
    """Everybody in the organization, by username."""
    return await fetch(
        session,
        f"""
        SELECT {_MEMBER} FROM organization_members m JOIN users u ON u.id = m.user_id
        WHERE m.organization_id = %(organization)s AND NOT u.deleted ORDER BY lower(u.username)
        """,  # noqa: S608 - fixed text
        {"organization": organization_id},
    )


async def member(session: Session, organization_id: UUID, user_id: UUID) -> Row:
    """One membership; raises NotFound."""
    rows = await fetch(
        session,
        f"""
        SELECT {_MEMBER} FROM organization_members m JOIN users u ON u.id = m.user_id
        WHERE m.organization_id = %(organization)s AND m.user_id = %(user)s AND NOT u.deleted
        """,  # noqa: S608 - fixed text
        {"organization": organization_id, "user": user_id},
    )
    if not rows:
        raise NotFound
    return rows[0]


async def add(session: Session, organization_id: UUID, user_id: UUID, roles: tuple[str, ...] = ()) -> None:
    """Make the user a member; raises Conflict if they are one."""
    rows = await fetch(
        session,
        """
        INSERT INTO organization_members (organization_id, user_id, roles)
        VALUES (%(organization)s, %(user)s, %(roles)s) ON CONFLICT DO NOTHING RETURNING user_id
        """,
        {"organization": organization_id, "user": user_id, "roles": list(roles)},
    )
    if not rows:
        raise Conflict("User is already an organization member.")
    await changed(session, user_id)


async def remove(session: Session, organization_id: UUID, user_id: UUID) -> None:
    """End a membership; raises NotFound. The user's chats stay, out of their reach."""
    rows = await fetch(
        session,
        """
        WITH left_groups AS (
            DELETE FROM group_members gm USING groups g
            WHERE gm.group_id = g.id AND g.organization_id = %(organization)s AND gm.user_id = %(user)s)
        DELETE FROM organization_members WHERE organization_id = %(organization)s AND user_id = %(user)s
        RETURNING user_id
        """,
        {"organization": organization_id, "user": user_id},
    )
    if not rows:
        raise NotFound
    await changed(session, user_id)


async def set_roles(session: Session, organization_id: UUID, user_id: UUID, roles: list[str]) -> None:
    """Replace a member's roles in the organization; raises NotFound."""
    rows = await fetch(
        session,
        """
        UPDATE organization_members SET roles = %(roles)s, updated_at = now()
        WHERE organization_id = %(organization)s AND user_id = %(user)s RETURNING user_id
        """,
        {"organization": organization_id, "user": user_id, "roles": sorted(set(roles))},
    )
    if not rows:
        raise NotFound
    await changed(session, user_id)
