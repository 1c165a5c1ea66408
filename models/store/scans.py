"""What agents see of the repositories in their workspaces, and what chats' branches are by it (admin.md 8.5)."""

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

import orjson

from models.parts import from_rest, to_rest
from models.principal import Principal
from models.rules import repositories, webhooks
from models.rules.repositories import Repository, Scan
from models.store.chats import Statement
from models.store.database import Row, fetch
from models.store.moves import outbox
from models.store.notices import CHATS, GIT, notice
from models.store.session import Session

_KNOWN: LiteralString = """
SELECT workspace_id, git FROM workspace_agents WHERE id = %(agent)s AND connection_id = %(connection)s
FOR NO KEY UPDATE"""
_KEEP: LiteralString = "UPDATE workspace_agents SET git = %(git)s::jsonb WHERE id = %(agent)s"
# A chat that works with another agent of the same build hears of its own.
_CHATS: LiteralString = """
SELECT c.* FROM chats c
WHERE c.workspace_id = %(workspace)s AND NOT c.archived AND (
    c.agent_id IS NULL OR c.agent_id = %(agent)s OR NOT EXISTS (
        SELECT FROM workspace_agents o JOIN workspace_agents a ON a.build_id = o.build_id
        WHERE o.id = c.agent_id AND a.id = %(agent)s))
ORDER BY c.id FOR NO KEY UPDATE OF c"""
# The numbers of a pull request are its own; a branch that is not known says nothing.
_REFRESH: LiteralString = """
INSERT INTO chat_diff_statuses AS d (chat_id, git_branch, git_remote_origin, additions, deletions, changed_files,
    refreshed_at)
SELECT id, %(branch)s, %(origin)s, %(additions)s, %(deletions)s, %(changed_files)s, now()
FROM unnest(%(chats)s::uuid[]) AS c(id)
ON CONFLICT (chat_id) DO UPDATE SET
    git_branch = coalesce(nullif(excluded.git_branch, ''), d.git_branch),
    git_remote_origin = coalesce(nullif(excluded.git_remote_origin, ''), d.git_remote_origin),
    additions = CASE WHEN {pulled} THEN d.additions ELSE excluded.additions END,
    deletions = CASE WHEN {pulled} THEN d.deletions ELSE excluded.deletions END,
    changed_files = CASE WHEN {pulled} THEN d.changed_files ELSE excluded.changed_files END,
    refreshed_at = now(), stale_at = now(), updated_at = now()
WHERE (excluded.git_branch <> '' AND excluded.git_branch <> d.git_branch)
    OR (excluded.git_remote_origin <> '' AND excluded.git_remote_origin <> d.git_remote_origin)
    OR (NOT {pulled} AND (excluded.additions, excluded.deletions, excluded.changed_files)
        IS DISTINCT FROM (d.additions, d.deletions, d.changed_files))
RETURNING chat_id""".format(pulled="(d.url IS NOT NULL OR d.pull_request_state IS NOT NULL)")

_OF_CHAT: LiteralString = """
SELECT w.owner_id, w.organization_id, newest.git
FROM chats c JOIN workspaces w ON w.id = c.workspace_id AND NOT w.deleted CROSS JOIN LATERAL (
    SELECT a.git FROM workspace_agents a JOIN workspace_builds b ON b.id = a.build_id
    WHERE a.workspace_id = w.id AND a.git IS NOT NULL
    ORDER BY b.build_number DESC, a.id IS NOT DISTINCT FROM c.agent_id DESC, a.display_order, a.id LIMIT 1) AS newest
WHERE c.id = %(chat)s"""


async def keep(session: Session, agent_id: UUID, connection_id: UUID, scan: Scan, *, whole: bool) -> bool:
    """Keep what the agent has seen; `whole`: it is all there is. Chats and watchers are told of what has changed.

    False if this is not the agent's connection any more.
    """
    rows = await fetch(session, _KNOWN, {"agent": agent_id, "connection": connection_id})
    if not rows:
        return False
    known = from_rest(rows[0]["git"]) or {}
    before: list[Repository] = known.get("repositories") or []
    now = repositories.merged([] if whole else before, scan.repositories)
    if now == before and scan.error == known.get("error", "") and known:
        return True
    git = {"scanned_at": scan.scanned_at, "repositories": now, "error": scan.error}
    await fetch(session, _KEEP, {"agent": agent_id, "git": orjson.dumps(to_rest(git)).decode()})
    session.tell(GIT, str(agent_id))
    if now != before:
        chats = await fetch(session, _CHATS, {"workspace": rows[0]["workspace_id"], "agent": agent_id})
        await _refresh(session, {chat["id"]: chat for chat in chats}, now)
    return True


async def of_agent(session: Session, agent_id: UUID) -> dict[str, Any] | None:
    """What the agent saw last: `scanned_at`, `repositories`, `error`."""
    rows = await fetch(session, "SELECT git FROM workspace_agents WHERE id = %(agent)s", {"agent": agent_id})
    return from_rest(rows[0]["git"]) if rows else None


def asking(chat_id: UUID) -> Statement:
    """The statement for what the agent of a chat's workspace saw last; `diff_for` reads its rows."""
    return _OF_CHAT, {"chat": chat_id}


def diff_for(caller: Principal, rows: list[Row]) -> str:
    """The diff of the repository that the chat works on, for whoever may work there."""
    if not rows or not caller.may_enter_workspace(rows[0]["owner_id"], rows[0]["organization_id"]):
        return ""
    found = repositories.main(from_rest(rows[0]["git"]).get("repositories") or [])
    return str(found["unified_diff"]) if found else ""


async def catch_up(session: Session, chat: Row) -> None:
    """The chat works in another workspace from now on: what was seen there before is known of it as well."""
    rows = await fetch(session, _OF_CHAT, {"chat": chat["id"]})
    if rows:
        await _refresh(session, {chat["id"]: chat}, from_rest(rows[0]["git"]).get("repositories") or [])


async def _refresh(session: Session, chats: Mapping[UUID, Row], found: list[Repository]) -> None:
    """What chats, which are locked, know by these repositories; who is concerned is told if it is news."""
    main = repositories.main(found)
    if not chats:
        return
    params = {
        "chats": list(chats),
        "branch": main["branch"] if main else "",
        "origin": main["remote_origin"] if main else "",
        **repositories.counts(found),
    }
    changed = [row["chat_id"] for row in await fetch(session, _REFRESH, to_rest(params))]
    await outbox.note(session, changed, webhooks.told(("diff_status_change",)))
    for chat_id in changed:
        session.tell(CHATS, notice(chats[chat_id], ("diff_status_change",)))
