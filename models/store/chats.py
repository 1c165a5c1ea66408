"""Chats as their readers see them: who may see which, one of them, and the wire form (wire-api.md 2.1, 3.4).

`visible` is the one door: every read of a chat in somebody's name goes through it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from models.errors import NotFound
from models.parts import from_rest
from models.principal import Principal, Scope
from models.rules.moments import rfc3339
from models.store import diffs
from models.store.database import Row, fetch, fetch_together
from models.store.session import Session

Statement = tuple[LiteralString, Mapping[str, Any] | None]

# A child has its root's ACL: computed, never copied.
_ACL_AND_OWNER = """
    coalesce(r.user_acl, c.user_acl) AS user_acl, coalesce(r.group_acl, c.group_acl) AS group_acl,
    u.username AS owner_username, u.name AS owner_name
"""

# What a Chat shows, and no more: lists are hot, and their rows are many.
SHOWN: LiteralString = """
    c.id, c.organization_id, c.owner_id, c.parent_chat_id, c.root_chat_id, c.last_model_config_id, c.title, c.status,
    c.plan_mode, c.mode, c.last_error, c.last_turn_summary, c.created_at, c.updated_at, c.archived, c.pin_order,
    c.mcp_server_ids, c.labels, c.client_type, c.workspace_id, c.build_id, c.agent_id,
    c.capacity_queued_at
"""

UNREAD: LiteralString = """
    EXISTS (SELECT 1 FROM chat_messages m
              WHERE m.chat_id = c.id AND m.role = 'assistant' AND NOT m.deleted AND m.visibility <> 'model'
                AND m.id > coalesce(c.last_read_message_id, 0)) AS has_unread
"""

_FROM = """
    FROM chats c
    JOIN users u ON u.id = c.owner_id
    LEFT JOIN chats r ON r.id = coalesce(c.root_chat_id, c.parent_chat_id)
"""

VISIBLE: LiteralString = """
    (%(reads)s AND (
        %(governs_all)s
        OR c.organization_id = ANY(%(governs)s::uuid[])
        OR (c.owner_id = %(caller)s AND c.organization_id = ANY(%(uses_agents)s::uuid[]))
        OR (c.organization_id = ANY(%(shares_in)s::uuid[]) AND (
            (coalesce(r.user_acl, c.user_acl) -> %(caller_key)s -> 'permissions') ? 'read'
            OR EXISTS (SELECT 1 FROM jsonb_each(coalesce(r.group_acl, c.group_acl)) AS shared
                       WHERE shared.key = ANY(%(groups)s::text[]) AND (shared.value -> 'permissions') ? 'read')))
    ))
"""

_ONE = f"SELECT c.*, {_ACL_AND_OWNER} {_FROM} WHERE c.id = %(chat_id)s AND {VISIBLE}"

_CHILDREN = f"""
    SELECT {SHOWN}, {_ACL_AND_OWNER}, {UNREAD}, {diffs.COLUMN} {_FROM} {diffs.BESIDE}
    WHERE c.parent_chat_id = ANY(%(parents)s::uuid[])
      AND (%(archived)s::boolean IS NULL OR c.archived = %(archived)s)
    ORDER BY c.created_at DESC, c.id DESC
"""
_FAMILY = f"""
    SELECT {SHOWN}, {_ACL_AND_OWNER}, {UNREAD}, {diffs.COLUMN} {_FROM} {diffs.BESIDE}
    WHERE c.parent_chat_id = %(chat)s AND c.archived = (SELECT p.archived FROM chats p WHERE p.id = %(chat)s)
    ORDER BY c.created_at DESC, c.id DESC
"""  # noqa: S608 - fixed text

_BY_WORKSPACE: LiteralString = f"""
    SELECT DISTINCT ON (c.workspace_id) c.workspace_id, c.id {_FROM}
    WHERE c.workspace_id = ANY(%(workspaces)s::uuid[]) AND NOT c.archived AND {VISIBLE}
    ORDER BY c.workspace_id, c.updated_at DESC, c.id DESC
"""

_FILES = """
    SELECT f.id, f.owner_id, f.organization_id, f.name, f.mimetype, f.created_at
    FROM chat_file_links l JOIN chat_files f ON f.id = l.file_id
    WHERE l.chat_id = %(chat)s ORDER BY l.created_at, f.id
"""

GENERIC_FAILURE = "The chat request failed unexpectedly."


def visible(caller: Principal) -> dict[str, Any]:
    """The parameters of the SQL condition that holds for exactly the chats that `may_see` allows."""
    return {
        "reads": caller.has_scope(Scope.CHAT_READ),
        "governs_all": caller.is_owner,
        "governs": caller.reads_all_in(),
        "uses_agents": caller.reads_own_in(),
        "shares_in": [each for each in caller.organizations if caller.shares_in(each)],
        "caller": caller.user_id,
        "caller_key": str(caller.user_id),
        "groups": [str(group) for group in caller.groups],
    }


def may_see(caller: Principal, row: Row) -> bool:
    """May the caller read this chat: by role, as its owner, or because its root is shared with them?"""
    if not caller.has_scope(Scope.CHAT_READ):
        return False
    if caller.may_read_chat(row["owner_id"], row["organization_id"]):
        return True
    if not caller.shares_in(row["organization_id"]):
        return False
    grants = [row["user_acl"].get(str(caller.user_id)), *(row["group_acl"].get(str(group)) for group in caller.groups)]
    return any("read" in grant.get("permissions", ()) for grant in grants if grant)


def require_update(caller: Principal, row: Row) -> None:
    """Raise NotFound unless the caller may change this chat: who may not is not told that it exists."""
    if not caller.may_update_chat(row["owner_id"], row["organization_id"]):
        raise NotFound


async def load(session: Session, caller: Principal, chat_id: UUID) -> Row:
    """The chat, with owner_username and owner_name; raises NotFound when the caller may not see it."""
    rows = await fetch(session, _ONE, {"chat_id": chat_id, **visible(caller)})
    if not rows:
        raise NotFound
    return rows[0]


async def load_with(session: Session, caller: Principal, chat_id: UUID, *more: Statement) -> list[Any]:
    """The chat as `load` gives it, and after it the rows of each of these statements about it; one round trip."""
    rows, *others = await fetch_together(session, [(_ONE, {"chat_id": chat_id, **visible(caller)}), *more])
    if not rows:
        raise NotFound
    return [rows[0], *others]


async def of_workspaces(session: Session, caller: Principal, workspace_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The chat of each workspace that was used last, of those that the caller sees and that are not archived."""
    rows = await fetch(session, _BY_WORKSPACE, {"workspaces": list(workspace_ids), **visible(caller)})
    return {row["workspace_id"]: row["id"] for row in rows}


async def inherit(session: Session, row: Row) -> Row:
    """A chat's own row with the ACL that counts: a child has its root's."""
    root = row["root_chat_id"] or row["parent_chat_id"]
    if root is None:
        return row
    found = await fetch(session, "SELECT user_acl, group_acl FROM chats WHERE id = %(id)s", {"id": root})
    return {**row, **found[0]} if found else row


async def children(
    session: Session, parents: Iterable[UUID], *, archived: bool | None
) -> Mapping[UUID, list[dict[str, Any]]]:
    """The sub-agent chats of each parent, newest first, as Chats: one statement for all. `archived` None is any."""
    wanted = list(parents)
    if not wanted:
        return {}
    return families(await fetch(session, *below(wanted, archived=archived)))


def below(parents: Iterable[UUID], *, archived: bool | None) -> Statement:
    """The statement that reads the rows of `families`."""
    return _CHILDREN, {"parents": list(parents), "archived": archived}


def families(rows: Iterable[Row]) -> Mapping[UUID, list[dict[str, Any]]]:
    """The sub-agent chats by their parents, as Chats."""
    found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["parent_chat_id"]].append(listed(row, []))
    return found


async def files(session: Session, chat_id: UUID) -> list[dict[str, Any]]:
    """The files that the chat uses, as ChatFileMetadata, in the order they came."""
    return [_file(row) for row in await fetch(session, _FILES, {"chat": chat_id})]


async def get(session: Session, caller: Principal, chat_id: UUID) -> dict[str, Any]:
    """The chat as a Chat, with its files and diff status, if any, and its children; raises as `load` does."""
    about = {"chat": chat_id}
    row, used, family, diff = await load_with(
        session, caller, chat_id, (_FILES, about), (_FAMILY, about), (diffs.OF_CHAT, about)
    )
    shown: dict[str, Any] = {"children": [listed(child, []) for child in family]}
    if used:
        shown["files"] = [_file(each) for each in used]
    if diff:
        shown["diff_status"] = diffs.view(chat_id, diff[0])
    return as_seen(caller, view(row, **shown))


def as_seen(caller: Principal, chat: dict[str, Any]) -> dict[str, Any]:
    """The Chat; where sharing is switched off it is not shared, nor are its children, whatever they were before."""
    if not caller.shares:
        for each in (chat, *chat["children"]):
            each["shared"] = False
    return chat


def view(row: Row, **more: Any) -> dict[str, Any]:
    """The chat as a Chat, with `more` keys of the answer at hand (children, diff_status, files, has_unread)."""
    shown: dict[str, Any] = {"id": row["id"], "organization_id": row["organization_id"], "owner_id": row["owner_id"]}
    for key in ("owner_username", "owner_name", "workspace_id", "build_id", "agent_id", "parent_chat_id"):
        if row.get(key):
            shown[key] = row[key]
    shown["root_chat_id"] = row["root_chat_id"] or row["parent_chat_id"] or row["id"]
    shown["last_model_config_id"] = row["last_model_config_id"]
    shown["title"] = row["title"]
    shown["status"] = row["status"]
    if row["capacity_queued_at"]:
        shown["queued_for_capacity"] = True
    if row["plan_mode"]:
        shown["plan_mode"] = row["plan_mode"]
    if row["mode"]:
        shown["mode"] = row["mode"]
    if row["last_error"]:
        shown["last_error"] = error(row["last_error"])
    shown["last_turn_summary"] = row["last_turn_summary"]
    shown["created_at"] = rfc3339(row["created_at"])
    shown["updated_at"] = rfc3339(row["updated_at"])
    shown["archived"] = row["archived"]
    shown["shared"] = bool(row["user_acl"] or row["group_acl"])
    shown["pin_order"] = row["pin_order"]
    shown["mcp_server_ids"] = row["mcp_server_ids"]
    shown["labels"] = from_rest(row["labels"])
    shown["has_unread"] = False
    shown["client_type"] = row["client_type"]
    shown["children"] = []
    return shown | more


def error(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A ChatError: stored ones without a kind, a message or `retryable` get what readers rely on."""
    shown: dict[str, Any] = from_rest(dict(stored))
    return shown | {
        "message": shown.get("message") or GENERIC_FAILURE,
        "kind": shown.get("kind") or "generic",
        "retryable": bool(shown.get("retryable")),
    }


def _file(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "owner_id": row["owner_id"],
        "organization_id": row["organization_id"],
        "name": from_rest(row["name"]),
        "mime_type": row["mimetype"],
        "created_at": rfc3339(row["created_at"]),
    }


def listed(row: Row, family: list[dict[str, Any]]) -> dict[str, Any]:
    """The chat as lists show it."""
    return view(row, has_unread=row["has_unread"], diff_status=diffs.view(row["id"], row["diff"]), children=family)
