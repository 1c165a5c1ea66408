"""Many questions asked at once become few statements: what keeps a storm of arrivals from the connections of others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """Asks at once when nobody else does; what is asked while `at_once` statements run goes into the next, together."""

    def __init__(self, answer: Callable[[list[Q]], Awaitable[Sequence[A]]], *, at_once: int, most: int) -> None:
        self._answer = answer
        self._at_once = at_once
        self._most = most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> A:
        """The answer to one question; raises what its statement raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if len(self._running) < self._at_once:
            self._running.add(asyncio.create_task(self._run()))
        return await future

    async def _run(self) -> None:
        try:
            await self._ask_all()
        finally:  # here and not when the task is done: whoever asks in between would wait for nobody
            task = asyncio.current_task()
            assert task is not None
            self._running.discard(task)

    async def _ask_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            batch = [each for each in batch if not each[1].done()]  # nobody waits for the others any more
            if not batch:
                continue
            try:
                answers = await self._answer([question for question, _ in batch])
            except Exception as failure:  # whoever asked decides what it means
                for _, future in batch:
                    if not future.done():
                        future.set_exception(failure)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
