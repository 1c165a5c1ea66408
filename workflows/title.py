"""Words for a chat, beside its turns: one effect that asks a model for a title or a label."""

from temporalio import workflow

from models.steps import TitleReply, TitleRequest
from workflows import effects


@workflow.defn(name="ChatTitle")
class ChatTitle:
    """Detached: no turn waits for it, and what it comes to changes none."""

    @workflow.run
    async def run(self, request: TitleRequest) -> TitleReply:
        return await effects.title.start(request, summary=request.naming.value)
