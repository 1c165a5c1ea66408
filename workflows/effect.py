"""How a workflow asks for a side effect: a declaration becomes a typed call of the activity of its name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Generic, TypeVar, get_type_hints

from temporalio import workflow
from temporalio.common import RetryPolicy

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Queue(StrEnum):
    """Which of the service's task queues performs an effect; the value is the suffix of the queue's name."""

    MODEL = ""  # where the workflows run too, so that Temporal can hand the effect over at once
    TOOLS = "-tools"
    CONTROL = "-control"  # what is short and must not wait behind what is long
    BUILDS = "-builds"  # of workspaces: minutes of waiting for others
    ASIDE = "-aside"  # what nobody's turn waits for: a few at a time, and a backlog harms nothing

    def beside(self, task_queue: str) -> str:
        """The name of this queue in the deployment whose workflows run on `task_queue`."""
        return task_queue + self.value


@dataclass(frozen=True, slots=True)
class Effect(Generic[Request, Reply]):
    """A side effect that workflows may ask for, and how long they wait for it."""

    name: str
    takes: type[Request]
    gives: type[Reply]
    timeout: timedelta
    heartbeat: timedelta | None
    attempts: int
    queue: Queue

    def start(self, request: Request, *, summary: str) -> workflow.ActivityHandle[Reply]:
        """Ask for the effect. Cancelling the handle asks it to stop; what it replies then still counts."""
        return workflow.start_activity(
            self.name,
            request,
            result_type=self.gives,
            task_queue=self.queue.beside(workflow.info().task_queue),
            start_to_close_timeout=self.timeout,
            heartbeat_timeout=self.heartbeat,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=200),
                backoff_coefficient=2,
                maximum_interval=timedelta(seconds=10),
                maximum_attempts=self.attempts,
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )


def effect(
    *, timeout: timedelta, attempts: int = 0, heartbeat: timedelta | None = None, queue: Queue = Queue.MODEL
) -> Callable[[Callable[[Request], Awaitable[Reply]]], Effect[Request, Reply]]:
    """Declare an effect by a function without a body; `attempts` 0 tries for ever."""

    def declare(promise: Callable[[Request], Awaitable[Reply]]) -> Effect[Request, Reply]:
        hints = get_type_hints(promise)
        gives = hints.pop("return")
        (takes,) = hints.values()
        return Effect(promise.__name__, takes, gives, timeout, heartbeat, attempts, queue)

    return declare
