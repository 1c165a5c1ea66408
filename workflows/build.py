"""A build of a workspace: one effect, which whoever lives performs, and which a signal makes look whether to stop."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError

from models.steps import BuildReply, BuildRequest
from workflows import effects


@workflow.defn(name="WorkspaceBuild")
class WorkspaceBuild:
    """The build's row decides; a run only sees to it that somebody works at it until it is over."""

    def __init__(self) -> None:
        self._handle: workflow.ActivityHandle[BuildReply] | None = None
        self._stopping = False

    @workflow.run
    async def run(self, request: BuildRequest) -> str:
        while True:
            self._stopping = False
            self._handle = effects.build.start(request, summary=f"build {request.build_id}")
            try:
                reply = await self._handle
            except ActivityError as error:
                if not (self._stopping or isinstance(error.cause, CancelledError)):
                    raise
                continue  # nobody had begun, or a worker died of it: Temporal will not try again, the row decides
            return reply.note or reply.status

    @workflow.signal
    def cancel(self) -> None:
        """The row says that the build is to stop: its performer looks at once."""
        if self._handle is not None:
            self._stopping = True
            self._handle.cancel()
