"""The walls around workflow code: the SDK's sandbox, with what only declares passed through."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workflows.sweep import Sweep
from workflows.turn import ChatTurn

WORKFLOWS: tuple[type, ...] = (ChatTurn, Sweep)

# The sandbox imports everything else anew for each run: passing these through halves a run's CPU.
DECLARATIVE = ("models", "workflows.effect", "workflows.effects")


def runner() -> SandboxedWorkflowRunner:
    """What workers and replays run workflows with."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*DECLARATIVE))
