"""A ChatTurn that somebody changed carelessly: it asks for another effect first."""

from temporalio import workflow

from models.steps import StepRequest, TurnInput
from workflows import effects


@workflow.defn(name="ChatTurn")
class ChangedTurn:
    @workflow.run
    async def run(self, turn: TurnInput) -> str:
        return (await effects.interrupt.start(StepRequest(turn.chat_id), summary="first")).note

    @workflow.signal
    def message_queued(self, snapshot_version: int) -> None:
        """Heard, and ignored."""
