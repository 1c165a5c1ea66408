"""The build effect: a provisioner does what the build says, its words go to the log, and the end to whoever waits."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from activities.attempt import for_the_chats_sake, heartbeats
from activities.patience import AWAY, patiently
from activities.performs import performs
from activities.provisioners import provisioner
from activities.provisioners.docker import Docker
from activities.provisioners.external import External
from activities.provisioners.local import Local
from activities.provisioners.provisioner import Agent, Provisioner, ProvisionFailed, State
from activities.resources import Resources
from models.errors import FenceLost, Unavailable
from models.settings import Settings
from models.steps import BuildReply, BuildRequest, Built, Note
from models.store import agents, build_logs, builds, prebuilds, presence
from models.store.database import Database, Row
from models.store.secrets import SecretUnreadable
from workflows import effects

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks whether the build is still ours, and wanted
FLUSH = 0.2  # seconds that a line waits for others
CLEAN_UP = 30.0  # seconds to take down what a failed start has left
CLOSING = 3.0  # seconds that a provisioner has to let go when the worker stops
CANCELED = "The build was canceled."


class Log:
    """Lines on their way to the database; who provisions never waits for it."""

    def __init__(self, database: Database, build_id: UUID) -> None:
        self._database = database
        self._build_id = build_id
        self._lines: list[tuple[str, str, str]] = []
        self._written = 0
        self._writing = asyncio.Lock()

    def __call__(self, output: str, *, stage: str = "", level: str = "info") -> None:
        self._lines += [(level, stage, line) for line in output.splitlines() or [""]]

    @asynccontextmanager
    async def kept(self) -> AsyncIterator["Log"]:
        """Write lines down until the block ends, then the last of them."""
        writing = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
            await self.flush()

    async def flush(self) -> None:
        """Write down what waits; while the database is away it waits on."""
        async with self._writing:  # what is on its way already is written, too, before this returns
            lines, self._lines = self._lines[: max(0, build_logs.MOST_LINES - self._written)], []
            if not lines:
                return
            try:
                async with self._database.begin() as session:
                    await build_logs.write(session, self._build_id, lines)
                self._written += len(lines)
            except AWAY:
                self._lines[:0] = lines

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            await self.flush()


class Building:
    """Performs the effect `build`."""

    def __init__(self, resources: Resources, provisioners: Mapping[str, Provisioner] | None = None) -> None:
        self._resources = resources
        self._provisioners = provisioners or configured(resources.settings)

    @performs(effects.build)
    async def build(self, request: BuildRequest) -> BuildReply:
        async with heartbeats():
            try:
                return await self._build(request)
            except AWAY as away:
                raise Unavailable(detail=str(away)) from away

    async def revive(self) -> None:
        """Agents of this machine that ended with it, or with a stack that was stopped, are started again."""
        async with self._resources.database.read() as session:
            running = await prebuilds.standing(session, "local")
        for row in running:
            try:
                await self._provisioners["local"].start(await self._gathered(row), _unsaid)
            except (ProvisionFailed, SecretUnreadable) as failed:
                log.info("workspace %s was not revived: %s", row["workspace_id"], failed)

    async def _build(self, request: BuildRequest) -> BuildReply:
        async with self._resources.database.begin() as session:
            row = await builds.open_attempt(session, request.build_id)
        reply = BuildReply(Built.OVER)
        if row is not None:
            self._resources.failpoints.hit("worker.build_opened")
            try:
                async with Log(self._resources.database, request.build_id).kept() as said:
                    reply = await self._attempt(row, said)
            except FenceLost:
                reply = BuildReply(Built.SUPERSEDED, Note.ANOTHERS)
        await self._wake(request.workspace_id)  # also where whoever ended it died before
        return reply

    async def _attempt(self, row: Row, said: Log) -> BuildReply:
        """Do it and write down what came of it; raises FenceLost when somebody else does."""
        doer = self._provisioners[row["provisioner"]]
        canceled = row["status"] == "canceling"
        error, code, state = CANCELED, "", None
        building = None
        try:
            building = await self._gathered(row)
            if not canceled:
                state = await self._until_over(row, doer, building, said)
            canceled = state is None
        except ProvisionFailed as failed:
            error, code = str(failed), failed.code
        except SecretUnreadable as unreadable:
            error = unreadable.message
        except (*AWAY, FenceLost):
            raise
        except Exception:  # a bug of ours ends the build with an error that people see
            log.exception("build %s failed unexpectedly", row["id"])
            error = "The provisioner failed unexpectedly."
        if state is not None:
            await said.flush()  # who hears of the end may read what was said before it
            return await self._finish(row, Built.SUCCEEDED, state=state)
        said(error, stage="end", level="warn" if canceled else "error")
        if row["transition"] == "start" and building is not None:
            await self._take_down(doer, building, said)
        await said.flush()
        return await self._finish(row, Built.CANCELED if canceled else Built.FAILED, error=error, error_code=code)

    async def _gathered(self, row: Row) -> provisioner.Building:
        async with self._resources.database.read() as session:
            made = await agents.of_builds(session, [row["id"]])
            tokens = await agents.tokens(session, self._resources.cipher, row["id"])
        return provisioner.Building(
            build_id=row["id"],
            workspace_id=row["workspace_id"],
            workspace_name=row["workspace_name"],
            owner_name=row["owner_name"] or "",
            spec=row["spec"],
            parameters=row["parameters"],
            state=row["state"] or {},
            agents=tuple(Agent(each["id"], each["name"], tokens[each["id"]], each["directory"]) for each in made),
        )

    async def _until_over(self, row: Row, doer: Provisioner, building: provisioner.Building, said: Log) -> State | None:
        """The new state of the workspace, None when the build is to stop; raises ProvisionFailed and FenceLost."""
        left = (self._resources.settings.build_timeout - (row["age"] or timedelta())).total_seconds()
        act = {"start": doer.start, "stop": doer.stop, "delete": doer.delete}[row["transition"]]
        work = asyncio.create_task(act(building, said))
        clock = asyncio.get_running_loop().time
        deadline, patience = clock() + left, CLEAN_UP
        try:
            while not work.done():
                try:
                    await asyncio.wait({work}, timeout=min(LOOK, max(0.0, deadline - clock())))
                except asyncio.CancelledError:
                    if not for_the_chats_sake():  # the worker stops: another one goes on with the build
                        patience = CLOSING
                        raise
                if work.done():
                    break
                if await self._standing(row) == "canceling":
                    return None
                if clock() >= deadline:
                    seconds = self._resources.settings.build_timeout.total_seconds()
                    raise ProvisionFailed(f"The build did not end within {seconds:g} seconds.", "BUILD_TIMEOUT")
            return work.result()
        finally:
            work.cancel()
            await asyncio.wait({work}, timeout=patience)

    async def _standing(self, row: Row) -> str:
        """The build's status; a database that is away says nothing."""
        try:
            async with self._resources.database.read() as session:
                return await builds.standing(session, row["id"], row["attempt"])
        except AWAY:
            return "running"

    async def _take_down(self, doer: Provisioner, building: provisioner.Building, said: Log) -> None:
        """A start that did not end well leaves nothing running."""
        try:
            async with asyncio.timeout(CLEAN_UP):
                await doer.stop(building, said)
        except (ProvisionFailed, TimeoutError) as failed:
            said(f"What was started could not be taken down: {failed}", stage="end", level="error")

    async def _finish(
        self, row: Row, status: Built, *, state: State | None = None, error: str = "", error_code: str = ""
    ) -> BuildReply:
        self._resources.failpoints.hit("worker.before_build_end")
        await patiently(
            self._resources.database,
            lambda session: builds.finish(
                session, row["id"], row["attempt"], status, state=state, error=error, error_code=error_code
            ),
        )
        return BuildReply(status)

    async def _wake(self, workspace_id: UUID) -> None:
        """Chats that wait for the workspace look again; one that is not told finds out by itself, later."""
        async with self._resources.database.read() as session:
            waiting = await presence.working_chats(session, workspace_id)
        for chat in waiting:  # of no version: it is not the chat that has changed
            await self._resources.temporal.nudge(chat["id"], chat["owner_id"], 0)


def _unsaid(output: str, *, stage: str = "", level: str = "info") -> None:
    log.debug("%s: %s", stage, output)


def configured(settings: Settings) -> dict[str, Provisioner]:
    """The provisioners of templates, by name."""
    return {"local": Local(settings), "docker": Docker(settings), "external": External()}
