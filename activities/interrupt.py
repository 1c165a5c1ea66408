"""The interrupt effect: end a stop whose producer is gone, from what it had logged; or say what the chat needs."""

from collections.abc import Sequence
from uuid import UUID

from activities import families
from activities.attempt import heartbeats, note_end
from activities.patience import patiently
from activities.performs import performs
from activities.resources import Resources
from activities.tracing import Turn
from models.errors import NotFound
from models.parts import Part
from models.rules import advisor, compaction, tool_results
from models.rules.states import Status
from models.steps import Note, StepReply, StepRequest, Then
from models.store import moves, standing, stream
from models.store.moves import StepRow
from models.store.standing import Standing
from workflows import effects


class Interruption:
    """Performs the effect `interrupt`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.interrupt)
    async def interrupt(self, request: StepRequest) -> StepReply:
        async with heartbeats():
            try:
                chat = await self._chat(request.chat_id)
                reply = await self._end(chat) if chat.status == Status.INTERRUPTING else next_of(chat)
            except NotFound:
                return StepReply(Then.REST, 0, note=Note.GONE)
            if chat.is_child and reply.then is Then.REST:
                await families.rested(self._resources, chat.id)
            return reply

    async def _chat(self, chat_id: UUID) -> Standing:
        async with self._resources.database.read() as session:
            found = await standing.of(session, [chat_id])
        if chat_id not in found:
            raise NotFound
        return found[chat_id]

    async def _end(self, chat: Standing) -> StepReply:
        async with self._resources.database.read() as session:
            logged = await stream.partial(session, chat.id, chat.history_version, chat.generation_attempt)
            begun = await standing.turn(session, chat.id)
        turn = Turn(chat.id, *begun) if begun else None
        rows = rebuilt(logged)
        self._resources.failpoints.hit("worker.before_interrupt_commit")
        episode = (chat.history_version, chat.generation_attempt)
        reply = await patiently(
            self._resources.database,
            lambda session: moves.finish_interruption(session, chat.id, rows, episode=episode),
        )
        note_end(self._resources, turn, reply)
        return reply


def next_of(chat: Standing) -> StepReply:
    """What a chat without a stop needs: to wait on, if it was backing off, else to be looked at."""
    if chat.status not in (Status.PENDING, Status.RUNNING):
        return StepReply(Then.REST, chat.snapshot_version, note=Note(f"the chat is {chat.status}"))
    if chat.retry_state is not None and chat.retry_seconds > 0:
        note = Note.failed(chat.retry_state.get("kind"))
        return StepReply(Then.BACK_OFF, chat.snapshot_version, chat.retry_seconds, note)
    return StepReply(Then.GENERATE, chat.snapshot_version)


def rebuilt(logged: Sequence[tuple[str, Part]]) -> list[StepRow]:
    """The messages that a dead worker's step had come to: one of the assistant, one for each tool result."""
    logged = [each for each in logged if each[1].get("tool_name") != compaction.TOOL]  # half a summary is none
    said = [part for role, part in logged if role == "assistant"]
    results = [part for role, part in logged if role == "tool" and part["type"] == "tool-result"]
    results = [part for part in results if part.get("tool_name") != advisor.TOOL]  # nor is half a piece of advice
    rows = [StepRow("assistant", said)] if said else []
    return rows + [StepRow("tool", tool_results.with_files(part)) for part in results]
