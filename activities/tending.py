"""What the sweep does for workspaces: builds that nobody began, deadlines, pools of workspaces, old logs."""

import asyncio
import logging
import secrets
import time
from datetime import timedelta
from uuid import UUID

from activities.patience import AWAY
from activities.resources import Resources
from models.errors import Conflict, Invalid, NotFound, Precondition
from models.steps import BuildRequest
from models.store import agents, build_logs, builds, prebuilds

log = logging.getLogger(__name__)

MOST = 200  # builds looked at in one sweep
MOST_BEGUN = 20  # of each kind
BUILDING_AT_ONCE = 3  # of one preset
TOGETHER = 20
LOGS_LIVE = timedelta(days=30)
PURGE_EVERY = 3600.0  # seconds


class Tending:
    """Looks after workspaces; what fails is logged, and found again by the next sweep."""

    def __init__(self, resources: Resources, *, starts: bool = True) -> None:
        self._resources = resources
        self._starts = starts
        self._purge_at = time.monotonic()

    async def tend(self) -> int:
        """How many builds this round has begun."""
        begun = 0
        try:
            begun += await self._stop_overdue()
            begun += await self._keep_pools()
            if self._starts:
                await self._begin_lost()
            await self._purge()
        except AWAY:
            raise
        except Precondition as missing:  # without keys there are no tokens for agents
            log.warning("workspaces were not looked after: %s", missing)
        except Exception:  # the sweep has other things to do
            log.exception("workspaces were not looked after")
        return begun

    async def _begin_lost(self) -> None:
        async with self._resources.database.read() as session:
            waiting = await builds.under_way(session, MOST)
        limit = asyncio.Semaphore(TOGETHER)

        async def begin(request: BuildRequest) -> None:
            async with limit:
                await self._resources.temporal.build(request)

        await asyncio.gather(*map(begin, waiting))

    async def _stop_overdue(self) -> int:
        async with self._resources.database.read() as session:
            overdue = await prebuilds.overdue(session, MOST_BEGUN)
        begun = 0
        for workspace_id in overdue:
            try:
                async with self._resources.database.begin() as session:
                    stop = await prebuilds.stop_overdue(session, self._resources.cipher, workspace_id)
            except (Conflict, NotFound):  # somebody else does something with it
                continue
            begun += stop is not None
        return begun

    async def _keep_pools(self) -> int:
        """Too few are built, too many deleted; by one worker at a time, in short transactions under one lock."""
        begun = 0
        async with self._resources.database.read() as session:
            wanted = await prebuilds.missing(session, BUILDING_AT_ONCE)
            surplus = await prebuilds.surplus(session, MOST_BEGUN)
        for each in wanted[:MOST_BEGUN]:
            try:
                begun += await self._fill(each.preset_id)
            except Invalid as unfit:  # its template was deprecated just now
                log.info("preset %s is not kept ready: %s", each.preset_id, unfit)
        for workspace_id in surplus:
            begun += await self._drop(workspace_id)
        return begun

    async def _fill(self, preset_id: UUID) -> int:
        made = 0
        async with self._resources.database.begin() as session:
            if not await prebuilds.hold(session):
                return 0
            for wanted in await prebuilds.missing(session, BUILDING_AT_ONCE):
                if wanted.preset_id != preset_id:
                    continue
                for _ in range(wanted.count):
                    await prebuilds.make(session, self._resources.cipher, wanted, f"prebuild-{secrets.token_hex(4)}")
                    made += 1
        return made

    async def _drop(self, workspace_id: UUID) -> int:
        try:
            async with self._resources.database.begin() as session:
                return int(await prebuilds.drop(session, self._resources.cipher, workspace_id) is not None)
        except (Conflict, NotFound):
            return 0

    async def _purge(self) -> None:
        if time.monotonic() < self._purge_at:
            return
        self._purge_at = time.monotonic() + PURGE_EVERY
        async with self._resources.database.begin() as session:
            await build_logs.purge(session, LOGS_LIVE)
        async with self._resources.database.begin() as session:
            await agents.purge_logs(session, LOGS_LIVE)
