"""Where a chat works: its workspace, the newest build of that, and the agent it talks to (runtime.md 11.3).

A binding is metadata: it touches no version of the chat, and its watchers are told.
"""

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from models.errors import Invalid
from models.principal import Principal
from models.rules.agents import Ambiguous, chosen
from models.store import mailbox, scans
from models.store.database import Row, fetch, fetch_together
from models.store.mailbox import Job
from models.store.notices import CHATS, notice
from models.store.presence import STATUS
from models.store.session import Session


@dataclass(frozen=True, slots=True)
class Place:
    """A chat's workspace as it stands. `agents` are those of the newest build, each with its `status`."""

    workspace_id: UUID
    name: str
    deleted: bool
    build_id: UUID | None
    transition: str
    build_status: str
    build_error: str
    agents: list[dict[str, Any]]
    bound_build: UUID | None
    bound_agent: UUID | None
    owner_id: UUID | None
    organization_id: UUID

    @property
    def home(self) -> str:
        """The home directory, where the agent that the chat works with has told it."""
        try:
            agent = chosen(self.agents)
        except Ambiguous:
            return ""
        return str(agent["home"]) if agent else ""

    @property
    def external(self) -> bool:
        """Do people run its agents on their own hosts?"""
        return any(agent["external"] for agent in self.agents)


_PLACE: LiteralString = f"""
SELECT w.id AS workspace_id, w.name, w.deleted, b.id AS build_id, coalesce(b.transition, '') AS transition,
    coalesce(b.status, '') AS build_status, coalesce(b.error, '') AS build_error,
    c.build_id AS bound_build, c.agent_id AS bound_agent, w.owner_id, w.organization_id,
    coalesce((SELECT jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name, 'parent_id', a.parent_id,
        'display_order', a.display_order, 'status', {STATUS}, 'lifecycle', a.lifecycle, 'external', a.external,
        'home', coalesce(a.facts->>'home', ''),
        'connection_timeout_seconds', a.connection_timeout_seconds) ORDER BY a.id)
        FROM workspace_agents a WHERE a.build_id = b.id), '[]') AS agents
FROM chats c JOIN workspaces w ON w.id = c.workspace_id
LEFT JOIN LATERAL (
    SELECT * FROM workspace_builds n WHERE n.workspace_id = w.id ORDER BY n.build_number DESC LIMIT 1) AS b ON true
WHERE c.id = %(chat)s
"""  # noqa: S608 - fixed text


_BIND: LiteralString = """
UPDATE chats SET build_id = %(build)s, agent_id = %(agent)s
WHERE id = %(chat)s AND (build_id, agent_id) IS DISTINCT FROM (%(build)s, %(agent)s)
RETURNING *
"""
# Sub-agents work where their root does (runtime.md 12.1). Who locks a family begins with its root, as this does.
_ATTACH: LiteralString = """
UPDATE chats SET workspace_id = %(workspace)s, build_id = %(build)s, agent_id = NULL
WHERE (id = %(chat)s OR root_chat_id = %(chat)s OR parent_chat_id = %(chat)s)
    AND (workspace_id, build_id) IS DISTINCT FROM (%(workspace)s, %(build)s)
RETURNING *
"""


async def of(session: Session, chat_id: UUID) -> Place | None:
    """Where the chat works; None if it has no workspace."""
    rows = await fetch(session, _PLACE, {"chat": chat_id})
    return _place(rows[0]) if rows else None


async def with_job(session: Session, chat_id: UUID, job_id: UUID) -> tuple[Place | None, Job | None]:
    """Where the chat works, and the job of that id if there is one, in one round trip."""
    places, jobs = await fetch_together(session, [(_PLACE, {"chat": chat_id}), mailbox.found([job_id])])
    return _place(places[0]) if places else None, mailbox.job(jobs[0]) if jobs else None


async def bind(session: Session, chat_id: UUID, *, build_id: UUID, agent_id: UUID | None) -> None:
    """Note with which build and agent the chat works from now on."""
    rows = await fetch(session, _BIND, {"chat": chat_id, "build": build_id, "agent": agent_id})
    _tell(session, rows)


async def attach(session: Session, chat_id: UUID, workspace_id: UUID | None, build_id: UUID | None = None) -> None:
    """The chat works in this workspace from now on (None: in none), and with this build of it; its agent is not known.

    So do its sub-agents' chats. The chat is locked. To say again what holds already changes nothing.
    """
    rows = await fetch(session, _ATTACH, {"chat": chat_id, "workspace": workspace_id, "build": build_id})
    _tell(session, rows)
    if workspace_id is not None:
        for row in rows:
            await scans.catch_up(session, row)


async def require_entry(
    session: Session, caller: Principal, workspace_id: UUID, organization_id: UUID, elsewhere: str
) -> None:
    """Raise Invalid unless the caller may work in this workspace, and it is of the organization, or `elsewhere`.

    It stays there until the transaction is over.
    """
    rows = await fetch(
        session,
        "SELECT owner_id, organization_id FROM workspaces WHERE id = %(id)s AND NOT deleted FOR KEY SHARE",
        {"id": workspace_id},
    )
    if not rows or not caller.may_enter_workspace(rows[0]["owner_id"], rows[0]["organization_id"]):
        raise Invalid("Workspace not found or you do not have access to this resource")
    if rows[0]["organization_id"] != organization_id:
        raise Invalid(elsewhere)


def _tell(session: Session, changed: list[Row]) -> None:
    for chat in changed:
        session.tell(CHATS, notice(chat, ("status_change",)))


def _place(row: Row) -> Place:
    agents = [{**agent, "id": UUID(agent["id"])} for agent in row["agents"]]
    return Place(**{**row, "agents": agents})
