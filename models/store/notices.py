"""What a transaction tells the other processes when it commits: hints, never facts (runtime.md I11)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from models.store.database import fetch
from models.store.session import Session

CHATS = "turnstone_chats"  # a chat changed: watchers re-read, workers check their fence
PARTS = "turnstone_parts"  # stream-log rows were written
ACCESS = "turnstone_access"  # who may see a chat changed: look who follows it
PEOPLE = "turnstone_people"  # users, tokens, roles: drop cached principals
CATALOG = "turnstone_catalog"  # providers, keys, models: drop cached configurations
SWITCHES = "turnstone_switches"  # who has debug logging on: look again
AGENTS = "turnstone_agents"  # a workspace agent has something to do: whoever holds its connection looks
JOBS = "turnstone_jobs"  # what an agent was asked to do is done, or has said something
GIT = "turnstone_git"  # an agent has seen something else in its repositories: whoever watches them looks
GIT_ASKED = "turnstone_git_asked"  # somebody wants an agent to look at its repositories now
RATES = "turnstone_rates"  # what callers took of their limits at one API process
BUDGETS = "turnstone_budgets"  # a budget has reached one of its warnings: tell who spent
WORKERS = "turnstone_workers"  # a worker is there, and has room for head starts or not
WORKSPACES = "turnstone_workspaces"  # the workspace of this id changed, a build of it or that build's log


@dataclass(frozen=True, slots=True)
class ChatNotice:
    """A chat is now at these versions. `watch` names sidebar events (wire-api 2.8) for its owner."""

    chat_id: UUID
    owner_id: UUID
    snapshot_version: int
    history_version: int
    generation_attempt: int
    status: str
    archived: bool = False
    watch: tuple[str, ...] = field(default=())

    def encode(self) -> str:
        return orjson.dumps(
            [
                str(self.chat_id),
                str(self.owner_id),
                self.snapshot_version,
                self.history_version,
                self.generation_attempt,
                self.status,
                self.archived,
                self.watch,
            ]
        ).decode()

    @classmethod
    def decode(cls, payload: str) -> "ChatNotice":
        chat, owner, snapshot, history, attempt, status, archived, watch = orjson.loads(payload)
        return cls(UUID(chat), UUID(owner), snapshot, history, attempt, status, archived, tuple(watch))


def notice(chat: Mapping[str, Any], watch: tuple[str, ...]) -> str:
    """The NOTIFY payload that says where the chat is now."""
    return ChatNotice(
        chat_id=chat["id"],
        owner_id=chat["owner_id"],
        snapshot_version=chat["snapshot_version"],
        history_version=chat["history_version"],
        generation_attempt=chat["generation_attempt"],
        status=chat["status"],
        archived=chat["archived"],
        watch=watch,
    ).encode()


@dataclass(frozen=True, slots=True)
class BudgetNotice:
    """A call of this chat has brought a budget to one of its warnings. Written by `store.reserving`."""

    chat_id: UUID
    owner_id: UUID
    budget: dict[str, Any]
    watch: tuple[str, ...] = ("budget_warning",)

    @classmethod
    def decode(cls, payload: str) -> "BudgetNotice":
        owner, chat, budget = orjson.loads(payload)
        return cls(UUID(chat), UUID(owner), budget)


@dataclass(frozen=True, slots=True)
class WorkerNotice:
    """A worker is alive. `room`: it may begin attempts ahead of their runs; `gone`: it is about to end.

    `waits`: it has the activity of this chat's run, and waits for the worker that is ahead.
    """

    worker: UUID
    room: bool
    gone: bool = False
    waits: UUID | None = None

    def encode(self) -> str:
        waits = None if self.waits is None else str(self.waits)
        return orjson.dumps([str(self.worker), self.room, self.gone, waits]).decode()

    @classmethod
    def decode(cls, payload: str) -> "WorkerNotice":
        worker, room, gone, waits = orjson.loads(payload)
        return cls(UUID(worker), room, gone, UUID(waits) if waits else None)


@dataclass(frozen=True, slots=True)
class JobNotice:
    """A job said `text` at this offset of its output; without text, it has ended."""

    job_id: UUID
    offset: int = 0
    text: str | None = None

    def encode(self) -> str:
        return orjson.dumps([str(self.job_id), self.offset, self.text]).decode()

    @classmethod
    def decode(cls, payload: str) -> "JobNotice":
        job_id, offset, text = orjson.loads(payload)
        return cls(UUID(job_id), offset, text)


async def tell(session: Session, channel: str, payload: str) -> None:
    """Send a notice that no change of a row carries."""
    await fetch(session, "SELECT pg_notify(%(channel)s, %(payload)s)", {"channel": channel, "payload": payload})
