"""The scheduled sweep: one effect that finds work whose nudge was lost."""

from temporalio import workflow

from models.steps import SweepReply
from workflows import effects


@workflow.defn(name="Sweep")
class Sweep:
    """Runs every few seconds by schedule, and at each worker's start."""

    @workflow.run
    async def run(self, reason: str) -> SweepReply:
        return await effects.sweep.start(reason, summary=reason)
