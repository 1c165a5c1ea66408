"""The walls around workflow code: the SDK's sandbox, with what only declares passed through."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workflows.build import WorkspaceBuild
from workflows.delivery import WebhookDelivery
from workflows.housekeeping import Housekeeping
from workflows.sweep import Sweep
from workflows.title import ChatTitle
from workflows.turn import ChatTurn

WORKFLOWS: tuple[type, ...] = (ChatTurn, ChatTitle, Sweep, Housekeeping, WebhookDelivery, WorkspaceBuild)

# The sandbox imports everything else anew for each run: passing these through halves a run's CPU.
DECLARATIVE = ("models", "workflows.effect", "workflows.effects")


def runner() -> SandboxedWorkflowRunner:
    """What tests and replays run workflows with.

    Workers run them bare: the sandbox imports the workflow anew for each run, which cost 5-9 ms of CPU a turn
    (docs/decisions/0007). What it guards against is caught before a release, here and by the linter.
    """
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*DECLARATIVE))
