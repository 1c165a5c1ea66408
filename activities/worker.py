"""Which workflows run and which effects are performed where: the explicit list, and the workers' patience."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import (
    PollerBehaviorSimpleMaximum,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
)

from activities.attend import Attendance
from activities.build import Building
from activities.compact import Compaction
from activities.deliver import Delivering
from activities.drive import Generation
from activities.housekeeping import Housekeeping
from activities.interrupt import Interruption
from activities.performs import performed
from activities.resources import Resources
from activities.sweep import Sweeping
from activities.title import Titling
from activities.use_tools import Tools
from models.settings import Settings
from workflows.effect import Queue
from workflows.sandbox import WORKFLOWS

# A cancellation reaches a worker with its answer to a heartbeat, where the server does not push it.
HEARTBEAT_THROTTLE = timedelta(seconds=2)
# A dead worker's runs go to another after this long; the SDK would wait 10 s.
STICKY_PATIENCE = timedelta(seconds=2)

WORKFLOW_POLLERS = 10

# Named, because the SDK would otherwise hash every loaded module to make up a name.
_DEPLOYMENT = WorkerDeploymentConfig(
    version=WorkerDeploymentVersion(deployment_name="turnstone", build_id="turnstone"), use_worker_versioning=False
)


def make_runtime() -> Runtime:
    """The SDK's runtime; worker heartbeats are what lets a server push a cancellation."""
    return Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=30))


def performers(resources: Resources) -> list[Callable[..., Any]]:
    """Every effect's performer."""
    generation = Generation(resources)
    resources.ahead.begin_with(generation.begin)
    return [
        generation.generate,
        Tools(resources).use_tools,
        Attendance(resources).attend,
        Compaction(resources).compact,
        Interruption(resources).interrupt,
        Sweeping(resources).sweep,
        Titling(resources).title,
        Housekeeping(resources).housekeep,
        Delivering(resources).deliver,
        Building(resources).build,
    ]


def make_workers(client: Client, settings: Settings, resources: Resources) -> list[Worker]:
    """One worker for each task queue; the model queue's runs the workflows too."""
    performing = performers(resources)
    slots = {
        Queue.MODEL: settings.model_slots,
        Queue.TOOLS: settings.tool_slots,
        Queue.CONTROL: settings.control_slots,
        Queue.BUILDS: settings.build_slots,
        Queue.ASIDE: settings.aside_slots,
    }
    return [
        Worker(
            client,
            task_queue=queue.beside(settings.task_queue),
            workflows=WORKFLOWS if queue is Queue.MODEL else (),
            activities=[method for method in performing if (effect := performed(method)) and effect.queue is queue],
            workflow_runner=UnsandboxedWorkflowRunner(),
            # A run's first task is never sticky: with the SDK's one poller for those, a burst of new turns waits.
            workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(WORKFLOW_POLLERS),
            nonsticky_to_sticky_poll_ratio=0.5,
            max_concurrent_activities=slots[queue],
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            sticky_queue_schedule_to_start_timeout=STICKY_PATIENCE,
            # Nothing is waited for: a stopping worker hands its steps over at once.
            graceful_shutdown_timeout=timedelta(),
            deployment_config=_DEPLOYMENT,
        )
        for queue in Queue
    ]
