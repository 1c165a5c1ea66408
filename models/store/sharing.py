"""With whom a chat is shared: who is named, and what a change of it does (wire-api.md 2.17, 8.5; admin.md 4)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from models.errors import Invalid, Validation
from models.principal import Principal
from models.store import audit
from models.store.audit import Author
from models.store.chats import Statement, load_with
from models.store.database import Row, fetch, fetch_together
from models.store.moves import Locked
from models.store.moves.record import encode
from models.store.notices import ACCESS
from models.store.session import Session

READ, NOTHING = "read", ""
GRANT = {"permissions": ["read"]}

# An entry that is more or less than reading was not made here, and is not shown as reading.
_ROLE = f"""CASE WHEN e.value -> 'permissions' = '["{READ}"]' THEN '{READ}' ELSE '{NOTHING}' END AS role"""
_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_USERS = f"""
    SELECT u.id, u.username, u.name, u.avatar_url, {_ROLE}
    FROM chats c CROSS JOIN LATERAL jsonb_each(c.user_acl) AS e
    JOIN users u ON u.id = CASE WHEN e.key ~ '^{_ID}$' THEN e.key::uuid END
    WHERE c.id = %(chat)s AND NOT u.deleted ORDER BY lower(u.username), u.id
"""  # noqa: S608 - fixed text
# Everyone has its organization's members, and none of its own; who is deleted is in neither.
_GROUPS = f"""
    SELECT g.id, g.name, g.display_name, g.avatar_url, g.source, g.organization_id, o.name AS organization_name,
        o.display_name AS organization_display_name, {_ROLE},
        (SELECT count(*) FROM group_members m WHERE m.group_id = g.id)
        + (SELECT count(*) FROM organization_members m WHERE m.organization_id = g.id) AS total_member_count
    FROM chats c CROSS JOIN LATERAL jsonb_each(c.group_acl) AS e
    JOIN groups g ON g.id = CASE WHEN e.key ~ '^{_ID}$' THEN e.key::uuid END
    JOIN organizations o ON o.id = g.organization_id
    WHERE c.id = %(chat)s ORDER BY lower(g.name), g.id
"""  # noqa: S608 - fixed text

_HERE = """
    SELECT m.user_id AS id FROM organization_members m JOIN users u ON u.id = m.user_id
    WHERE m.organization_id = %(organization)s AND m.user_id = ANY(%(ids)s::uuid[]) AND NOT u.deleted
"""
_GROUPS_HERE = "SELECT id FROM groups WHERE organization_id = %(organization)s AND id = ANY(%(ids)s::uuid[])"

Roles = Mapping[str, str]
"""Ids of users or groups, as they were sent, and the role that each is to have; "" takes it away."""


async def get(session: Session, caller: Principal, chat_id: UUID) -> tuple[Row, list[Row], list[Row]]:
    """The chat, and the users and groups that it is shared with; in one round trip. Raises as `chats.load` does."""
    asked: list[Statement] = [(_USERS, {"chat": chat_id}), (_GROUPS, {"chat": chat_id})]
    chat, users, groups = await load_with(session, caller, chat_id, *asked)
    return chat, users, groups


async def change(session: Session, locked: Locked, users: Roles, groups: Roles, by: Author) -> None:
    """Give and take what is named, and leave the rest; the audit log tells who did it. Raises Invalid.

    Only members of the chat's organization, and its groups, can be given anything: whoever else is named is answered
    like somebody who does not exist. What is there can always be taken away.
    """
    chat = locked.chat
    given = {"organization": chat["organization_id"]}
    known_users, known_groups = await fetch_together(
        session,
        [(_HERE, {**given, "ids": _granted(users)}), (_GROUPS_HERE, {**given, "ids": _granted(groups)})],
    )
    wrong = [
        *_mistakes(groups, {row["id"] for row in known_groups}, "group_roles", "group"),
        *_mistakes(users, {row["id"] for row in known_users}, "user_roles", "user"),
    ]
    if wrong:
        raise Invalid("Invalid request to update chat ACL.", validations=wrong)
    after = {"user_acl": _merged(chat["user_acl"], users), "group_acl": _merged(chat["group_acl"], groups)}
    if all(acl == chat[name] for name, acl in after.items()):
        return
    await fetch(
        session,
        "UPDATE chats SET user_acl = %(user_acl)s::jsonb, group_acl = %(group_acl)s::jsonb WHERE id = %(id)s",
        {"id": locked.id, **{name: encode(acl) for name, acl in after.items()}},
    )
    audit.chat_changed(session, chat, by)
    session.tell(ACCESS, str(locked.id))


def names(roles: Roles, user_id: UUID) -> bool:
    """Is this user among those that are named?"""
    return any(_id(key) == user_id for key in roles)


def _id(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


def _granted(roles: Roles) -> list[UUID]:
    return [found for key, role in roles.items() if role == READ and (found := _id(key)) is not None]


def _mistakes(roles: Roles, known: set[UUID], field: str, kind: str) -> list[Validation]:
    wrong = []
    for key, role in roles.items():
        found = _id(key)
        if role not in (READ, NOTHING):
            wrong.append(Validation(field, f'role "{role}" is not a valid chat role'))
        if found is None:
            wrong.append(Validation(field, f"{key} is not a valid UUID."))
        elif role == READ and found not in known:
            wrong.append(Validation(field, f"{kind} with ID {found} does not exist"))
    return wrong


def _merged(acl: Mapping[str, Any], roles: Roles) -> dict[str, Any]:
    merged = dict(acl)
    for key, role in roles.items():
        merged.pop(str(_id(key)), None)
        if role == READ:
            merged[str(_id(key))] = GRANT
    return merged
