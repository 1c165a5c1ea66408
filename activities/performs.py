"""How a method of the worker becomes the performer of an effect, and how its failures look to Temporal."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, FailureError

from models.errors import TurnstoneError, Unavailable
from workflows.effect import Effect

log = logging.getLogger(__name__)

Self = TypeVar("Self")
Request = TypeVar("Request")
Reply = TypeVar("Reply")

PERFORMS = "__performs__"


def performs(
    effect: Effect[Request, Reply],
) -> Callable[[Callable[[Self, Request], Awaitable[Reply]]], Callable[[Self, Request], Awaitable[Reply]]]:
    """Register a method under its effect. A type checker refuses one whose request or reply differs.

    What is away is tried again; any other error of ours would only repeat itself, so Temporal is told not to. It keeps
    histories in the clear, so it is told what kind of failure it was and not its words: those may be a person's, or
    repeat a key.
    """

    def register(method: Callable[[Self, Request], Awaitable[Reply]]) -> Callable[[Self, Request], Awaitable[Reply]]:
        @wraps(method)
        async def perform(self: Self, request: Request) -> Reply:
            try:
                return await method(self, request)
            except TurnstoneError as failed:
                away = isinstance(failed, Unavailable)
                raise _told(failed, failed.default_message, is_final=not away) from None
            except FailureError:
                raise
            except Exception as failed:
                log.exception("the effect %s failed", effect.name)
                raise _told(failed, "The worker's log says more.", is_final=False) from None

        registered = activity.defn(name=effect.name)(perform)
        setattr(registered, PERFORMS, effect)
        return registered

    return register


def _told(failed: Exception, message: str, *, is_final: bool) -> ApplicationError:
    return ApplicationError(message, type=type(failed).__name__, non_retryable=is_final)


def performed(method: Any) -> Effect[Any, Any] | None:
    """The effect that a method performs, if it performs one."""
    found: Effect[Any, Any] | None = getattr(method, PERFORMS, None)
    return found
