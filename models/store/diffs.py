"""What is known of chats' branches and pull requests: told by a route, or seen by the agent of a workspace."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from models.parts import from_rest, to_rest
from models.rules import remotes, webhooks
from models.rules.moments import rfc3339
from models.store.database import Row, fetch
from models.store.moves import Locked, outbox
from models.store.notices import CHATS, notice
from models.store.session import Session

FRESH_FOR = timedelta(minutes=2)
"""How long what was reported is believed before somebody should look again."""

OF_CHAT: LiteralString = "SELECT d.* FROM chat_diff_statuses d WHERE d.chat_id = %(chat)s"

BESIDE: LiteralString = "LEFT JOIN chat_diff_statuses d ON d.chat_id = c.id"
COLUMN: LiteralString = "CASE WHEN d.chat_id IS NOT NULL THEN to_jsonb(d) END AS diff"
"""With BESIDE, the row of the chat `c` as one column; `view` reads it."""

# What is null says nothing about the address, what is empty nothing about branch and remote.
_REFER: LiteralString = """
    INSERT INTO chat_diff_statuses AS d (chat_id, url, git_branch, git_remote_origin, stale_at)
    VALUES (%(chat)s, %(url)s, %(branch)s, %(origin)s, now() + %(fresh)s)
    ON CONFLICT (chat_id) DO UPDATE SET
        url = coalesce(excluded.url, d.url),
        git_branch = coalesce(nullif(excluded.git_branch, ''), d.git_branch),
        git_remote_origin = coalesce(nullif(excluded.git_remote_origin, ''), d.git_remote_origin),
        stale_at = excluded.stale_at, updated_at = now()
"""
_FIELDS = (
    "url",
    "pull_request_state",
    "pull_request_title",
    "pull_request_draft",
    "changes_requested",
    "additions",
    "deletions",
    "changed_files",
    "author_login",
    "author_avatar_url",
    "base_branch",
    "head_branch",
    "pr_number",
    "commits",
    "approved",
    "reviewer_count",
)
_REPORT: LiteralString = """
    UPDATE chat_diff_statuses SET url = %(url)s, pull_request_state = %(pull_request_state)s,
        pull_request_title = %(pull_request_title)s, pull_request_draft = %(pull_request_draft)s,
        changes_requested = %(changes_requested)s, additions = %(additions)s, deletions = %(deletions)s,
        changed_files = %(changed_files)s, author_login = %(author_login)s,
        author_avatar_url = %(author_avatar_url)s, base_branch = %(base_branch)s, head_branch = %(head_branch)s,
        pr_number = %(pr_number)s, commits = %(commits)s, approved = %(approved)s, reviewer_count = %(reviewer_count)s,
        refreshed_at = now(), stale_at = now() + %(fresh)s, updated_at = now()
    WHERE chat_id = %(chat)s RETURNING *
"""
_ALWAYS = (
    "pull_request_title",
    "pull_request_draft",
    "changes_requested",
    "additions",
    "deletions",
    "changed_files",
)
_KNOWN = (
    "author_login",
    "author_avatar_url",
    "base_branch",
    "head_branch",
    "pr_number",
    "commits",
    "approved",
    "reviewer_count",
)
_EMPTY: Mapping[str, Any] = {
    "pull_request_title": "",
    "pull_request_draft": False,
    "changes_requested": False,
    "additions": 0,
    "deletions": 0,
    "changed_files": 0,
}


async def get(session: Session, chat_id: UUID) -> Row | None:
    """What is known of the chat's branch and pull request."""
    rows = await fetch(session, OF_CHAT, {"chat": chat_id})
    return rows[0] if rows else None


async def refer(
    session: Session,
    locked: Locked,
    *,
    url: str | None = None,
    branch: str = "",
    origin: str = "",
    fresh_for: timedelta = timedelta(),
) -> None:
    """The chat works on this branch: what is not given stays as it was. Its owner's sidebar is told."""
    params = {"chat": locked.id, "url": url, "branch": branch, "origin": origin, "fresh": fresh_for}
    await fetch(session, _REFER, to_rest(params))
    session.tell(CHATS, notice(locked.chat, ("diff_status_change",)))


async def report(
    session: Session, locked: Locked, found: Mapping[str, Any], *, branch: str = "", origin: str = ""
) -> Row:
    """This is how the pull request looks now, instead of all that was known; the row. Its owner's sidebar is told."""
    await refer(session, locked, branch=branch, origin=origin)
    params = {"chat": locked.id, "fresh": FRESH_FOR, **{name: found[name] for name in _FIELDS}}
    [row] = await fetch(session, _REPORT, to_rest(params))
    await outbox.note(session, [locked.id], webhooks.told(("diff_status_change",)))
    return row


def view(chat_id: UUID, row: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ChatDiffStatus of a chat; without a row, an empty one."""
    if row is None:
        return {"chat_id": chat_id, **_EMPTY}
    shown: dict[str, Any] = {"chat_id": chat_id}
    if url := _address(row):
        shown["url"] = from_rest(url)
    if row["pull_request_state"]:
        shown["pull_request_state"] = row["pull_request_state"]
    shown |= {key: from_rest(row[key]) for key in _ALWAYS}
    shown |= {key: from_rest(row[key]) for key in _KNOWN if row[key] is not None}
    for key in ("refreshed_at", "stale_at"):
        if row[key] is not None:
            shown[key] = rfc3339(_moment(row[key]))
    return shown


def contents(chat_id: UUID, row: Row | None, diff: str = "") -> dict[str, Any]:
    """The ChatDiffContents of a chat, as far as it is known without asking the git host."""
    shown: dict[str, Any] = {"chat_id": chat_id}
    if row is None:
        return shown
    remote, branch = from_rest(row["git_remote_origin"]), from_rest(row["git_branch"])
    known = {
        "provider": remotes.provider(remote or row["url"] or ""),
        "remote_origin": remote,
        "branch": branch,
        "pull_request_url": from_rest(row["url"]) if row["url"] else None,
        "diff": diff,
    }
    return shown | {key: value for key, value in known.items() if value}


def _address(row: Mapping[str, Any]) -> str | None:
    url: str | None = row["url"] or remotes.branch_page(row["git_remote_origin"], row["git_branch"])
    return url


def _moment(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
