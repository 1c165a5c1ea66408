"""Asking workspace agents: put a job into the mailbox, and wait for what comes of it, with its output as it happens."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

from models.store import mailbox
from models.store.database import Database
from models.store.mailbox import Job
from models.store.notices import JOBS, JobNotice
from models.store.stream import Episode

LOOK = 15.0  # seconds between two looks at a job, should a notice be lost

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a job."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    said: Callable[[str], None] | None = None
    heard: int = 0  # characters of the output


class Mailbox:
    """The worker's side of the mailbox. It listens from the first job on: without workspaces it costs nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: dict[UUID, set[Waiter]] = {}
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def post(
        self,
        job_id: UUID,
        agent_id: UUID,
        kind: str,
        request: Mapping[str, Any],
        chat_id: UUID,
        episode: Episode | None = None,
    ) -> Job | None:
        """Ask; a job of that id that there is already is the one. None when the chat has moved on from the episode."""
        await self._listen()
        async with self._database.begin() as session:
            return await mailbox.post(session, job_id, agent_id, kind, request, chat_id=chat_id, episode=episode)

    async def wait(self, job: Job, patience: float, said: Callable[[str], None] | None = None) -> Job:
        """The job when it is over, or as it stands after so many seconds; `said` hears its output, in order."""
        await self._listen()
        waiter = Waiter(said=said)
        self._waiters.setdefault(job.id, set()).add(waiter)
        until = monotonic() + patience
        try:
            while True:
                # Before the look: what is told during it is looked at again.
                waiter.news.clear()
                job = await self.find(job)
                left = until - monotonic()
                if job.over or left <= 0:
                    return job
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK)):
                        await waiter.news.wait()
        finally:
            waiters = self._waiters[job.id]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[job.id]

    async def withdraw(self, job: Job) -> Job:
        """Take the job back, or have the agent stop it; returns how it stands."""
        async with self._database.begin() as session:
            return await mailbox.withdraw(session, job.id) or job

    async def find(self, job: Job) -> Job:
        """The job as it stands."""
        async with self._database.read() as session:
            return (await mailbox.find(session, [job.id])).get(job.id, job)

    async def _listen(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="mailbox")
        await self._listening.wait()

    async def _follow(self) -> None:
        while True:
            try:
                async with aclosing(self._database.listen([JOBS])) as coming:
                    async for notice in coming:
                        if notice is None:
                            self._listening.set()
                            for waiters in self._waiters.values():
                                for waiter in waiters:
                                    waiter.news.set()
                        else:
                            self._hear(JobNotice.decode(notice.payload))
            except Exception:
                log.exception("the mailbox failed; it listens again")
                await asyncio.sleep(1)

    def _hear(self, notice: JobNotice) -> None:
        for waiter in tuple(self._waiters.get(notice.job_id, ())):
            if notice.text is None:
                waiter.news.set()
            elif waiter.said is not None and notice.offset >= waiter.heard:
                waiter.heard = notice.offset + len(notice.text)
                waiter.said(notice.text)
