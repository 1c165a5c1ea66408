"""The attend effect: a short look at what paused tool calls wait for, so that nobody holds a slot meanwhile."""

from activities.attempt import heartbeats
from activities.interrupt import next_of
from activities.performs import performs
from activities.resources import Resources
from models.rules.states import Status
from models.steps import Note, StepReply, StepRequest, Then
from models.store import bindings, ledger, standing
from workflows import effects


class Attendance:
    """Performs the effect `attend`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @performs(effects.attend)
    async def attend(self, request: StepRequest) -> StepReply:
        async with heartbeats(), self._resources.database.read() as session:
            chat = (await standing.of(session, [request.chat_id])).get(request.chat_id)
            if chat is None:
                return StepReply(Then.REST, 0, note=Note.GONE)
            if chat.status == Status.INTERRUPTING:
                return StepReply(Then.INTERRUPT, chat.snapshot_version)
            if chat.status != Status.RUNNING:
                return next_of(chat)
            left = await ledger.waiting(session, chat.id)
            place = await bindings.of(session, chat.id) if left is not None else None
        if left is None:
            return StepReply(Then.USE_TOOLS, chat.snapshot_version)
        if place is not None:
            await self._resources.workshop.used(place.workspace_id)
        seconds, event = left
        return StepReply(Then.AWAIT_TOOLS, chat.snapshot_version, delay_seconds=seconds, note=Note(event))
