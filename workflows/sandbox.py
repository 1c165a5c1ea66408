"""The walls around workflow code: the SDK's sandbox, with `models` passed through because it cannot act."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workflows.sweep import Sweep
from workflows.turn import ChatTurn

WORKFLOWS: tuple[type, ...] = (ChatTurn, Sweep)


def runner() -> SandboxedWorkflowRunner:
    """What workers and replays run workflows with."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules("models"))
