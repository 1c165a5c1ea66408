"""An agent at work in a test's workspace, without a socket: it takes its jobs from the mailbox and answers them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

from models.store import mailbox, presence, secrets
from models.store.database import Database
from models.store.mailbox import Job
from tests.workplace import Workplace

Answers = Callable[[Job], dict[str, Any] | None]
"""The job's result, or {"error": …}; None: the agent says nothing."""


@asynccontextmanager
async def agent(database: Database, place: Workplace, answers: Answers) -> AsyncIterator[list[Job]]:
    """The agent is connected until the block ends; the jobs that it has been sent so far."""
    connection = uuid4()
    async with database.begin() as session:
        assert await presence.arrive(session, secrets.digest(place.token), connection, {}) is not None
    sent: list[Job] = []

    async def work() -> None:
        while True:
            async with database.begin() as session:
                jobs = await mailbox.take(session, place.agent_id, connection, again=False)
            for job in jobs:
                sent.append(job)
                answer = answers(job)
                if answer is None:
                    continue
                error = answer.get("error")
                async with database.begin() as session:
                    await mailbox.finish(session, place.agent_id, job.id, result=answer, error=error)
            await asyncio.sleep(0.02)

    working = asyncio.create_task(work())
    try:
        yield sent
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        async with database.begin() as session:
            await presence.leave(session, place.agent_id, connection)
