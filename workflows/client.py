"""Temporal in our words: workflow ids, nudges, what a run is doing, the sweep's schedule. It never fails a caller."""

import asyncio
import logging  # noqa: TID251 - runs in the API and the worker, never in a workflow
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from temporalio.api.enums.v1 import IndexedValueType, PendingActivityState
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from models.errors import Unavailable
from models.settings import Settings
from models.steps import BuildRequest, DeliveryRequest, Naming, Note, TitleOutcome, TitleReply, TitleRequest, TurnInput
from workflows.build import WorkspaceBuild
from workflows.delivery import WebhookDelivery
from workflows.housekeeping import Housekeeping
from workflows.sweep import Sweep
from workflows.title import ChatTitle
from workflows.turn import ChatTurn, TurnState

log = logging.getLogger(__name__)

RPC_TIMEOUT = timedelta(seconds=5)
QUERY_TIMEOUT = timedelta(seconds=1)
# A worker that dies with a run's task in its hands is given up after this long; the server would wait 10 s.
TASK_PATIENCE = timedelta(seconds=5)
TITLE_LIFE = timedelta(minutes=10)  # of a search that nobody waits for
TITLE_PATIENCE = timedelta(seconds=45)  # of a person; less than a title stays locked
LAST = 5  # Temporal's lowest priority
SWEEP = "turnstone-sweep"
HOUSEKEEPING = "turnstone-housekeeping"
AWAY = "Temporal is away."

CHAT = SearchAttributeKey.for_keyword("ChatId")
OWNER = SearchAttributeKey.for_keyword("OwnerId")

SIGNALS = frozenset(
    {"message_queued", "queue_changed", "interrupt_requested", "history_edited", "tool_results_submitted", "woken"}
)


def workflow_id(chat_id: UUID) -> str:
    """The one workflow id of a chat: Temporal runs at most one workflow under it."""
    return f"chat-{chat_id}"


def title_workflow_id(chat_id: UUID, naming: Naming) -> str:
    """Under which id words for a chat are sought: one search for its title at a time, and one for its label."""
    return f"{'label' if naming is Naming.LABEL else 'title'}-{chat_id}"


def delivery_workflow_id(request: DeliveryRequest) -> str:
    """Under which id an event goes to an endpoint: it is on its way once at a time."""
    return f"{request.kind}-{request.endpoint_id}-{request.delivery_id}"


def build_workflow_id(build_id: UUID) -> str:
    """Under which id a build is performed: once at a time."""
    return f"build/{build_id}"


class Temporal:
    """A process's way to Temporal. Opening it needs no server; each call says by itself that the server is away."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self.client = client
        self._attributes = True

    @classmethod
    async def connect(cls, settings: Settings, *, runtime: Runtime | None = None, lazy: bool = True) -> "Temporal":
        """Open the way; unless `lazy`, raises when there is no server (a worker needs one)."""
        client = await Client.connect(
            settings.temporal_address, namespace=settings.temporal_namespace, lazy=lazy, runtime=runtime
        )
        return cls(settings, client)

    async def close(self) -> None:
        """Forget the client; the SDK closes its connection with its last reference."""

    async def nudge(self, chat_id: UUID, owner_id: UUID, snapshot_version: int, *, signal: str = "woken") -> None:
        """Tell the chat's workflow, starting one if none runs, that the chat is now at this version.

        `interrupt_requested` and `history_edited` also stop the running step. Failures are logged: the sweep repairs.
        """
        await self.nudged(chat_id, owner_id, snapshot_version, signal=signal)

    async def nudged(self, chat_id: UUID, owner_id: UUID, snapshot_version: int, *, signal: str = "woken") -> bool:
        """Nudge, and say whether Temporal took it."""
        if signal not in SIGNALS:
            raise ValueError(f"unknown signal {signal}")
        try:
            await self._attributed(lambda: self._start(chat_id, owner_id, snapshot_version, signal=signal))
        except (RPCError, RuntimeError, TimeoutError) as away:
            log.warning("chat %s was not nudged (%s); the sweep will find it: %s", chat_id, signal, away)
            return False
        return True

    async def begin(self, chat_id: UUID, owner_id: UUID, snapshot_version: int) -> bool:
        """Start the run of a chat that this worker is at already, whose first tasks then come to it at once.

        A run that is there is told instead. Says whether Temporal took it; the sweep repairs.
        """
        try:
            await self._attributed(lambda: self._start(chat_id, owner_id, snapshot_version, eager=True))
        except WorkflowAlreadyStartedError:
            return await self.nudged(chat_id, owner_id, snapshot_version)
        except (RPCError, RuntimeError, TimeoutError) as away:
            log.warning("the run of chat %s was not started; the sweep will find it: %s", chat_id, away)
            return False
        return True

    async def _attributed(self, start: Callable[[], Awaitable[None]]) -> None:
        """Start a run; one without our search attributes where the server has none: its UI cannot filter by chat."""
        try:
            await start()
        except RPCError as refused:
            if refused.status is not RPCStatusCode.INVALID_ARGUMENT or not self._attributes:
                raise
            self._attributes = False
            await start()

    async def _start(
        self, chat_id: UUID, owner_id: UUID, version: int, *, signal: str | None = None, eager: bool = False
    ) -> None:
        attributes = [SearchAttributePair(CHAT, str(chat_id)), SearchAttributePair(OWNER, str(owner_id))]
        async with asyncio.timeout(RPC_TIMEOUT.total_seconds() + 1):
            await self.client.start_workflow(
                ChatTurn.run,
                TurnInput(chat_id, version, owner_id),
                id=workflow_id(chat_id),
                task_queue=self._settings.task_queue,
                start_signal=signal,
                start_signal_args=[] if signal is None else [version],
                static_summary=f"a turn of chat {chat_id}",
                search_attributes=TypedSearchAttributes(attributes) if self._attributes else None,
                priority=Priority(fairness_key=str(owner_id)),
                task_timeout=TASK_PATIENCE,
                rpc_timeout=RPC_TIMEOUT,
                request_eager_start=eager,
            )

    async def start_title(self, request: TitleRequest, owner_id: UUID) -> bool:
        """Have words sought for a chat beside its turns, unless that goes on already. A failure is logged, no more."""
        try:
            await self._start_title(request, owner_id, WorkflowIDConflictPolicy.USE_EXISTING, TITLE_LIFE)
        except (RPCError, RuntimeError, TimeoutError) as away:
            log.info("chat %s: no %s words are sought: %s", request.chat_id, request.naming.value, away)
            return False
        return True

    async def title(self, request: TitleRequest, owner_id: UUID) -> TitleReply:
        """Have a title sought that a person waits for, instead of any sought by itself; raises Unavailable."""
        try:
            handle = await self._start_title(
                request, owner_id, WorkflowIDConflictPolicy.TERMINATE_EXISTING, TITLE_PATIENCE
            )
        except (RPCError, RuntimeError, TimeoutError) as away:
            raise Unavailable("Chat processor is unavailable.", AWAY) from away
        try:
            async with asyncio.timeout(TITLE_PATIENCE.total_seconds() + 1):
                return await handle.result()
        except (WorkflowFailureError, RPCError, RuntimeError, TimeoutError) as failed:
            log.warning("chat %s: its title was not found: %s", request.chat_id, failed)
            return TitleReply(TitleOutcome.FAILED, note=Note.NO_WORKER)

    async def _start_title(
        self, request: TitleRequest, owner_id: UUID, conflict: WorkflowIDConflictPolicy, life: timedelta
    ) -> WorkflowHandle[ChatTitle, TitleReply]:
        async with asyncio.timeout(RPC_TIMEOUT.total_seconds() + 1):
            return await self.client.start_workflow(
                ChatTitle.run,
                request,
                id=title_workflow_id(request.chat_id, request.naming),
                task_queue=self._settings.task_queue,
                id_conflict_policy=conflict,
                execution_timeout=life,
                static_summary=f"{request.naming.value}: words for chat {request.chat_id}",
                # A title that a person waits for goes as a turn does, the others after everything else.
                priority=Priority(priority_key=None if request.lock else LAST, fairness_key=str(owner_id)),
                rpc_timeout=RPC_TIMEOUT,
            )

    async def deliver(self, request: DeliveryRequest, *, afresh: bool = False) -> bool:
        """Have an event delivered, unless that goes on already; `afresh` begins with all attempts anew.

        A failure is logged: the sweep finds what is due.
        """
        conflict = WorkflowIDConflictPolicy.TERMINATE_EXISTING if afresh else WorkflowIDConflictPolicy.USE_EXISTING
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds() + 1):
                await self.client.start_workflow(
                    WebhookDelivery.run,
                    request,
                    id=delivery_workflow_id(request),
                    task_queue=self._settings.task_queue,
                    id_conflict_policy=conflict,
                    static_summary=f"delivery {request.delivery_id} to {request.kind} {request.endpoint_id}",
                    priority=Priority(priority_key=LAST, fairness_key=str(request.endpoint_id)),
                    rpc_timeout=RPC_TIMEOUT,
                )
        except (RPCError, RuntimeError, TimeoutError) as away:
            log.warning("delivery %d was not begun; the sweep will find it: %s", request.delivery_id, away)
            return False
        return True

    async def build(self, request: BuildRequest, *, cancel: bool = False) -> bool:
        """Have a build performed, unless that goes on already; `cancel` tells its run to look whether to stop.

        A failure is logged: the sweep finds what is under way.
        """
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds() + 1):
                await self.client.start_workflow(
                    WorkspaceBuild.run,
                    request,
                    id=build_workflow_id(request.build_id),
                    task_queue=self._settings.task_queue,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    start_signal="cancel" if cancel else None,
                    static_summary=f"build {request.build_id} of workspace {request.workspace_id}",
                    priority=Priority(fairness_key=str(request.workspace_id)),
                    task_timeout=TASK_PATIENCE,
                    rpc_timeout=RPC_TIMEOUT,
                )
        except (RPCError, RuntimeError, TimeoutError) as away:
            log.warning("build %s was not begun; the sweep will find it: %s", request.build_id, away)
            return False
        return True

    async def explain(self, chat_id: UUID) -> dict[str, Any]:
        """What the chat's latest run is doing, for people; `available` is false while Temporal is away."""
        handle: WorkflowHandle[ChatTurn, str] = self.client.get_workflow_handle_for(ChatTurn.run, workflow_id(chat_id))
        told: dict[str, Any] = {"available": True, "workflow_id": handle.id, "running": False}
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                described = await handle.describe(rpc_timeout=QUERY_TIMEOUT * 2)
        except (RPCError, RuntimeError, TimeoutError) as failed:
            if isinstance(failed, RPCError) and failed.status is RPCStatusCode.NOT_FOUND:
                return told
            log.warning("chat %s: Temporal did not say what its run is doing: %s", chat_id, failed)
            return told | {"available": False, "error": AWAY}
        running = described.status is WorkflowExecutionStatus.RUNNING
        told |= {
            "running": running,
            "status": described.status.name.lower() if described.status else "unknown",
            "run_id": described.run_id,
            "started_at": described.start_time.isoformat(),
            "closed_at": described.close_time.isoformat() if described.close_time else None,
            "history_length": described.history_length,
            "pending_activities": [_activity(pending) for pending in described.raw_description.pending_activities],
        }
        if self._settings.temporal_ui_url:
            told["ui_url"] = self._link(described)
        if running:
            told["state"] = await self._state(handle)
        return told

    async def _state(self, handle: WorkflowHandle[ChatTurn, str]) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT.total_seconds()):
                state: TurnState = await handle.query(ChatTurn.state, rpc_timeout=QUERY_TIMEOUT)
        except (RPCError, RuntimeError, TimeoutError):
            return None  # no worker is there to answer
        return asdict(state)

    def _link(self, described: WorkflowExecutionDescription) -> str:
        base = self._settings.temporal_ui_url.rstrip("/")
        name = quote(described.id, safe="")
        return f"{base}/namespaces/{self._settings.temporal_namespace}/workflows/{name}/{described.run_id}/history"

    async def healthy(self) -> bool:
        """Does the server answer, and does it hold our namespace?"""
        try:
            async with asyncio.timeout(2):
                return await self.client.service_client.check_health(timeout=timedelta(seconds=2))
        except (RPCError, RuntimeError, TimeoutError):
            return False

    async def running_chats(self) -> set[UUID]:
        """Chats that a workflow drives now; raises RPCError when Temporal is away."""
        query = "WorkflowType = 'ChatTurn' AND ExecutionStatus = 'Running'"
        found = set()
        async for execution in self.client.list_workflows(query, rpc_timeout=RPC_TIMEOUT):
            try:
                found.add(UUID(execution.id.removeprefix("chat-")))
            except ValueError:
                continue
        return found

    async def ensure_schedule(self, *, now: bool = True) -> None:
        """The sweep's schedule exists and has the configured interval; with `now` it sweeps at once as well."""
        wanted = Schedule(
            action=ScheduleActionStartWorkflow(
                Sweep.run, "every few seconds", id=SWEEP, task_queue=self._settings.task_queue
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=self._settings.sweep_interval)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
        )
        made = await self._ensure(SWEEP, wanted, begin=now)
        if now and not made:
            await self.client.get_schedule_handle(SWEEP).trigger(rpc_timeout=RPC_TIMEOUT)

    async def ensure_housekeeping(self) -> None:
        """The housekeeping's schedule exists and has the configured interval; a new one begins at once."""
        every = self._settings.housekeeping_interval
        wanted = Schedule(
            action=ScheduleActionStartWorkflow(
                Housekeeping.run, "every few minutes", id=HOUSEKEEPING, task_queue=self._settings.task_queue
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)], jitter=every / 10),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
        )
        await self._ensure(HOUSEKEEPING, wanted)

    async def _ensure(self, schedule_id: str, wanted: Schedule, *, begin: bool = True) -> bool:
        """The schedule exists as wanted, one that is new with its first run. Was it made just now?"""
        try:
            await self.client.create_schedule(schedule_id, wanted, trigger_immediately=begin, rpc_timeout=RPC_TIMEOUT)
        except ScheduleAlreadyRunningError:

            def update(found: ScheduleUpdateInput) -> ScheduleUpdate | None:
                same = found.description.schedule.spec.intervals == wanted.spec.intervals
                return None if same else ScheduleUpdate(wanted)

            await self.client.get_schedule_handle(schedule_id).update(update, rpc_timeout=RPC_TIMEOUT)
            return False
        return True

    async def ensure_search_attributes(self) -> None:
        """Register what the UI filters by, where the server lets us; without them the turns run all the same."""
        request = AddSearchAttributesRequest(
            namespace=self._settings.temporal_namespace,
            search_attributes={key.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD for key in (CHAT, OWNER)},
        )
        try:
            await self.client.operator_service.add_search_attributes(request, timeout=RPC_TIMEOUT)
        except RPCError as refused:
            if refused.status is not RPCStatusCode.ALREADY_EXISTS:
                log.info("search attributes were not registered: %s", refused)


def _activity(pending: PendingActivityInfo) -> dict[str, Any]:
    # An exception's kind and not its words, which may name hosts; what the server says of a timeout has no kind.
    last = pending.last_failure
    failure = (last.application_failure_info.type or last.message) if pending.HasField("last_failure") else None
    return {
        "effect": pending.activity_type.name,
        "state": PendingActivityState.Name(pending.state).removeprefix("PENDING_ACTIVITY_STATE_").lower(),
        "attempt": pending.attempt,
        "last_failure": failure,
        "worker": pending.last_worker_identity,
    }
