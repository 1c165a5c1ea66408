"""The scheduled housekeeping: one job after the other; one that fails keeps no other from being done."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

from models.steps import HousekeepingRequest, Job
from workflows import effects


@workflow.defn(name="Housekeeping")
class Housekeeping:
    """Runs every few minutes by schedule. All its jobs go by one moment: the one at which the round began."""

    @workflow.run
    async def run(self, _reason: str) -> dict[str, int]:
        at, done, failed = workflow.now(), {}, []
        for job in Job:
            workflow.set_current_details(job.value)
            try:
                reply = await effects.housekeep.start(HousekeepingRequest(job, at), summary=job.value)
                done[job.value] = reply.done
            except ActivityError as error:
                if isinstance(error.cause, CancelledError):
                    raise
                failed.append(job.value)
        if failed:
            raise ApplicationError(f"failed: {', '.join(failed)}", done, type="HousekeepingFailed", non_retryable=True)
        return done
