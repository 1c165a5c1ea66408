"""The worker process: wait for what it needs, poll until told to stop, hand the work over, end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

import psycopg
import uvloop
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.build import Building
from activities.patience import AWAY
from activities.resources import Resources, open_resources
from activities.worker import make_runtime, make_workers
from models.settings import Settings
from models.store.database import Database
from workflows.client import Temporal

log = logging.getLogger(__name__)

DATABASE_PATIENCE = 60.0  # seconds
SCHEDULE_INTERVAL = 60.0  # seconds between two looks at the sweep's schedule, should Temporal have lost it


def main(settings: Settings, *, ready: str | None = None) -> None:
    """Work until SIGTERM or SIGINT; create the file `ready` once polling. Does not return."""
    code = 1
    # A cancellation that meets a step which has just ended is nothing to warn of.
    warnings.filterwarnings("ignore", message="Cannot find activity to cancel")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_serve(settings, ready))
    except Exception:
        log.exception("the worker failed")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # The Temporal SDK's threads can abort an interpreter that finalises under them (sdk-python#300).
    os._exit(code)


async def _serve(settings: Settings, ready: str | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, _on_signal, stop)
    stopping = asyncio.create_task(stop.wait())
    if not await _database_answers(settings, stop):
        return 0 if stop.is_set() else 1
    temporal = await _connected(settings, stop)
    if temporal is None:
        return 0
    async with open_resources(settings, temporal) as resources:
        _serve_metrics(settings, resources)
        workers = make_workers(temporal.client, settings, resources)
        gc.freeze()  # what is loaded by now stays: collections need not walk it, and stop the streams while they do
        keeping = asyncio.create_task(_keep_schedule(temporal))
        reviving = asyncio.create_task(_revive(resources))
        try:
            return await _work(workers, stopping, resources, ready)
        finally:
            keeping.cancel()
            reviving.cancel()


async def _revive(resources: Resources) -> None:
    """Workspaces of this machine that should be running are; what cannot be helped now is left to the next start."""
    try:
        await Building(resources).revive()
    except AWAY as away:
        log.warning("agents of this machine were not looked after: %s", away)


def _serve_metrics(settings: Settings, resources: Resources) -> None:
    if settings.metrics_port is None:
        return
    try:
        resources.meters.serve(settings.host, settings.metrics_port)
    except OSError as taken:  # to be counted is no reason to stop working
        log.error("no metrics are served at port %d: %s", settings.metrics_port, taken)  # noqa: TRY400


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(130)  # asked twice: leave everything as it is; it is durable
    stop.set()


async def _work(workers: list[Worker], stopping: "asyncio.Task[bool]", resources: Resources, ready: str | None) -> int:
    running = [asyncio.create_task(worker.run()) for worker in workers]
    announcing = asyncio.create_task(_announce(workers, resources, ready))
    await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
    announcing.cancel()
    code = 0
    if not stopping.done():
        code = 1
        log.error("a worker ended by itself; the process ends too")
    await resources.ahead.leave()  # first: who takes over what this worker hands over need not wait for it
    await asyncio.gather(*(worker.shutdown() for worker in workers if worker.is_running), return_exceptions=True)
    for outcome in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(outcome, Exception):
            code = 1
            log.error("a worker failed", exc_info=outcome)
    return code


async def _announce(workers: list[Worker], resources: Resources, ready: str | None) -> None:
    await resources.control.listening()
    while not all(worker.is_running for worker in workers):  # noqa: ASYNC110 - the SDK has no event for it
        await asyncio.sleep(0.01)
    log.info("polling %s", ", ".join(worker.task_queue for worker in workers))
    if ready is not None:
        Path(ready).write_text("ready\n")  # noqa: ASYNC240 - once, a few bytes


async def _database_answers(settings: Settings, stop: asyncio.Event) -> bool:
    """Wait for the database; False if it does not come, or we are told to stop."""
    database = Database(settings.database_url, 1)
    clock = asyncio.get_running_loop().time
    deadline, said = clock() + DATABASE_PATIENCE, False
    while not stop.is_set():
        try:
            async with await database.connect():
                return True
        except psycopg.OperationalError as away:
            reason = str(away).strip().splitlines()[0]
            if clock() > deadline:
                log.error("the database did not answer for %d s: %s", DATABASE_PATIENCE, reason)  # noqa: TRY400
                return False
            if not said:
                log.warning("waiting for the database: %s", reason)
                said = True
        await asyncio.sleep(0.1)
    return False


async def _connected(settings: Settings, stop: asyncio.Event) -> Temporal | None:
    """A connection to Temporal, however long it takes; None if we are told to stop."""
    runtime, said = make_runtime(), False
    while not stop.is_set():
        try:
            async with asyncio.timeout(10):
                return await Temporal.connect(settings, runtime=runtime, lazy=False)
        except (RPCError, RuntimeError, TimeoutError) as away:
            if not said:
                log.warning("waiting for Temporal at %s: %s", settings.temporal_address, away)
                said = True
        await asyncio.sleep(0.2)
    return None


async def _keep_schedule(temporal: Temporal) -> None:
    """Sweep now, and see to it that the schedules exist as long as this worker lives."""
    first = True
    while True:
        with contextlib.suppress(RPCError, RuntimeError, TimeoutError):
            if first:
                await temporal.ensure_search_attributes()
            await temporal.ensure_schedule(now=first)
            await temporal.ensure_housekeeping()
            first = False
        await asyncio.sleep(1 if first else SCHEDULE_INTERVAL)
