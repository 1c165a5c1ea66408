"""A chat's workspace, from a tool's side: find the agent that is there now, ask it, and say honestly what happened."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

from activities.mailbox import Mailbox
from activities.tools.endings import ToolFailed, ToolUnknown
from models.rules.agents import Ambiguous, chosen
from models.steps import BuildRequest
from models.store import bindings, workspaces
from models.store.bindings import Place
from models.store.database import Database
from models.store.mailbox import Job
from models.store.secrets import Cipher
from models.store.stream import Episode
from workflows.client import Temporal

WITHOUT_THE_TOOL = "If you do not have that tool, report to the agent that you work for what you need."
NO_WORKSPACE = f"The chat has no workspace yet. Use the create_workspace tool first. {WITHOUT_THE_TOOL}"
DELETED = f"The chat's workspace was deleted. Use the create_workspace tool to make another. {WITHOUT_THE_TOOL}"
NO_AGENT = (
    "The workspace has no running agent; it is likely stopped. Use the start_workspace tool to start it. "
    f"{WITHOUT_THE_TOOL}"
)
DISCONNECTED = (
    "The workspace agent is disconnected, and the connection timed out. "
    "Use the stop_workspace tool, then the start_workspace tool, to recover the workspace."
)
TIMED_OUT = (
    "The connection to the workspace agent timed out. Retry once; if it fails again, tell the user that the workspace "
    "cannot be reached."
)
EXTERNAL = (
    "The workspace agent runs on the user's own host and is not connected. Tell the user that it must be started or "
    "reconnected there; it cannot be restarted from here."
)
STOPPED = "The turn was stopped."
UNSENT = "The command was never sent to the workspace, so it did not run."
AWAY = (
    "The workspace agent was lost while it may have been doing this, and it did not come back in time. "
    "It may have taken effect: find out before you repeat it."
)
SLOW = (
    "The workspace agent is connected but did not answer in time. It may have taken effect: find out before you repeat "
    "it."
)
UNANSWERED = (
    "The workspace agent was lost before it answered, or did not answer in time. Nothing was changed: try again."
)
NEVER_CAME = (
    "The workspace was built, but its agent has not connected. Use the stop_workspace tool, then the start_workspace "
    "tool; if it happens again, tell the user."
)
ABSENT = (
    "The workspace agent is not connected. Try again in a moment; if it is still not there, use the stop_workspace "
    "tool, then the start_workspace tool."
)
NO_HOME = "The workspace agent has not connected yet, so that its home directory is not known. Try again in a moment."
REBUILT = (
    "The workspace was stopped or rebuilt while this was being done. It may have taken effect: find out before you "
    "repeat it."
)

NOTED = 60.0  # seconds
MOST_FILMS = 25  # that are handed over at once
MOST_NOTED = 10_000  # workspaces, agents

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for agents, in seconds."""

    validation: float = 5.0  # after which it is looked whether the agent is still the one
    dial: float = 30.0  # that an agent has to take a job up
    attention: float = 15.0  # after which it is looked whether an agent that has a job is still there
    lost: float = 45.0  # that an agent which has a job may be away
    attended: float = 50 * 60.0  # that a worker waits for a command before it lets nobody wait
    silent: float = 60.0  # that an agent which did not tell of its workspace is not asked again


class Refused(ToolFailed):
    """The agent could not, or would not: `kind` is its word for why."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Workshop:
    """The workspaces of chats, as the worker reaches them."""

    database: Database
    mailbox: Mailbox
    patience: Patience = Patience()
    secrets: Cipher | None = None
    temporal: Temporal | None = None
    noted: dict[UUID, float] = field(default_factory=dict)  # when a workspace's use was last written down
    films: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_FILMS))  # being handed over
    silences: dict[UUID, float] = field(default_factory=dict)  # since when an agent says nothing of its workspace

    @property
    def cipher(self) -> Cipher:
        """What the tokens of agents are sealed with."""
        assert self.secrets is not None
        return self.secrets

    async def begin_build(self, request: BuildRequest) -> None:
        """Have a build performed that was committed; should that be lost, the sweep finds it."""
        assert self.temporal is not None
        await self.temporal.build(request)

    async def used(self, workspace_id: UUID) -> None:
        """A chat works in it: it is not stopped meanwhile. Written down once a minute."""
        now = monotonic()
        if now - self.noted.get(workspace_id, -NOTED) < NOTED:
            return
        _note(self.noted, workspace_id, now)
        async with self.database.read() as session:
            await workspaces.used(session, workspace_id)

    def fell_silent(self, agent_id: UUID) -> None:
        """The agent was waited for in vain: for a while nobody waits for it again before a model's step."""
        _note(self.silences, agent_id, monotonic())

    def is_silent(self, agent_id: UUID) -> bool:
        """Was the agent waited for in vain a moment ago?"""
        since = self.silences.get(agent_id)
        return since is not None and monotonic() - since < self.patience.silent

    def existing(self, place: Place | None) -> Place:
        """The place, if the chat has one that is not deleted; raises ToolFailed."""
        return _there(place)

    def require_agent(self, place: Place | None) -> None:
        """Raise ToolFailed unless the agent of the chat's workspace is there."""
        agent = _agent(_there(place))
        if agent["status"] != "connected":
            raise ToolFailed(EXTERNAL if agent["external"] else ABSENT)

    async def ask(
        self,
        chat_id: UUID,
        job_id: UUID,
        kind: str,
        request: Mapping[str, Any],
        *,
        patience: float,
        said: Callable[[str], None] | None = None,
        harmless: bool = False,
        episode: Episode | None = None,
    ) -> dict[str, Any]:
        """What the chat's agent answers within so many seconds after it took the job up.

        Raises ToolFailed when it certainly did not happen or failed (Refused: the agent says so), ToolUnknown when
        nobody knows. What is `harmless` changes nothing, so that it failed where nobody knows. Only an attempt that is
        the chat's current one, as its `episode` says, asks an agent.
        """
        try:
            return _answer(await self._asked(chat_id, job_id, kind, request, patience, said, episode))
        except ToolUnknown:
            if harmless:
                raise ToolFailed(UNANSWERED) from None
            raise

    async def ask_for(
        self,
        chat_id: UUID,
        job_id: UUID,
        kind: str,
        request: Mapping[str, Any],
        *,
        patience: float,
        said: Callable[[str], None] | None = None,
        episode: Episode | None = None,
    ) -> dict[str, Any] | None:
        """The same, but None when the agent is still at it after so many seconds."""
        job = await self._asked(chat_id, job_id, kind, request, patience, said, episode)
        return _answer(job) if job.over else None

    async def _asked(
        self,
        chat_id: UUID,
        job_id: UUID,
        kind: str,
        request: Mapping[str, Any],
        patience: float,
        said: Callable[[str], None] | None,
        episode: Episode | None,
    ) -> Job:
        async with self.database.read() as session:
            place, job = await bindings.with_job(session, chat_id, job_id)
        if job is None:
            place = _there(place)
            agent = _agent(place)
            await self._bind(chat_id, place, agent["id"])
            await self.used(place.workspace_id)
            job = await self._post(chat_id, job_id, agent["id"], kind, request, episode)
            if not job.over:
                job = await self.mailbox.wait(job, self.patience.validation, said)
        if job.state == "queued":
            job = await self._dial(chat_id, job, said, episode)
        if not job.over:
            job = await self._attend(chat_id, job, patience, said)
        return job

    async def _post(
        self,
        chat_id: UUID,
        job_id: UUID,
        agent_id: UUID,
        kind: str,
        request: Mapping[str, Any],
        episode: Episode | None,
    ) -> Job:
        job = await self.mailbox.post(job_id, agent_id, kind, request, chat_id, episode)
        if job is None:
            raise ToolFailed(f"{STOPPED} {UNSENT}")
        return job

    async def _dial(self, chat_id: UUID, job: Job, said: Callable[[str], None] | None, episode: Episode | None) -> Job:
        """Wait until an agent has taken the job up. Nobody did: take it back, unless one does at this very moment."""
        try:
            job = await self._offered(chat_id, job, said, episode)
            if job.state != "queued":
                return job
            why = await self._diagnosis(chat_id)
        except ToolFailed as failed:
            why = str(failed)
        job = await self.mailbox.withdraw(job)
        if job.state == "canceled":
            raise ToolFailed(f"{why} {UNSENT}")
        return job

    async def _offered(
        self, chat_id: UUID, job: Job, said: Callable[[str], None] | None, episode: Episode | None
    ) -> Job:
        """Offer the job to the agent that the workspace has; it may have another one by now."""
        left = self.patience.dial - self.patience.validation
        while job.state == "queued" and left > 0:
            place = await self._place(chat_id)
            agent = _agent(place)
            if agent["id"] != job.agent_id:
                await self._bind(chat_id, place, agent["id"])
                job = await self._post(chat_id, job.id, agent["id"], job.kind, job.request, episode)
            job = await self.mailbox.wait(job, min(self.patience.validation, left), said)
            left -= self.patience.validation
        return job

    async def _attend(self, chat_id: UUID, job: Job, patience: float, said: Callable[[str], None] | None) -> Job:
        """Wait for a job that its agent has, as long as the agent is there or may come back."""
        loop = asyncio.get_running_loop()
        until, away_since = loop.time() + patience, None
        while not job.over and loop.time() < until:
            job = await self.mailbox.wait(job, min(self.patience.attention, until - loop.time()), said)
            if job.over:
                return job
            async with self.database.read() as session:
                place = await bindings.of(session, chat_id)
            known = next((agent for agent in place.agents if agent["id"] == job.agent_id), None) if place else None
            if known is None:
                job = (await self.mailbox.find(job)) if job.state == "delivered" else job
                if job.over:
                    return job
                raise ToolUnknown(REBUILT)
            if place is not None:
                await self.used(place.workspace_id)
            if known["status"] == "connected":
                away_since = None
            elif away_since is None:
                away_since = loop.time()
            elif loop.time() - away_since > self.patience.lost:
                raise ToolUnknown(AWAY)
        return job

    async def _diagnosis(self, chat_id: UUID) -> str:
        """Why an agent did not answer in time: two signals, and only then the advice to restart (runtime.md 11.3)."""
        agent = _agent(await self._place(chat_id))
        if agent["external"]:
            return EXTERNAL
        return DISCONNECTED if agent["status"] in ("disconnected", "timeout") else TIMED_OUT

    async def _place(self, chat_id: UUID) -> Place:
        async with self.database.read() as session:
            return _there(await bindings.of(session, chat_id))

    async def home(self, chat_id: UUID) -> str:
        """The home directory in the chat's workspace, as its agent has told it; raises ToolFailed without one."""
        agent = _agent(await self._place(chat_id))
        if not agent["home"]:
            raise ToolFailed(NO_HOME)
        return str(agent["home"])

    async def _bind(self, chat_id: UUID, place: Place, agent_id: UUID) -> None:
        if place.build_id is not None and (place.bound_build, place.bound_agent) != (place.build_id, agent_id):
            async with self.database.begin() as session:
                await bindings.bind(session, chat_id, build_id=place.build_id, agent_id=agent_id)


def _note(notes: dict[UUID, float], what: UUID, now: float) -> None:
    if len(notes) >= MOST_NOTED:
        notes.clear()
    notes[what] = now


def _there(place: Place | None) -> Place:
    """The place, if the chat has one that is not deleted; raises ToolFailed."""
    if place is None:
        raise ToolFailed(NO_WORKSPACE)
    if place.deleted:
        raise ToolFailed(DELETED)
    return place


def _agent(place: Place) -> Mapping[str, Any]:
    """The agent of the chat's workspace; raises ToolFailed when there is none."""
    if place.transition != "start" or place.build_status in ("failed", "canceled"):
        raise ToolFailed(NO_AGENT)
    try:
        agent = chosen(place.agents)
    except Ambiguous as several:
        raise ToolFailed(str(several)) from several
    if agent is None:
        raise ToolFailed(NO_AGENT)
    return agent


def _answer(job: Job) -> dict[str, Any]:
    if job.state == "canceled":
        raise ToolFailed(UNSENT)
    if job.state == "lost":
        raise ToolUnknown(REBUILT)
    if job.state != "done":
        raise ToolUnknown(SLOW)
    if job.error is not None:
        message, kind = str(job.error.get("message", "The agent failed.")), str(job.error.get("kind", "internal"))
        if kind == "lost":
            raise ToolUnknown(message)
        raise Refused(message, kind)
    return job.result or {}
