"""A worker process whose tool acts on the world and kills it on the spot: `python -m tests.activities.doomed`."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

import psycopg
from pydantic import BaseModel

from activities.resources import open_resources
from activities.tools.registry import TOOLS, Toolbox
from activities.tools.tool import Tool, ToolContext
from activities.worker import make_runtime, make_workers
from models.rules.executions import Policy
from models.settings import Settings
from workflows.client import Temporal

WORLD = "CREATE TABLE effects (name text, key text, once_by text UNIQUE)"
ACT = "INSERT INTO effects VALUES (%s, %s, NULL)"
ACT_BY_KEY = "INSERT INTO effects VALUES (%s, %s, %s) ON CONFLICT (once_by) DO NOTHING"


class Act(BaseModel):
    """Do something to the world."""


def tools(database_url: str, *, deadly: bool) -> list[Tool]:
    """`once` and `again` act on the table of effects; a deadly `once` does not come back."""

    async def act(statement: Any, *values: str) -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(statement, values)

    async def once(_arguments: Act, context: ToolContext) -> Any:
        await act(ACT, "once", context.idempotency_key)
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    async def again(_arguments: Act, context: ToolContext) -> Any:
        await act(ACT_BY_KEY, "again", context.idempotency_key, context.idempotency_key)
        if deadly:
            await asyncio.Event().wait()
        return "done"

    return [Tool("once", Act, once, Policy.ONCE), Tool("again", Act, again, Policy.IDEMPOTENT)]


async def work(settings: Settings) -> None:
    async with AsyncExitStack() as opened:
        temporal = await Temporal.connect(settings, runtime=make_runtime(), lazy=False)
        toolbox = Toolbox((*TOOLS, *tools(settings.database_url, deadly=True)))
        resources = await opened.enter_async_context(open_resources(settings, temporal, toolbox))
        for each in make_workers(temporal.client, settings, resources):
            await opened.enter_async_context(each)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(Settings()))
