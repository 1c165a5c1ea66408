"""How a method of the worker becomes the performer of an effect, and how its failures look to Temporal."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from models.errors import TurnstoneError, Unavailable
from workflows.effect import Effect

Self = TypeVar("Self")
Request = TypeVar("Request")
Reply = TypeVar("Reply")

PERFORMS = "__performs__"


def performs(
    effect: Effect[Request, Reply],
) -> Callable[[Callable[[Self, Request], Awaitable[Reply]]], Callable[[Self, Request], Awaitable[Reply]]]:
    """Register a method under its effect. A type checker refuses one whose request or reply differs.

    What is away is tried again; any other error of ours would only repeat itself, so Temporal is told not to.
    """

    def register(method: Callable[[Self, Request], Awaitable[Reply]]) -> Callable[[Self, Request], Awaitable[Reply]]:
        @wraps(method)
        async def perform(self: Self, request: Request) -> Reply:
            try:
                return await method(self, request)
            except TurnstoneError as failed:
                away = isinstance(failed, Unavailable)
                raise ApplicationError(str(failed), type=type(failed).__name__, non_retryable=not away) from failed

        registered = activity.defn(name=effect.name)(perform)
        setattr(registered, PERFORMS, effect)
        return registered

    return register


def performed(method: Any) -> Effect[Any, Any] | None:
    """The effect that a method performs, if it performs one."""
    found: Effect[Any, Any] | None = getattr(method, PERFORMS, None)
    return found
