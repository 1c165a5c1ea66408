"""How open calls are answered that will not run any more: honestly, where the ledger has them."""

from collections.abc import Sequence
from uuid import UUID

from models.parts import Part, tool_result
from models.rules import executions, history, tool_results
from models.store import ledger, mailbox
from models.store.moves.record import StepRow
from models.store.session import Session


async def answers(session: Session, chat_id: UUID, transcript: Sequence[history.Row], why: str) -> list[StepRow]:
    """A result for each open call, in call order: what the ledger holds, that nobody knows, or an error that says why.

    The chat is locked. Without open calls of ours nothing is asked.
    """
    opened = history.open_calls(transcript)
    message = next((row.get("id") for row in reversed(transcript) if row["role"] == "assistant"), None)
    local = history.local(opened) if message is not None else []
    known: dict[str, Part] = {}
    if message is not None and local:
        taken_back = {*await mailbox.stop(session, chat_id), *_waits(chat_id, message, local)}
        known = await ledger.stop(session, chat_id, message, local, taken_back)
    return [
        StepRow("tool", tool_results.with_files(known[call["tool_call_id"]]))
        if call.get("tool_call_id") in known
        else unrun
        for call, unrun in zip(opened, cancelled(opened, why), strict=True)
    ]


def _waits(chat_id: UUID, message_id: int, calls: Sequence[Part]) -> list[UUID]:
    """The keys of the calls that only waited: of them it is known that nothing has happened."""
    waits = [call.get("tool_call_id", "") for call in calls if call.get("tool_name") in executions.WAITS]
    return [executions.key(chat_id, message_id, call_id) for call_id in waits]


def cancelled(calls: Sequence[Part], reason: str) -> list[StepRow]:
    """Error results for calls that will never run, one row each, in call order."""
    return [StepRow("tool", [tool_result(call, {"error": reason}, is_error=True)]) for call in calls]
