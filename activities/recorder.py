"""Records model calls for debugging, where somebody asked for it: always beside the turn, never in its way.

Whether a call is recorded is decided once, from switches in memory. What is recorded is written by tasks of their own,
a few at once, each with a budget; one that fails or is late is given up, and the turn never hears of it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from activities.catalog import ReadyModel
from activities.draft import Draft
from activities.providers.provider import ModelRequest
from activities.providers.tape import Exchanged, Tape
from models.errors import FailureFacts, ProviderFailed
from models.rules import failures, redaction
from models.rules.moments import rfc3339
from models.settings import Settings
from models.steps import Outcome
from models.store import debug, switches
from models.store.database import Database
from models.store.switches import Switches

log = logging.getLogger(__name__)

BEGIN_BUDGET, END_BUDGET = 5.0, 10.0  # seconds
CLOSING_PATIENCE = 2.0  # seconds
TOGETHER = 2  # connections of the pool that recording may hold
MOST = 200  # calls recorded at once; more are not
STALE_AFTER = 30.0  # seconds, should a notice of a change be lost

Said = Callable[[], Mapping[str, Any]]

# Outcome of the call's commit → status of its step, status of its run.
STATUSES: Mapping[str, tuple[str, str]] = {
    Outcome.FINISHED: ("completed", "completed"),
    Outcome.FAILED: ("error", "error"),
    Outcome.INTERRUPTED: ("interrupted", "interrupted"),
    Outcome.REQUIRES_ACTION: ("completed", "in_progress"),
    Outcome.COMMITTED: ("completed", "in_progress"),
    Outcome.RETRY: ("in_progress", "in_progress"),
}
SUPERSEDED = ("interrupted", "in_progress")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a model call is for: chat_turn, compaction, title_generation or quickgen, in whose chat, and the newest
    message that it builds on."""

    kind: str
    chat_id: UUID
    owner_id: UUID
    tip: int | None = None

    @property
    def is_turn(self) -> bool:
        """Is it a step of a turn, whose run has several? Any other call is a run by itself."""
        return self.kind == "chat_turn"


class Recorder:
    """The worker's notebook of model calls."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._forced = settings.debug_logging
        self._known: Switches | None = None
        self._known_at = 0.0
        self._changes = 0
        self._looking = asyncio.Lock()
        self.slots = asyncio.Semaphore(TOGETHER)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Give what is being written a moment, then give it up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING_PATIENCE)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def forget(self) -> None:
        """Somebody's switch changed: look before the next decision."""
        self._known = None
        self._changes += 1

    async def recording(self, subject: Subject, model: ReadyModel, *, number: int = 1) -> "Recording | None":
        """Where to note a model call; None unless the chat's owner, or the deployment, wants it.

        `number` says which attempt at the same step it is.
        """
        if not self._forced and subject.owner_id not in (await self._owners()):
            return None
        if len(self._tasks) >= MOST:
            log.info("chat %s: a model call is not recorded, too many are being written", subject.chat_id)
            return None
        return Recording(self, subject, model, number)

    def spawn(self, work: Coroutine[Any, Any, Any], budget: float) -> "asyncio.Task[Any]":
        """Do it beside everything else, within the budget; what goes wrong is logged and forgotten."""

        async def best_effort() -> Any:
            try:
                async with asyncio.timeout(budget):
                    return await work
            except Exception as failed:
                log.info("a model call was not recorded: %s", type(failed).__name__)
                return None

        task = asyncio.create_task(best_effort(), name="recorder")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def begin(self, begun: debug.Begun) -> debug.Place | None:
        """Write that a call begins."""
        async with self._database.begin() as session:
            return await debug.begin(session, begun)

    async def end(self, place: debug.Place, ended: debug.Ended) -> None:
        """Write what a call came to."""
        async with self._database.begin() as session:
            await debug.end(session, place, ended)

    async def _owners(self) -> frozenset[UUID]:
        known = self._known
        if known is None:
            async with self._looking:
                known = self._known or await self._look()
        elif monotonic() - self._known_at > STALE_AFTER:
            self._known_at = monotonic()  # one look at a time
            self.spawn(self._look(), BEGIN_BUDGET)
        return known.owners

    async def _look(self) -> Switches:
        changes, found = self._changes, Switches()
        with suppress(Exception):
            async with asyncio.timeout(BEGIN_BUDGET), self._database.read() as session:
                found = await switches.load(session)
        if changes == self._changes:  # else it may be older than the change
            self._known, self._known_at = found, monotonic()
        return found


class Recording:
    """One model call: what was asked, what went over the wire, what was said, what it came to."""

    def __init__(self, recorder: Recorder, subject: Subject, model: ReadyModel, number: int) -> None:
        self._recorder = recorder
        self._subject = subject
        self._model = model
        self._number = number
        self._secrets = (model.api_key, *(each for each in model.settings.values() if isinstance(each, str)))
        self._tape = Tape()
        self._said: Said = dict
        self._error: dict[str, Any] | None = None
        self._begun_at = 0.0
        self._beginning: asyncio.Task[Any] | None = None

    def asked(self, request: ModelRequest, said: Said) -> ModelRequest:
        """Note the request; the one to send instead listens to the wire. `said` gives the answer when it is over."""
        self._said = said
        self._begun_at = monotonic()
        self._beginning = self._recorder.spawn(self._begin(request), BEGIN_BUDGET)
        return replace(request, tape=self._tape)

    def failed(self, facts: FailureFacts) -> None:
        """Note why there is no answer."""
        self._error = failures.classify(facts, self._model.provider_name).error()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For a call that is a run by itself: it is over when the block ends, and failed when the block fails."""
        outcome = ""
        try:
            yield
            outcome = Outcome.COMMITTED
        except ProviderFailed as failed:
            self.failed(failed.facts)
            outcome = Outcome.FAILED
            raise
        finally:
            self.end(outcome)

    def end(self, outcome: str) -> None:
        """The call is over, with this outcome of its commit; "" if it was overtaken."""
        if self._beginning is None:
            return
        beginning, self._beginning = self._beginning, None
        milliseconds = round((monotonic() - self._begun_at) * 1000)
        self._recorder.spawn(self._end(beginning, outcome, milliseconds), END_BUDGET)

    async def _begin(self, request: ModelRequest) -> debug.Place | None:
        async with self._recorder.slots:
            normalized = await asyncio.to_thread(redaction.document, _normalized(request), self._secrets)
            return await self._recorder.begin(
                debug.Begun(
                    self._subject.chat_id,
                    self._subject.kind,
                    "stream" if self._subject.is_turn else "generate",
                    normalized,
                    tip=self._subject.tip,
                    run_id=None if self._subject.is_turn else uuid7(),
                    model_config_id=self._model.model_config_id,
                    provider=self._model.provider,
                    model=self._model.model,
                    details={"provider_name": self._model.provider_name},
                )
            )

    async def _end(self, beginning: "asyncio.Task[Any]", outcome: str, milliseconds: int) -> None:
        place = await beginning
        if place is None:
            return
        async with self._recorder.slots:
            ended = await asyncio.to_thread(self._ended, outcome, dict(self._said()), milliseconds)
            await self._recorder.end(place, ended)

    def _ended(self, outcome: str, said: dict[str, Any], milliseconds: int) -> debug.Ended:
        step, run = STATUSES.get(outcome, SUPERSEDED)
        if self._error is not None and step == "completed":  # the attempt did something else instead
            step = "error"
        if not self._subject.is_turn:  # the call is the whole run
            run = step
        usage = said.pop("usage", None)
        attempts = [self._attempt(each) for each in self._tape.exchanges] or [{"duration_ms": milliseconds}]
        error = redaction.document(self._error, self._secrets) if self._error is not None else None
        for attempt in attempts:
            attempt |= {"number": self._number, "status": step if error is None else "error"}
        if error is not None:
            attempts[-1].setdefault("error", error.get("message", ""))
        response = redaction.document(said, self._secrets) if said else None
        return debug.Ended(step, run, response, usage, error, attempts)

    def _attempt(self, each: Exchanged) -> dict[str, Any]:
        secrets = self._secrets
        shown: dict[str, Any] = {
            "method": each.method,
            "url": redaction.text(each.url, secrets),
            "started_at": rfc3339(each.started_at),
            "request_headers": redaction.headers(each.request_headers, secrets),
            "request_body": redaction.body(each.request_body, secrets, complete=each.request_whole),
        }
        if each.finished_at is not None:
            shown["finished_at"] = rfc3339(each.finished_at)
            shown["duration_ms"] = round((each.finished_at - each.started_at).total_seconds() * 1000)
        if each.status is not None:
            shown["response_status"] = each.status
            shown["response_headers"] = redaction.headers(each.response_headers, secrets)
            if each.response_body:  # litellm reads some answers by itself
                whole = each.response_whole
                shown["response_body"] = redaction.body(bytes(each.response_body), secrets, complete=whole)
        if each.error:
            shown["error"] = redaction.short(redaction.text(each.error, secrets), 4000)
        return shown


def said_in(draft: Draft) -> dict[str, Any]:
    """What a draft holds, as a recording keeps it."""
    said: dict[str, Any] = {"content": draft.parts()}
    if draft.finished is not None:
        said |= {"finish_reason": draft.finished.reason, "response_id": draft.finished.response_id}
    if draft.usage is not None:
        said["usage"] = asdict(draft.usage)
    return said


def _normalized(request: ModelRequest) -> dict[str, Any]:
    shown: dict[str, Any] = {"model": request.model, "messages": list(request.messages)}
    if request.tools:
        shown["tools"] = list(request.tools)
    if request.tool_choice:
        shown["tool_choice"] = request.tool_choice
    return shown | {"options": dict(request.call_config)}
