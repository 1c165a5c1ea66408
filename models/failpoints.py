"""Places where a crash test may kill the process, by name, exactly there."""

import os
import signal

NAMES = frozenset(
    {
        "api.before_nudge",  # committed, Temporal not told
        "worker.after_open",  # an attempt is open, the provider not called
        "worker.after_claim",  # a batch of tool calls is claimed, none has begun
        "worker.after_effect",  # a tool has done its work, the ledger does not know
        "worker.after_result",  # the ledger knows what came of a call, the chat does not
        "worker.before_commit",  # the whole answer is here, nothing committed
        "worker.after_commit",  # committed, Temporal not told
        "worker.after_delivery",  # a webhook has its event, the log does not know
        "worker.build_opened",  # a build is taken over, nothing of it is done
        "worker.before_build_end",  # a provisioner is done, the build is not
        "worker.before_interrupt_commit",  # the stream is cut, the partial not committed
    }
)


class Failpoints:
    """The armed failpoints of a process; an unknown name is refused at start."""

    def __init__(self, armed: frozenset[str]) -> None:
        unknown = armed - NAMES
        if unknown:
            raise ValueError(f"unknown failpoints: {', '.join(sorted(unknown))}; known: {', '.join(sorted(NAMES))}")
        self._armed = armed

    def hit(self, name: str) -> None:
        """Die here, without clean-up, if `name` is armed."""
        if name in self._armed:
            os.kill(os.getpid(), signal.SIGKILL)
